"""Configuration: options and their values.

A store declares its options as a tuple of `Option`. Their values come from the URL's query, a
config mapping and keywords; `merge` puts them together, `read_options` checks them.

``${ENV}`` is expanded in environment.py, URLs are parsed in url.py and secrets hidden in
masking.py; all are offered here too.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypeVar

from charm_checkpoint.config.environment import expand
from charm_checkpoint.config.masking import FromOutside, is_secret, mask, plain_name, show
from charm_checkpoint.config.url import Location, parse_url
from charm_checkpoint.errors import ConfigError

__all__ = [
    "Location",
    "Option",
    "above_zero",
    "at_most",
    "boolean",
    "call_timeout",
    "choice",
    "duration",
    "expand",
    "file_rights",
    "mask",
    "merge",
    "non_negative_int",
    "parse_url",
    "read_options",
    "secret",
    "size",
    "suggest",
    "text",
    "text_or_function",
    "time_kept",
]

N = TypeVar("N", int, float)

# ------------------------------------------------------------------------- kinds of values

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*")
_BYTES = {
    **{unit: 1000**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb"))},
    **{unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib", "tib"), 1)},
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def duration(value: object) -> float:
    """Return seconds: ``30d``, ``12h``, ``1h30m``, ``250ms``; a plain number is seconds."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    seconds = _number(value, float)
    if seconds is None and isinstance(value, str):
        seconds = _sum_parts(value.strip())
    if seconds is None or not 0 <= seconds < math.inf:
        raise _wrong(value, "a duration", "30d, 12h, 1h30m, 45s, 250ms, 2w, or a number of seconds")
    return seconds


def _sum_parts(value: str) -> float | None:
    parts = _DURATION_PART.findall(value)
    if not parts or _DURATION_PART.sub("", value):
        return None
    return math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)


def size(value: object) -> int:
    """Return bytes: kB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB of 1024; case is ignored."""
    count = _number(value, int)
    if count is None and isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        factor = _BYTES.get(found[2].lower()) if found else None
        count = round(float(found[1]) * factor) if found and factor else None
    if count is None or count < 0:
        raise _wrong(value, "a size", "64MB (1000²), 64MiB (1024²), 500kB, 1.5GB, or a number of bytes")
    return count


def boolean(value: object) -> bool:
    """Return a bool: true, yes, on, 1 or false, no, off, 0, in any case."""
    found = _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        raise _wrong(value, "a yes or no", "true or false")
    return found


def non_negative_int(value: object) -> int:
    """Return a whole number, 0 or more."""
    count = _number(value, int)
    if count is None or count < 0:
        raise _wrong(value, "a whole number", "0 or more")
    return count


def file_rights(value: object) -> int | None:
    """Return the rights of a file, as ``chmod`` has them or as a number; None for what the store does by itself."""
    if value is None or value == "":
        return None
    rights = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str):
        with suppress(ValueError):
            rights = int(value.strip(), 8)
    if rights is None or rights & ~0o666 or rights & 0o600 != 0o600:
        raise _wrong(value, "the rights of a file that its owner reads and writes", "0600, 0640, 0660, 0644 or such")
    return rights


def text(value: object) -> str:
    """Return text as it is; nothing else is turned into text."""
    if not isinstance(value, str):
        raise _wrong(value, "text", "it in quotes")
    return value


def choice(*names: str) -> Callable[[object], str]:
    """Return a reader of one word out of ``names``, in any case."""

    def read(value: object) -> str:
        word = str(value).strip().lower()
        if word not in names:
            raise _wrong(value, "a choice here", " or ".join(names))
        return word

    return read


def above_zero(read: Callable[[object], N], instead: str) -> Callable[[object], N]:
    """Return a reader that refuses 0, which means no such thing; ``instead`` says what to write."""

    def positive(value: object) -> N:
        found = read(value)
        if not found:
            raise ConfigError(f"{show(value)} is too little: {instead}")
        return found

    return positive


def at_most(read: Callable[[object], N], most: N, instead: str) -> Callable[[object], N]:
    """Return a reader that refuses more than there is room for; ``instead`` says what to write."""

    def bounded(value: object) -> N:
        found = read(value)
        if found > most:
            raise ConfigError(f"{show(value)} is too much: {instead}")
        return found

    return bounded


LONGEST_KEPT = 365_000 * 86400.0
"""Seconds that something may be kept, or be due in: dates beyond that have no place in what stores keep them as."""


def time_kept(value: object) -> float:
    """Return seconds, as `duration`; raises `ConfigError` for more than a thousand years, too."""
    return at_most(duration, LONGEST_KEPT, "write 365000d at most")(value)


LONGEST_CALL = 24 * 86400.0
"""Seconds that a call may wait: more milliseconds do not fit into the numbers that operating systems have for them."""


