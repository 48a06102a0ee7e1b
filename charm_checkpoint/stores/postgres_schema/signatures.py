"""The functions of the schema as their callers see them: what goes in and comes out."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Signature(NamedTuple):
    """Types of a function's parameters, and the columns of its rows with their types."""

    takes: tuple[str, ...]
    gives: dict[str, str]


def _columns(text: str) -> dict[str, str]:
    return {name: _TYPES[kind] for name, _, kind in (part.partition(":") for part in text.split())}


def _function(takes: str, gives: str) -> Signature:
    return Signature(tuple(_TYPES[kind] for kind in takes.split()), _columns(gives))


_TYPES = {
    "b": "bytea", "b[]": "bytea[]", "i": "bigint", "i[]": "bigint[]", "n[]": "integer[]", "t": "text", "?": "boolean",
}  # fmt: skip
_STATE = "deletes:i sweeps:i seq:i"
_ROW = "key:i id:b parent:b conflict:b roots:b body:b"
_THREAD = "name:b at:i checkpoints:i has_messages:? head:b title:b note:b writes_note:b holds:?"
_CHUNKS = "addresses:b[] refs:b[] data:b[]"
_FOUND = "places:i[] data:b[] created:i[] updated:i[] ttls:i[] expires:i[]"

FUNCTIONS = {
    "put": _function("b b b b b b b b n[] b b[] b[] b[] i i t b b ?", f"outcome:t {_STATE} head:b branched:?"),
    "put_writes": _function("b b b b b b i b ?", f"outcome:t {_STATE}"),
    "find": _function("b b b b b[] i", f"{_STATE} head:b {_ROW} writes:b[] {_CHUNKS}"),
    "ancestors": _function("b b b b i", f"{_STATE} {_ROW} writes:b[]"),
    "page": _function("b b b b b b n[] i i ? b[] i", f"name:b ns:b {_STATE} {_ROW} writes:b[] {_CHUNKS}"),
    "chunks": _function("b b b[] i", f"found:i {_CHUNKS}"),
    "remove": _function("b b b[] b[] i", f"outcome:t {_STATE}"),
    "runs": _function("b b[]", "name:b ns:b id:b"),
    "delete_thread": _function("b b", _STATE),
    "copy_thread": _function("b b b b", f"outcome:t {_STATE}"),
    "message_list": _function("b b b[] i", f"{_STATE} body:b roots:b revision:i {_CHUNKS} batches:b[]"),
    "put_messages": _function("b b b b b b[] b[] b[] i i ? b i", f"outcome:t {_STATE}"),
    "append_messages": _function("b b b b b", "batches:i size:i"),
    "threads": _function("b i b i", _THREAD),
    "thread_list": _function("b i b i", f"{_THREAD} size:i pinned:?"),
    "thread_row": _function("b b[]", f"{_THREAD} size:i pinned:?"),
    "erase_thread": _function("b b[] i i", "threads:i checkpoints:i writes:i chunks:i bytes:i"),
    "forget_erased": _function("b i", "threads:i"),
    "count_threads": _function("b i", "next:i"),
    "pin": _function("b b b b ?", "holds:?"),
    "space_taken": _function("", "taken:i"),
    "usage": _function("b b[]", "threads:i checkpoints:i writes:i chunks:i bytes:i"),
    "item_read": _function("b i b[] b[] n[] ? i", f"{_FOUND} complete:?"),
    "item_change": _function(
        "b i b[] b[] i i n[] b[] n[] b[] n[] b[] n[] b[] b[] b[] b[] b[] i[] i[] i[] i[] b ?",
        f"outcome:t replies:i[] {_FOUND}",
    ),
    "item_entries": _function(
        "b b b b b[] i[] i[] b i i",
        "mark:b path:b stamp:i born:i since:i names:b[] updated:i[] expires:i[] entries:b[] vectors:b[] keys:b[]",
    ),
    "item_page": _function(
        "b b b b i i b[] b[] i i b b ? i", "path:b name:b value:b created:i updated:i ttl:i expires:i complete:?"
    ),
    "item_spaces": _function("b b b b i", "paths:b[]"),
    "item_count": _function("b b b b i", "items:i"),
    "item_expire": _function("b i i", "items:i"),
    "item_erase": _function("b b b b", "items:i"),
    "item_usage": _function("b b b b", "items:i bytes:i"),
}


@cache
def statement(schema: str, function: str) -> bytes:
    """Return the statement that calls a function, with ``$1`` and so on for its parameters."""
    marks = ", ".join(f"${place}::{kind}" for place, kind in enumerate(FUNCTIONS[function].takes, 1))
    return f'SELECT * FROM "{schema}".{function}({marks})'.encode()
