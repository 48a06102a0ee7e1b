"""What a checkpoint takes over from its parent because whoever puts it does not know of it; pure.

LangGraph passes a saver the values of the graph's own channels, and the versions of all that the thread has. While
two versions of a program are deployed, one of them has channels that the other has not: it names them with the
version that they had, and brings no value. In LangGraph's own savers such a value is found by its channel and version;
here a checkpoint has its values itself, so they are taken over from the parent, as they are stored: no class of the
program is needed for that.

The same goes for the counters of a ``DeltaChannel`` in the metadata, by which it is known what such a channel is
rebuilt from (see history.py). Delta channels that the program does have are left to LangGraph.

One thing goes: that a node of the other program was to run next. Whoever goes on with a thread gives up what was to run
there, and a thread that has gone on since does not wait for it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from langgraph.checkpoint.base import ChannelVersions, Checkpoint

from charm_checkpoint.errors import HOSTS, corrupt
from charm_checkpoint.saver.history import COUNTERS
from charm_checkpoint.saver.records import OTHER_SHAPE, Record
from charm_checkpoint.saver.refs import plain_name
from charm_checkpoint.saver.waiting import leads_to_node
from charm_checkpoint.values.encoder import EncodedValue
from charm_checkpoint.values.known_chunks import Channels, Held, Parent
from charm_checkpoint.values.serde.forms import VALUE
from charm_checkpoint.values.serde.framing import elements

Encoded: TypeAlias = "EncodedValue | list[Any]"
"""A value as it goes into a record: encoded, or a small plain one as the only member of a list."""


class Carried(NamedTuple):
    """What is taken over: values by channel, what is known of those in chunks, and counters of delta channels."""

    values: Mapping[str, Encoded]
    held: Mapping[str, Held]
    counters: Mapping[str, Any]

    @property
    def in_chunks(self) -> bool:
        """Tell whether something is taken over that is there only as long as the parent is."""
        return any(type(value) is EncodedValue and value.ref is not None for value in self.values.values())


NOTHING = Carried({}, {}, {})


def parent_of(record: Record, channels: Channels) -> Parent:
    """Return what is remembered of a checkpoint that was read, for the one that follows it."""
    checkpoint = record.checkpoint
    return Parent(
        checkpoint["id"],
        dict(checkpoint["channel_versions"]),
        record.locations,
        channels,
        dict(_counters(record.metadata)),
        record.inline,
    )


def _counters(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    counters = metadata.get(COUNTERS)
    return counters if type(counters) is dict else _NONE


_NONE: Mapping[str, Any] = {}


def put_parent(
    checkpoint: Checkpoint, metadata: Mapping[str, Any], encoded: Mapping[str, Encoded], channels: Channels
) -> Parent:
    """Return what is remembered of a checkpoint that was put, for the one that follows it."""
    return Parent(checkpoint["id"], dict(checkpoint["channel_versions"]), encoded, channels, _counters(metadata))


def leans(checkpoint: Checkpoint, metadata: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint has a delta channel without its value, which its ancestors have then."""
    counters = _counters(metadata)
    return bool(counters) and not counters.keys() <= checkpoint["channel_values"].keys()


def may_lack(checkpoint: Checkpoint, metadata: Mapping[str, Any], new_versions: ChannelVersions) -> set[str]:
    """Return the channels of which a parent that is not known could have something that a checkpoint takes over."""
    values, own = checkpoint["channel_values"], _counters(metadata)
    return {
        plain_name(name)
        for name in checkpoint["channel_versions"]
        if name not in values and name not in new_versions and name not in own and not _is_trigger(name)
    }


def carried(
    parent: Parent, checkpoint: Checkpoint, metadata: Mapping[str, Any], new_versions: ChannelVersions
) -> Carried:
    """Return what a checkpoint takes over: what its parent has, and it names with the parent's version alone."""
    values, versions, own = checkpoint["channel_values"], checkpoint["channel_versions"], _counters(metadata)
    missing = [
        name
        for name in parent.places.keys() - values.keys()
        if name in versions and name not in new_versions and name not in own and not _is_trigger(name)
    ]
    uncounted = [name for name in parent.counters if name not in own and name not in values]
    if not missing and not uncounted:
        return NOTHING
    # A channel may be named by a member of an enum of texts in the one, and by the text in the other.
    before, now = _plain(parent.versions), _plain(versions)
    absent = now.keys() - _plain(own).keys() - _plain(values).keys()
    same = {name for name in absent if name in before and before[name] == now[name]}
    places = _places(parent, {name for name in map(plain_name, missing) if name in same})
    channels = _plain(parent.channels)
    return Carried(
        places,
        {name: channels[name] for name in places if name in channels},
        {name: parent.counters[name] for name in uncounted if name in same and name not in places},
    )


def _is_trigger(name: Any) -> bool:
    return leads_to_node(plain_name(name))


def _plain(named: Mapping[str, Any]) -> dict[str, Any]:
    return {plain_name(name): value for name, value in named.items()} if named else {}


def _places(parent: Parent, names: set[str]) -> dict[str, Encoded]:
    """Return values as they are stored, in the order that their channels have in the parent."""
    if not names:
        return {}
    inline = iter(_inline(parent))
    places: dict[str, Encoded] = {}
    for name, place in parent.places.items():
        if place is None:
            place = EncodedValue(VALUE + next(inline))
        if plain_name(name) in names:
            places[plain_name(name)] = EncodedValue(None, place) if type(place) is bytes else place
    return places


def _inline(parent: Parent) -> list[bytes]:
    """Return the values that are in a record that was read, each as it is encoded."""
    if not parent.inline:
        return []
    try:
        return elements(parent.inline[len(VALUE) :])
    except HOSTS:
        raise
    except Exception as error:
        raise corrupt(OTHER_SHAPE, error) from error
