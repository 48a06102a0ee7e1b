"""Nodes that a checkpoint is about to run, and a word to whoever goes on with it by a graph that lacks them.

LangGraph ends such a run at once, as if nothing had waited: an answer to an interrupt reaches nobody. A saver is not
told of the graph that it serves; but when a run begins, LangGraph's loop asks for the checkpoint to go on from, and
that loop has the nodes. So they are looked for among the callers. Where they are not found, nothing is said.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from langgraph.checkpoint.serde.types import TASKS

from charm_checkpoint.saver.refs import CheckpointRef

log = logging.getLogger("charm_checkpoint")

JOIN = "join:"
"""How the channel's name begins that waits for several nodes, as in ``join:a+b:c``."""
_BRANCH, _TO, _START_OF = "branch:", "branch:to:", "start:"
"""What the channels of a graph's edges are named by, with the node that they lead to at the end."""
_FIRST_OF_NOW = 3
"""The version of LangGraph's checkpoints from which on such a channel is ``branch:to:node`` and nothing else."""
_LOOP = "langgraph.pregel._loop"
_CALLERS = 12
"""So many callers are looked at: a saver may be called through others."""


def leads_to_node(channel: str, version: Any = _FIRST_OF_NOW) -> bool:
    """Tell whether a channel is that of a graph's edge, in a checkpoint of a version of LangGraph's.

    A state may have keys that merely begin as those do.
    """
    if channel.startswith(_START_OF):
        return type(version) is int and version < _FIRST_OF_NOW
    return channel.startswith(_TO) or (channel.startswith(_BRANCH) and channel.count(":") == 3)


def is_full(name: str, value: Any) -> bool:
    """Tell whether all have come that ``join:a+b:c`` waits for."""
    waits_for = name[len(JOIN) :].rpartition(":")[0]
    come = value[0] if type(value) is tuple and value else value  # a deferred one is a pair
    if type(come) not in (set, frozenset, list) or not all(type(node) is str for node in come):
        return False
    return sum(map(len, come)) + len(come) - 1 == len(waits_for)


def triggered_nodes(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of nodes that edges lead to, by channels that have a value, and of those that were sent to."""
    version = checkpoint.get("v")
    for name, value in checkpoint["channel_values"].items():
        if leads_to_node(name, version) or (
            name.startswith(JOIN) and is_full(name, value) and _is_new(checkpoint, name)
        ):
            yield name.rpartition(":")[2]
        elif name == TASKS and isinstance(value, (list, tuple)):
            yield from (packet.node for packet in value if type(getattr(packet, "node", None)) is str)


def _is_new(checkpoint: Mapping[str, Any], channel: str) -> bool:
    """Tell whether a channel was changed by the step that made a checkpoint.

    The edge from several nodes stays as it is while a program goes on that has it not.
    """
    versions = checkpoint["channel_versions"]
    own = versions.get(channel)
    return all(type(other) is type(own) and other <= own for other in versions.values())


def tell_of_gone(ref: CheckpointRef, checkpoint: Mapping[str, Any]) -> None:
    """Warn if the run that begins at a checkpoint has a graph without a node that is to run next."""
    waiting = [*dict.fromkeys(triggered_nodes(checkpoint))]
    nodes = _nodes_of_caller(ref) if waiting else None
    for node in waiting:
        if nodes is not None and node not in nodes:
            log.warning(
                "Thread %r: checkpoint %s%s goes on at node %r, which the graph of this run does not have: it does not "
                "run, and an answer that it waits for reaches nobody. Keep a node of that name until no thread waits "
                "there, as memory.check(graph) tells.",
                ref.thread, checkpoint["id"], f" of {ref.ns!r}" if ref.ns else "", node,
            )  # fmt: skip


def _nodes_of_caller(ref: CheckpointRef) -> Mapping[str, Any] | None:
    """Return the nodes of the loop that goes on from a checkpoint, None if it is none that is known."""
    frame = sys._getframe(1)
    for _ in range(_CALLERS):
        if frame.f_globals.get("__name__") == _LOOP:
            loop = frame.f_locals.get("self")
            nodes = getattr(loop, "nodes", None)
            if ref.id is None and _is_sent_to_another(loop):
                return None  # it only looks whether the checkpoint that it was sent to is the head
            return nodes if isinstance(nodes, Mapping) and nodes else None
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def _is_sent_to_another(loop: Any) -> bool:
    """Tell whether a loop was told which checkpoint to go on from."""
    config = getattr(loop, "checkpoint_config", None)
    configurable = config.get("configurable") if isinstance(config, Mapping) else None
    return isinstance(configurable, Mapping) and bool(configurable.get("checkpoint_id"))
