"""``${NAME}`` in a config: the environment's values put in, where they stand in a URL as URLs need them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from charm_checkpoint.config.masking import is_secret
from charm_checkpoint.errors import ConfigError, PathPart, format_path

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_]\w*)(?P<raw>:raw)?(?::-(?P<default>[^${}]*))?\}|\$\{")
_SCHEME = re.compile(r"[\s\"'`]*[A-Za-z][A-Za-z0-9+.\-]*://")


def expand(value: Any, env: Mapping[str, str] = os.environ, where: tuple[PathPart, ...] = ()) -> Any:
    """Replace ``${NAME}`` in every text of a nested config; keys stay as they are.

    ``${NAME:-default}`` is ``default`` where NAME is unset or empty, ``$$`` is ``$``, any other
    ``$`` stays. In the user part of a URL, and in the value of an option after its ``?``, what is
    put in is percent-encoded, so that a password may hold any character; ``${NAME:raw}`` puts in
    what is encoded already. ``where`` leads to ``value``. Expand once only: a second time would
    read ``$$`` again. Raises `ConfigError`, naming variable and place, for a variable that is
    not set.
    """
    if isinstance(value, str):
        return _expand_text(value, env, where)
    if isinstance(value, Mapping):
        return {key: expand(item, env, (*where, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [expand(item, env, (*where, at)) for at, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    return value


class Login(NamedTuple):
    """The variables of a URL's secrets: those whose value is percent-encoded, and those put in as they are."""

    encoded: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()


def login_variables(url: object) -> Login:
    """Return which variables a URL, not expanded yet, has for user, password and options that are secret."""
    if not isinstance(url, str):
        return Login()
    user, *options = [*_spans(url)] or [(0, 0)]
    spans = [user, *(span for span in options if is_secret(re.split(r"[?&]", url[: span[0] - 1])[-1]))]
    found = [match for span in spans for match in _VARIABLE.finditer(url, *span) if match["name"]]
    return Login(
        tuple(match["name"] for match in found if not match["raw"]),
        tuple(match["name"] for match in found if match["raw"]),
    )


def _expand_text(text: str, env: Mapping[str, str], where: tuple[PathPart, ...]) -> str:
    spans = list(_spans(text))

    def put_in(match: re.Match[str]) -> str:
        found = _replacement(match, env, where)
        within = any(start <= match.start() < end for start, end in spans)
        if not within or match["raw"] or not match["name"]:
            return found
        return quote(found, safe="", errors="surrogateescape")

    return _VARIABLE.sub(put_in, text)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where a URL's user part is, which may be empty, and then the values of its options; nothing for no URL."""
    plain = _VARIABLE.sub(lambda match: "v" * len(match[0]), text)
    url = _SCHEME.match(plain)
    if url is None:
        return
    query = plain.find("?", url.end())
    authority = re.compile(r"[^/?]*").match(plain, url.end())
    assert authority is not None
    yield url.end(), max(plain.rfind("@", url.end(), authority.end()), url.end())
    while query >= 0:
        start = query + 1
        query = plain.find("&", start)
        end = query if query >= 0 else len(plain)
        equals = plain.find("=", start, end)
        if equals >= 0:
            yield equals + 1, end


def _replacement(match: re.Match[str], env: Mapping[str, str], where: tuple[PathPart, ...]) -> str:
    name, default = match["name"], match["default"]
    at = f"{format_path(where)}: " if where else ""
    if match[0] == "$$":
        return "$"
    if name is None:
        raise ConfigError(
            f"{at}cannot read ${{…}}; write ${{NAME}} or ${{NAME:-default}}, in a URL's user part ${{NAME:raw}} for "
            "what is percent-encoded already, and $$ for a plain $"
        )
    found = env.get(name)
    if default is not None:
        return found or default
    if found is None:
        raise ConfigError(f"{at}the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
    return found
