"""Texts with secrets in them, and texts with none that look alike; the secrets are made when they are asked for.

In a text, ``«b62 36»`` is 36 letters and digits that are a secret, ``«!hex 40»`` 40 digits that are none. Nothing in
these files is a token of anybody, or could be taken for one.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "corpora"
TRUE, FALSE = FOLDER / "secrets_true.txt", FOLDER / "secrets_false.txt"

_B62 = string.ascii_letters + string.digits
_WORDS = "amber bramble copper dolphin ember falcon garnet harbor indigo juniper kestrel lantern meadow nimbus".split()
_PART = re.compile(r"«(!?)(\w+)(?: (\d+))?»")


class Case(NamedTuple):
    """A text, and the secrets in it, none for a text without any."""

    name: str
    text: str
    secrets: tuple[str, ...]


def _drawn(characters: str) -> Callable[[random.Random, int], str]:
    return lambda source, length: "".join(source.choice(characters) for _ in range(length))


def _base64(source: random.Random, length: int) -> str:
    return base64.b64encode(source.randbytes(length)).decode()


def _jwt(source: random.Random, length: int) -> str:
    head = {"alg": "HS256", "typ": "JWT"}, {"sub": str(source.randrange(10**9)), "iat": source.randrange(10**9)}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in head]
    return ".".join([*parts, _drawn(_B62 + "_-")(source, 43)])


def _lines(separator: str) -> Callable[[random.Random, int], str]:
    return lambda source, length: separator.join(_drawn(_B62 + "+/")(source, 64) for _ in range(length))


def _login(source: random.Random, length: int) -> str:
    return base64.b64encode(f"{source.choice(_WORDS)}:{_password(source, length)}".encode()).decode()


def _password(source: random.Random, length: int) -> str:
    """Return letters, digits and marks, as password managers make them."""
    return "".join(source.sample(_B62, length - 2)) + source.choice("!%*^+") + source.choice(string.digits)


def _common(source: random.Random, length: int) -> str:
    """Return a password as people choose them: a word, digits, perhaps a mark."""
    word = source.choice(_WORDS)
    return source.choice([word, word.title()]) + str(source.randrange(10, 10_000)) + source.choice(["", "!", "?!"][:2])


MAKERS: dict[str, Callable[[random.Random, int], str]] = {
    "b62": _drawn(_B62),
    "hex": _drawn("0123456789abcdef"),
    "HEX": _drawn("0123456789ABCDEF"),
    "low": _drawn(string.ascii_lowercase + string.digits),
    "up": _drawn(string.ascii_uppercase + string.digits),
    "url": _drawn(_B62 + "_-"),
    "b64": _drawn(_B62 + "+/"),
    "bytes": _base64,
    "digits": _drawn(string.digits),
    "word": lambda source, _: source.choice(_WORDS),
    "words": lambda source, length: " ".join(source.sample(_WORDS, length)),
    "password": _password,
    "common": _common,
    "jwt": _jwt,
    "login": _login,
    "lines": _lines("\n"),
    "escaped": _lines(r"\n"),
    "uuid": lambda source, _: "-".join(_drawn("0123456789abcdef")(source, length) for length in (8, 4, 4, 4, 12)),
}


def cases(file: Path, seed: int = 0) -> Iterator[Case]:
    r"""Yield the cases of a file, each with other secrets for another seed.

    A line is a case, ``name | text``; ``\n`` in it is the end of a line, ``\\`` a backslash.
    """
    for number, line in enumerate(file.read_text("utf-8").splitlines()):
        if line.strip() and not line.startswith("# "):
            name, _, template = line.partition(" | ")
            yield _made(name.strip(), _unescaped(template), random.Random(f"{seed} {number}"))


def _unescaped(template: str) -> str:
    return re.sub(r"\\(n|t|\\)", lambda found: {"n": "\n", "t": "\t", "\\": "\\"}[found[1]], template)


def _made(name: str, template: str, source: random.Random) -> Case:
    secrets: list[str] = []

    def fill(found: re.Match[str]) -> str:
        text = MAKERS[found[2]](source, int(found[3] or 12))
        if not found[1]:
            secrets.append(text)
        return text

    text = _PART.sub(fill, template)
    return Case(name, text, tuple(secrets))
