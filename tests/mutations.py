"""Damage at random: to bytes as a disk or a bad line does it, and to what they say, as somebody who knows the form.

The second kind matters more: bits that flip at random end at a length or a type that does not fit, soon and always at
the same few places. A tree of MessagePack or JSON whose parts were exchanged is sound bytes that say something absurd.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import ormsgpack

Mutation = Callable[[bytes, Random], bytes]


def nested(levels: int, kind: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    """Return a value that is so many levels deep."""
    made: Any = 0
    for _ in range(levels):
        made = kind(made)
    return made


EXTREMES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 127, 255, 2**31, 2**32, 2**53, 2**63, 2**64 - 1, -(2**31), -(2**63)),
    *(0.0, -0.0, 0.5, 1e308, 5e-324, math.inf, -math.inf, math.nan),
    *(
        "",
        "\0",
        "x",
        "a" * 300,
        "9" * 5000,
        "(" * 300,
        "\\",
        "(?P<a>",
        "*",
        "[a-",
        "O",
        "<M8[",
        "V0",
        "../x",
        "Etc/UTC",
    ),
    *("Europe", "localtime", "posix", "1e999999999", "nan", "0001-01-01", "int", "builtins:list", "builtins:eval"),
    *(b"", b"\0", b"\xff" * 7, b"x" * 300, b"\xff\xfe", b"u", b"t"),
    *([], {}, [[]], {"": None}, [None], [1, 2], ["a", "b"], {"x": {"y": []}}, [{}] * 3, ["__class__"]),
    *(nested(150), nested(230), {"__class__": 1}, {"__dict__": {}}),
)
"""What stands in the place of something else: the ends of every type, and texts that mean something to somebody."""

# ----------------------------------------------------------------------------------------------------------- bytes


def flipped(data: bytes, random: Random) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwritten(data: bytes, random: Random) -> bytes:
    """Put telling bytes in the place of others: ends of ranges, and what headers of MessagePack begin with."""
    changed = bytearray(data)
    if changed:
        at = random.randrange(len(changed))
        changed[at] = random.choice(
            b"\0\x01\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc4\xc7\xca\xd4\xd8\xdb\xdd\xdf\xe0\xff"
        )
    return bytes(changed)


def cut(data: bytes, random: Random) -> bytes:
    """Take bytes away: from the end, the beginning or the middle."""
    start, end = sorted(random.choices(range(len(data) + 1), k=2))
    return random.choice((data[:start], data[start:], data[:start] + data[end:]))


def repeated(data: bytes, random: Random) -> bytes:
    """Repeat a piece."""
    start, end = sorted(random.choices(range(len(data) + 1), k=2))
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 20)) + data[end:]


def spliced(pool: Sequence[bytes]) -> Mutation:
    """Return what puts a piece of something else in."""

    def splice(data: bytes, random: Random) -> bytes:
        other = random.choice(pool)
        start, end = sorted(random.choices(range(len(other) + 1), k=2))
        at = random.randrange(len(data) + 1)
        return data[:at] + other[start:end] + data[at + random.choice((0, end - start)) :]

    return splice


# ----------------------------------------------------------------------------------------------------------- trees


class Extension(list[Any]):
    """An extension of MessagePack: its code, and its body as a tree where it is one, and else as bytes."""


CODES = (*range(1, 32), *range(40, 47), 33, 60)
"""Codes of extensions, and two that are none."""

_NAMES = ("", "x", "\0", "a" * 99, "type", "id", "__class__", "__dict__")


def tree_of(data: bytes) -> Any:
    """Return what MessagePack says; raises ValueError where it is none."""
    return ormsgpack.unpackb(data, ext_hook=_extension, option=ormsgpack.OPT_NON_STR_KEYS)


def _extension(code: int, body: bytes) -> Extension:
    try:
        return Extension((code, tree_of(body)))
    except ValueError:
        return Extension((code, body))


def bytes_of(tree: Any) -> bytes:
    """Undo `tree_of`."""
    return ormsgpack.packb(_packable(tree), option=ormsgpack.OPT_NON_STR_KEYS)


def _packable(tree: Any) -> Any:
    kind = type(tree)
    if kind is list:
        return [_packable(item) for item in tree]
    if kind is dict:
        return {key: _packable(item) for key, item in tree.items()}
    if kind is Extension:
        code, body = (*tree, 1, b"")[:2]
        code = code if type(code) is int and 0 <= code < 128 else 1
        return ormsgpack.Ext(code, body if type(body) is bytes else bytes_of(body))
    return tree


def told_otherwise(data: bytes, random: Random) -> bytes:
    """Change what MessagePack says; where it is none, flip bits."""
    try:
        return bytes_of(_changed(tree_of(data), random, CODES))
    except (ValueError, TypeError, RecursionError):
        return flipped(data, random)


def json_told_otherwise(data: bytes, random: Random) -> bytes:
    """Change what JSON says; where it is none, flip bits."""
    try:
        return json.dumps(_changed(json.loads(data), random, ()), default=repr).encode()
    except (ValueError, TypeError, RecursionError):
        return flipped(data, random)


def behind(size: int, mutation: Mutation) -> Mutation:
    """Return what leaves so many bytes at the beginning as they are."""
    return lambda data, random: data[:size] + mutation(data[size:], random)


def _changed(tree: Any, random: Random, codes: Sequence[int]) -> Any:
    """Change a tree in a place or two, and return it."""
    root = [tree]
    for _ in range(random.choice((1, 1, 2))):
        if root:
            _change(root, random, codes)
    return root[0] if root else None


def _change(root: list[Any], random: Random, codes: Sequence[int]) -> None:
    found = _places(root)
    holder, key = random.choice(found)
    what = random.randrange(8)
    if what < 3:
        holder[key] = _copy(random.choice(EXTREMES))  # or what is changed later is EXTREMES itself
    elif what == 3:
        other, at = random.choice(found)
        holder[key] = _copy(other[at])  # a copy, so that no tree holds itself
    elif what == 4 and type(holder) is dict:
        holder[random.choice(_NAMES)] = holder.pop(key)
    elif what == 4:
        random.shuffle(holder)
    elif what == 5:
        del holder[key]
    elif what == 6 and codes:
        holder[key] = Extension((random.choice(codes), holder[key]))
    else:
        holder[key] = [_copy(holder[key]) for _ in range(random.choice((1, 2, 17)))]


def _copy(tree: Any) -> Any:
    if isinstance(tree, list):
        return type(tree)(map(_copy, tree))
    return {key: _copy(item) for key, item in tree.items()} if type(tree) is dict else tree


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    """Return where something else could stand: containers, and keys into them."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting:
        holder = waiting.pop()
        for key in holder.keys() if type(holder) is dict else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], (list, dict)):
                waiting.append(holder[key])
    return found


BYTES: tuple[Mutation, ...] = (flipped, overwritten, cut, repeated)
