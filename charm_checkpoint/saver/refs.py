"""What configs, and those who call, name: threads, namespaces, checkpoints, runs; pure, and nothing of LangGraph's."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


class CheckpointRef(NamedTuple):
    """The thread, namespace and checkpoint that a config names."""

    thread: str
    ns: str
    id: str | None


def checkpoint_ref(config: RunnableConfig) -> CheckpointRef:
    """Read a config's ``configurable``; raises `ConfigError` naming the key that is wrong."""
    configurable = config.get("configurable") or {}
    get = configurable.get
    thread, ns, id = get("thread_id"), get("checkpoint_ns"), get("checkpoint_id")
    if type(thread) is str and (ns is None or type(ns) is str) and (id is None or type(id) is str):
        return CheckpointRef(thread, ns or "", id or None)
    if type(thread) in (int, UUID):
        thread = str(thread)
    if not isinstance(thread, str):
        raise ConfigError(
            f"configurable.thread_id must be text, not {type(thread).__name__}; "
            'pass {"configurable": {"thread_id": "..."}}.'
        )
    return CheckpointRef(
        _plain(thread), _text(configurable, "checkpoint_ns") or "", _text(configurable, "checkpoint_id")
    )


def names(given: Iterable[Any], kind: str) -> list[str]:
    """Return the names in a list of threads or runs, as text; raises `ConfigError` before any of them is used.

    ``kind`` is what the list holds, for errors. One name is refused: iterated over, it would be its letters.
    """
    if isinstance(given, (str, bytes, int, UUID)):
        raise ConfigError(f"a list of {kind}s is expected, not one {type(given).__name__}: put it into a list")
    if given is None or not isinstance(given, Iterable):
        raise ConfigError(f"a list of {kind}s is expected, not {type(given).__name__}")
    return [_name(name, kind) for name in given]


def _name(given: Any, kind: str) -> str:
    if type(given) in (int, UUID):
        return str(given)
    if not isinstance(given, str):
        raise ConfigError(f"{kind} must be text, not {type(given).__name__}")
    return _plain(given)


def limited(limit: Any) -> int | None:
    """Return how many a listing is to have at most, None for all; raises `ConfigError` for what is no such number."""
    if limit is None:
        return None
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        return min(limit, sys.maxsize)
    said = limit if type(limit) is int else type(limit).__name__
    raise ConfigError(f"limit is a whole number, 0 or more, or None for all, not {said}")


def run_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the id of the run that a checkpoint's metadata names, as `names` has it."""
    run = metadata.get("run_id")
    return str(run) if type(run) is int else run if isinstance(run, str) else None


class Named(NamedTuple):
    """The thread, namespace and checkpoint that a config of a listing names; None is any."""

    thread: str | None
    ns: str | None
    id: str | None


def named(config: RunnableConfig | None) -> Named:
    """Read as much of a config's ``configurable`` as there is; raises `ConfigError` as `checkpoint_ref` does."""
    configurable = (config or {}).get("configurable") or {}
    ns = None if configurable.get("checkpoint_ns") is None else _text(configurable, "checkpoint_ns") or ""
    thread = checkpoint_ref(config).thread if config and "thread_id" in configurable else None
    return Named(thread, ns, _text(configurable, "checkpoint_id"))


def _plain(text: str) -> str:
    """Return the text of a subclass, such as an enum's member, as nothing but text."""
    return str.__str__(text)


def _text(configurable: Mapping[str, Any], key: str) -> str | None:
    value = configurable.get(key)
    if value is None or isinstance(value, str):
        return _plain(value) if value else None
    raise ConfigError(f"configurable.{key} must be text, not {type(value).__name__}.")


def config_of(thread: str, ns: str, id: str) -> RunnableConfig:
    """Return the config that names one checkpoint."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}


def plain_name(key: Any) -> str:
    """Return a key or channel's name as nothing but text, whatever class it is of."""
    return key if type(key) is str else _plain(key) if isinstance(key, str) else str(key)
