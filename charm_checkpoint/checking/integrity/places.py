"""Where in a value a chunk stands that cannot be read."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from functools import partial
from typing import Any

import ormsgpack

from charm_checkpoint.checking.integrity.chunks import Reached
from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.errors import CharmError, format_path
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import DecodedChunk
from charm_checkpoint.values.encoder import DELTA, DICT, GROUP, MANIFEST
from charm_checkpoint.values.serde.bases import as_step


def place_in(tools: Tools, reached: Reached, root: bytes, bad: Container[bytes]) -> Session[str]:
    """Return where below a value's root the first chunk stands from which a bad one is reached, as far as can be told.

    It is a path such as ``[12]['text']``; where a whole stretch is lost, its first place and the words "and on".
    """
    try:
        return (yield from _Places(tools, reached, bad).below(root))
    except (CharmError, ValueError, LookupError, TypeError):  # what cannot be told is no matter: the channel is
        return ""


class _Places:
    def __init__(self, tools: Tools, reached: Reached, bad: Container[bytes]) -> None:
        self._tools = tools
        self._reached = reached
        self._bad = bad

    def below(self, name: bytes) -> Session[str]:
        kind = self._reached.named.get(name, b"")[:1]
        if kind != MANIFEST:
            return ""
        manifest = yield Step(partial(self._read, name), self._reached.thread)
        container, levels, tail = ormsgpack.unpackb(manifest.body)
        is_dict, sealed, position = container & ~DELTA == DICT, sum(levels), 0
        for leaf in self._leaves(manifest.refs[:sealed]):
            if leaf not in self._reached.named:
                return f"{format_path((position,))} and on" if not is_dict else "one of its keys"
            if leaf in self._bad:
                read = yield Step(partial(self._read, leaf), self._reached.thread)
                keys, large, _ = self._parts(read.body)
                for at, ref in zip(large, read.refs, strict=True):
                    if ref in self._bad:
                        step = keys[at] if is_dict else position + at
                        return (yield from self._element(step, ref))
            elif not is_dict:
                read = yield Step(partial(self._read, leaf), self._reached.thread)
                position += self._parts(read.body)[2]
        return (yield from self._in_tail(tail, manifest.refs[sealed:], position, is_dict))

    def _in_tail(self, tail: Sequence[Any], refs: Sequence[bytes], position: int, is_dict: bool) -> Session[str]:
        stream, names = iter(tail), iter(refs)
        for item in stream:
            step: Any = position
            if is_dict:
                step = self._tools.serde.loads_plain(item)
                item = next(stream)
            ref = next(names) if item is None else None
            if ref in self._bad and ref is not None:
                return (yield from self._element(step, ref))
            position += 1
        return ""

    def _element(self, step: Any, ref: bytes) -> Session[str]:
        rest = yield from self.below(ref)
        return f"[{as_step(step)!r}]{rest}"

    def _read(self, name: bytes) -> Plan[DecodedChunk]:
        chunks = yield from self._tools.backend.chunks(self._reached.thread, [name], self._reached.messages)
        return self._tools.chunk(chunks[name])

    def _leaves(self, names: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the leaves that are grouped under some addresses, in order; what is not there, as it is named."""
        for name in names:
            if self._reached.named.get(name, b"")[:1] == GROUP:
                yield from self._leaves(self._reached.refs(name))
            else:
                yield name

    def _parts(self, body: bytes) -> tuple[list[Any], list[int], int]:
        """Return a leaf's keys, the places of its large elements, and how many elements it has."""
        keys, large, packed = ormsgpack.unpackb(body)
        named = [] if keys is None else self._tools.serde.loads_many(keys)
        return named, large, len(self._tools.serde.loads_many(packed)) + len(large)