def call_timeout(example: str) -> Callable[[object], float]:
    """Return a reader of how long a call may go on trying, which is neither nothing nor for ever."""
    instead = f"write some seconds, such as {example}"
    return at_most(above_zero(duration, instead), LONGEST_CALL, instead)


def text_or_function(what: str) -> Callable[[object], Any]:
    """Return a reader of a secret that is given as text, or as a function that returns it; it is kept as it is."""

    def read(value: object) -> Any:
        if value is None or callable(value) or isinstance(value, str):
            return value
        raise ConfigError(f"is {what}, or a function that returns one")

    return read


def secret(what: str) -> Callable[[object], Any]:
    """Return a reader as `text_or_function`, of which a function comes in any case."""
    read = text_or_function(what)

    def ask(value: object) -> Any:
        found = read(value)
        return (lambda: found) if isinstance(found, str) else found

    return ask


def _number(value: object, kind: Callable[[Any], N]) -> N | None:
    """Read a plain number or its text; None if it is none. A bool is no number, nor is 1.5 an int."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        return None
    return None if isinstance(value, float) and number != value else number


def _wrong(value: object, kind: str, forms: str) -> ConfigError:
    return ConfigError(f"{show(value)} is not {kind}: write {forms}")


# -------------------------------------------------------------------------------- options


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that a store understands.

    ``parse`` turns what was given, text or not, into the value, or raises `ValueError`.
    ``default`` is the value, unparsed, of an option not given. ``env`` names an environment
    variable that is read then. An error lists the options there are but those not ``listed``.
    ``former`` are names that it had before, which work too. One that has something to give ``instead``
    is to go.
    """

    name: str
    parse: Callable[[Any], Any]
    default: Any
    help: str
    env: str | None = None
    listed: bool = True
    former: tuple[str, ...] = ()
    instead: str = ""


def merge(*sources: Mapping[str, Any] | None) -> dict[str, Any]:
    """Put settings together, later sources first in rank: URL query, config, keywords.

    A None counts as not given.
    """
    return {name: value for source in sources if source for name, value in source.items() if value is not None}


def read_options(
    schema: Iterable[Option], given: Mapping[str, Any], where: str, env: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Return a value for every option of a schema: what was given, the environment's, or the default.

    ``where`` starts every error. Raises `ConfigError` for an unknown name, with the nearest known
    ones, and for a value that cannot be read; that of a secret, or `FromOutside`, is never quoted.
    """
    options = {option.name: option for option in schema}
    for name in given:
        if name not in options:
            raise ConfigError(f"{where}: unknown option {plain_name(str(name))}; {_nearest(str(name), options)}")
    return {name: _read(option, given.get(name), where, env) for name, option in options.items()}


NOT_VALID = "its value is not valid"


def _reason(option: Option, value: Any, error: Exception) -> str:
    """Say why a value cannot be read; of one from outside without quoting it, whatever the reader's error does."""
    if not isinstance(value, FromOutside):
        return mask(str(error))
    try:
        option.parse(value)
    except (TypeError, ValueError) as again:
        said = mask(str(again))
        return said if str(value).lower() not in said.lower() or len(value) < SHORT else NOT_VALID
    return NOT_VALID


SHORT = 4
"""Characters of a text that are in many a sentence, and too few for a secret."""


def _nearest(name: str, options: Mapping[str, Option]) -> str:
    """Suggest what comes nearest to a name, by its present name, and nothing that is to go."""
    kept = [option for option in options.values() if not option.instead]
    former = {name: option.name for option in kept for name in option.former}
    return suggest(name, (option.name for option in kept), [option.name for option in kept if option.listed], former)


LISTED = 200
"""Characters of known names that an error lists when it can suggest one of them."""


def suggest(
    word: str,
    known: Iterable[str],
    listed: Iterable[str] | None = None,
    former: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Say which known names come nearest to a wrong one, and list them, or those that are ``listed``.

    Where there are many, the nearest alone are named. ``former`` names are known too, and told by
    the present ones.
    """
    every = sorted(known)
    close = difflib.get_close_matches(word.lower(), [*every, *former], n=2)
    near = list(dict.fromkeys(former.get(name, name) for name in close))
    names = ", ".join(every if listed is None else sorted(listed)) or "none"
    if not near:
        return f"known: {names}"
    hint = f"did you mean {' or '.join(map(repr, near))}?"
    return f"{hint} known: {names}" if len(names) <= LISTED else hint


def _read(option: Option, value: Any, where: str, env: Mapping[str, str]) -> Any:
    label = repr(option.name)
    if value is None and option.env and env.get(option.env):
        value, label = FromOutside(env[option.env]), f"{label} (from {option.env})"
    if value is None:
        return option.default
    try:
        return option.parse(str.__str__(value) if isinstance(value, FromOutside) else value)
    except (TypeError, ValueError) as error:
        reason = NOT_VALID if is_secret(option.name) else _reason(option, value, error)
    raise ConfigError(f"{where}: option {label}: {reason}")
