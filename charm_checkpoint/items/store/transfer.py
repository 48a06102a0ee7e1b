"""Items as JSON lines, out and in: what was put comes back, byte for byte, or the file is refused as a whole.

Each line between the first and the last is an item: ``{"namespace", "key", "created", "updated", "ttl", "index",
"value"}``, times as ISO 8601 in UTC, ``ttl`` in microseconds; what is null may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.items.addresses import key_of, key_text, namespace_at, space_to_put
from charm_checkpoint.items.results import read_stored, stamp_of, time_of
from charm_checkpoint.items.store.changes import NewItem
from charm_checkpoint.items.store.lifetimes import LONGEST, MINUTE
from charm_checkpoint.items.store.line_files import Form, LinesSource, LinesWriter, PathOrFile, dump
from charm_checkpoint.items.store.searches import Match
from charm_checkpoint.items.values import escaped, has_long_integers, is_index, plain, unescaped

FORM: Final = Form("charm-checkpoint items", 1)


def line_of(match: Match) -> str:
    """Write an item down."""
    row, held = match.row, read_stored(match.row)
    long = has_long_integers(held.value)
    about: dict[str, Any] = {
        "namespace": namespace_at(row.space),
        "key": key_text(row.key),
        "created": time_of(row.created).isoformat(),
        "updated": time_of(row.updated).isoformat(),
        "ttl": row.ttl,
        "index": held.paths,
        "big": True if long else None,
        "value": escaped(held.value) if long else held.value,
    }
    return dump({name: value for name, value in about.items() if value is not None})


def item_of_line(line: bytes) -> NewItem:
    """Read what `line_of` wrote; raises ValueError, TypeError or KeyError for anything else."""
    about = json.loads(line)
    value = unescaped(about["value"]) if about.get("big") else about["value"]
    ttl, index = about.get("ttl"), about.get("index")
    if ttl is not None and (type(ttl) is not int or not 0 <= ttl <= LONGEST * MINUTE):
        raise ValueError(f"{ttl!r} is no time to live")
    if not is_index(index):
        raise ValueError(f"index is a list of paths or false, not {index!r}")
    if not isinstance(about["namespace"], list) or not isinstance(about["key"], str):
        raise TypeError("a namespace is a list of labels, and a key is text")
    return NewItem(
        ItemKey(space_to_put(tuple(about["namespace"])), key_of(about["key"])),
        plain(value),
        index,
        ttl,
        created=_stamp(about["created"]),
        updated=_stamp(about["updated"]),
    )


def _stamp(text: str) -> int:
    stamp = stamp_of(datetime.fromisoformat(text))
    if stamp < 1:
        raise ValueError(f"{text} is before all items")
    time_of(stamp)  # or it is after all that Python can say
    return stamp


class Writer(LinesWriter):
    """Writes items into a file, under another name until it is whole, if it is given by its path."""

    def __init__(self, target: PathOrFile) -> None:
        super().__init__(target, FORM)

    def write(self, matches: Iterable[Match]) -> None:
        """Write some items."""
        self.write_lines(map(line_of, matches))


class Source(LinesSource):
    """A file of items that was looked through and is whole."""

    def __init__(self, source: PathOrFile) -> None:
        super().__init__(source, FORM, item_of_line)

    def items(self, size: int) -> Iterator[list[NewItem]]:
        """Yield the items, so many at a time; the same item is never twice among those."""
        some: dict[ItemKey, NewItem] = {}
        for line in self.lines():
            new = item_of_line(line)
            if new.item in some or len(some) == size:
                yield list(some.values())
                some = {}
            some[new.item] = new
        if some:
            yield list(some.values())
