"""Hiding of secrets in text that people and logs will see."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"

_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.+\-]{0,63}")
_NUMBER = re.compile(r"[+\-]?[\d.,]+(?:e[+\-]?\d+)?", re.IGNORECASE)
_ONE_WORD = re.compile(r"(?![/~.]|[A-Za-z]:[/\\])[\w+/=.~!@#$%^&*\-]+")
_SECRET_NAME = re.compile(
    r"passw|passphrase|passcode|(?:^|[_.-])pass$|pwd|secret|token|credential|(?:^|[_.-])auth(?:$|[_.-])|authorization"
    r"|jwt|(?<!tls)(?<!tls_)(?<!ssl)(?<!ssl_)(?<!pkey)key$",
    re.IGNORECASE,
)
_CAMEL_AUTH = re.compile(r"[a-z]Auth(?:$|[A-Z])")
_TOKEN_SCHEMES = frozenset(
    "http https supabase redis rediss redis+cluster redis+sentinel rediss+cluster rediss+sentinel valkey valkeys unix"
    " redis+socket redis+unix".split()
)
# The look-behinds keep every search linear on long runs of one kind of character.
_URL_USER = re.compile(r"(?<![a-z0-9+.\-])([a-z][a-z0-9+.\-]*://)(\S*)@", re.IGNORECASE)
# A password with spaces in it, unencoded; what looks like a port, or several, is none.
_SPACED_USER = re.compile(
    r"(?<![a-z0-9+.\-])([a-z][a-z0-9+.\-]*://[^\s/@:\[\]]*):(?!\d+(?:[\s/?,\"']|$))[^@\n\"'<>]{1,512}@", re.IGNORECASE
)
_BARE_USER = re.compile(r"(?<![\w.%+\-])([\w.%+\-]*):[^\s@/]{1,512}@")
_BEARER = re.compile(
    r"\b(bearer|basic)\s+(?!(?:auth\w*|tokens?|schemes?|headers?|usage|of|is|was|for|from|or|and|in)\b)[^\s\"']+",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\b(eyJ|sb_secret_|sbp_|sk-|ghp_)[\w.=\-]{6,}")
_NAME = re.compile(r"(?<![\w.\-])([\w.\-]+)([\"']?)\s*(=>|:=|[=:])\s*")
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s\"']+")
# How a message goes on after "password: ", which a secret hardly does: one of these words, and then another.
_PROSE = re.compile(
    r"(?:an?|and|are|at|cannot|could|does|error|expected|failed|failure|file|given?|has|in|invalid|is|it|its|malformed"
    r"|may|missing|must|need|needs|no|none|not|nothing|only|or|permission|please|required|set|should|such|that|the"
    r"|there|this|too|unable|unknown|use|value|was|with|wrong|write|you|your),?\s+['\"]?[A-Za-z$]",
    re.IGNORECASE,
)
# What a message may end in, of a token or a password.
_WORD = re.compile(
    r"(?:denied|empty|expired|invalid|missing|none|null|refused|rejected|required|revoked|unknown|unset|wrong)[,.;:)\]}]*",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"tokens$|tokens?_?(?:count|limit|usage)", re.IGNORECASE)
_COUNT = re.compile(r"\d{1,9}[,.;:)\]}]*")
_PUNCTUATION = re.compile(r"[,.;:)\]}]+(?!\S)")


class Secret:
    """Text that neither ``repr`` nor ``str`` shows, for what is printed with all that it holds; `plain` gives it."""

    __slots__ = ("_plain",)

    def __init__(self, plain: str) -> None:
        self._plain = plain

    def plain(self) -> str:
        """Return the text."""
        return self._plain

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"


class FromOutside(str):
    """Text of the environment or of a URL, which may be a secret that was put into the wrong place: not to be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"what was given ({kind_of(str(self))})"


class Masked(dict[str, Any]):
    """A config, whose ``repr`` shows no secret."""

    def __repr__(self) -> str:
        return mask(super().__repr__())


