"""What a refused login may be due to, judging by how the URL was written; nothing of it is quoted."""

from __future__ import annotations

import re

from charm_checkpoint.config.environment import login_variables
from charm_checkpoint.config.masking import hides_user
from charm_checkpoint.config.url import Location
from charm_checkpoint.errors import ConfigError

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


def login_hint(location: Location, template: object) -> str:
    """Return what was assumed of a URL's user and password, to be added to the error of a refused login.

    ``template`` is the URL as it stood in a config, before ``${NAME}`` in it was expanded.
    """
    encoded, raw = login_variables(template)
    plain = f"{location.user or ''}{location.password or ''}"
    hints = []
    if encoded:
        hints.append(
            f"the value of {_named(encoded)} was taken for plain text and percent-encoded for the URL: write "
            f"${{{encoded[0]}:raw}} if it is percent-encoded already, or holds user and password"
        )
    if raw:
        hints.append(
            f"the value of {_named(raw, ':raw')} was put into the URL as it is, to be percent-decoded: write "
            f"${{{raw[0]}}} if it is plain text"
        )
    if not (encoded or raw) and _ESCAPE.search(location.raw.partition("://")[2].rpartition("@")[0]):
        hints.append("%XX in the URL's user part was decoded: write a % that is meant as such as %25")
    if "${" in plain:
        hints.append("${NAME} is expanded in a config only, not in a URL that is passed to open_memory")
    if location.user and location.password is None and hides_user(location.scheme):
        hints.append("the URL has a user but no password: a password alone has a colon before it, right after ://")
    if re.fullmatch(r"\[.+\]", location.password or ""):
        hints.append("the password stands in [ ], which may be left of a placeholder")
    return "; ".join(hints)


def told_password(told: object) -> str:
    """Return what a function told as the password; raises `ConfigError` from a frame that does not hold it."""
    if isinstance(told, str):
        return told
    kind = type(told).__name__
    del told
    raise ConfigError(f"password: the function returned {kind}, not text")


def _named(names: tuple[str, ...], suffix: str = "") -> str:
    return " and ".join(f"${{{name}{suffix}}}" for name in dict.fromkeys(names))
