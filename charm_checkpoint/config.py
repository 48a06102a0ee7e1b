"""Configuration: options and their values, and ``${ENV}`` in them.

A store declares its options as a tuple of `Option`. Their values come from the URL's query, a
config mapping and keywords; `merge` puts them together, `read_options` checks them.

URLs are parsed in location.py and secrets hidden in masking.py; both are offered here too.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from charm_checkpoint.errors import ConfigError, PathPart, format_path
from charm_checkpoint.location import Location, parse_url
from charm_checkpoint.masking import is_secret, mask, plain_name, show

__all__ = [
    "Location",
    "Option",
    "boolean",
    "choice",
    "duration",
    "expand",
    "mask",
    "merge",
    "parse_url",
    "read_options",
    "size",
    "suggest",
    "text",
    "whole",
]

N = TypeVar("N", int, float)

# ---------------------------------------------------------------------------- environment

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^${}]*))?\}|\$\{")


def expand(value: Any, env: Mapping[str, str] = os.environ, where: tuple[PathPart, ...] = ()) -> Any:
    """Replace ``${NAME}`` in every text of a nested config; keys stay as they are.

    ``${NAME:-default}`` is ``default`` where NAME is unset or empty, ``$$`` is ``$``, any other
    ``$`` stays. ``where`` leads to ``value``. Expand once only: a second time would read ``$$``
    again. Raises `ConfigError`, naming variable and place, for a variable that is not set.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _replacement(match, env, where), value)
    if isinstance(value, Mapping):
        return {key: expand(item, env, (*where, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [expand(item, env, (*where, at)) for at, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    return value


def _replacement(match: re.Match[str], env: Mapping[str, str], where: tuple[PathPart, ...]) -> str:
    name, default = match["name"], match["default"]
    at = f"{format_path(where)}: " if where else ""
    if match[0] == "$$":
        return "$"
    if name is None:
        raise ConfigError(f"{at}cannot read ${{…}}; write ${{NAME}} or ${{NAME:-default}}, and $$ for a plain $")
    found = env.get(name)
    if default is not None:
        return found or default
    if found is None:
        raise ConfigError(f"{at}the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
    return found


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


def whole(value: object) -> int:
    """Return a whole number, 0 or more."""
    count = _number(value, int)
    if count is None or count < 0:
        raise _wrong(value, "a whole number", "0 or more")
    return count


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
    variable that is read then.
    """

    name: str
    parse: Callable[[Any], Any]
    default: Any
    help: str
    env: str | None = None


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
    ones, and for a value that cannot be read; the value of a secret is never quoted.
    """
    options = {option.name: option for option in schema}
    for name in given:
        if name not in options:
            raise ConfigError(f"{where}: unknown option {plain_name(str(name))}; {suggest(str(name), options)}")
    return {name: _read(option, given.get(name), where, env) for name, option in options.items()}


def suggest(word: str, known: Iterable[str]) -> str:
    """Say which known names come nearest to a wrong one, and list them all."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=2)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{hint}known: {', '.join(names) or 'none'}"


def _read(option: Option, value: Any, where: str, env: Mapping[str, str]) -> Any:
    label = repr(option.name)
    if value is None and option.env and env.get(option.env):
        value, label = env[option.env], f"{label} (from {option.env})"
    if value is None:
        return option.default
    try:
        return option.parse(value)
    except (TypeError, ValueError) as error:
        reason = "its value is not valid" if is_secret(option.name) else mask(str(error))
    raise ConfigError(f"{where}: option {label}: {reason}")