class Hidden(dict[str, Any]):
    """Settings of a connection, of which ``repr`` shows the names alone."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"


def mask(text: str) -> str:
    """Hide the secrets in any text: passwords in URLs, values of secret-sounding names, known tokens.

    Hides too much rather than too little: all up to the last ``@`` of a URL counts as password.
    """
    text = _URL_USER.sub(_mask_user, text)
    text = _SPACED_USER.sub(rf"\1:{MASK}@", text)
    text = _BARE_USER.sub(rf"\1:{MASK}@", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    return _mask_values(_TOKEN.sub(rf"\1{MASK}", text))


def is_secret(name: str) -> bool:
    """Say whether a setting of this name holds a secret: ``password``, ``api_key``, ``authToken``."""
    return _SECRET_NAME.search(name) is not None or _CAMEL_AUTH.search(name) is not None


def hides_user(scheme: str) -> bool:
    """Say whether a user without a password in such a URL is likely a secret: ``https://TOKEN@host``.

    So it is with Redis, where a user alone cannot log in: the colon before a password was forgotten.
    """
    return scheme.lower() in _TOKEN_SCHEMES


def kind_of(text: str) -> str:
    """Say what kind of text something is, and nothing of what it says."""
    if not text.strip():
        return "blank" if text else "empty"
    if "://" in text:
        return "a URL"
    return "a number" if _NUMBER.fullmatch(text.strip()) else "text"


def looks_secret(text: str) -> bool:
    """Tell whether text looks like a key or a token: one long word of letters and digits that is no path."""
    return (
        len(text) >= 16
        and _ONE_WORD.fullmatch(text) is not None
        and re.search(r"[A-Za-z]", text) is not None
        and re.search(r"\d", text) is not None
    )


def show(value: object, limit: int = 60) -> str:
    """Return a value as an error may quote it: masked, and cut to ``limit`` characters; of a secret only its kind."""
    if isinstance(value, str) and not isinstance(value, FromOutside) and looks_secret(value):
        value = FromOutside(value)
    text = mask(repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain_name(name: str) -> str:
    """Return a name as an error may quote it, or only a word for it if it looks like anything else."""
    plain = _PLAIN_NAME.fullmatch(name) and not looks_secret(name)
    return repr(name) if plain else "(a name that is not plain text)"


def _mask_user(match: re.Match[str]) -> str:
    scheme, user = match.groups()
    name, colon, _ = user.partition(":")
    if colon:
        return f"{scheme}{name}:{MASK}@"
    return f"{scheme}{MASK}@" if hides_user(scheme[:-3]) and "/" not in name else match.group()


def _mask_values(text: str) -> str:
    done, at = "", 0
    for name in _NAME.finditer(text):
        if name.start() < at or not _names_secret(name):
            continue
        value = _VALUE.match(text, name.end())
        if value and not _is_prose(name, value):
            done, at = done + text[at : value.start()] + _masked(value.group()), value.end()
    return done + text[at:]


def _names_secret(name: re.Match[str]) -> bool:
    word, quote, sign = name.groups()
    # "unknown key: x" is prose, {"key": "x"} and key=x are not.
    prose = word.lower() == "key" and sign == ":" and not quote
    return is_secret(word) and not prose


def _is_prose(name: re.Match[str], value: re.Match[str]) -> bool:
    """Tell "password: no such user" and "check key=, or token= if there is one" from a secret's value."""
    if _PUNCTUATION.match(value.group()) or (_COUNTED.search(name[1]) and _COUNT.fullmatch(value.group())):
        return True
    if name[3] == ":":
        return bool(_PROSE.match(value.string, value.start()) or _WORD.fullmatch(value.group()))
    return (
        name[3] == "="
        and name.group().endswith("= ")
        and not re.search(r"\s=", name.group())
        and value.group()[0] not in "\"'"
    )


def _masked(value: str) -> str:
    return f"{value[0]}{MASK}{value[0]}" if value[0] in "\"'" else MASK
