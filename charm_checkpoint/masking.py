"""Hiding of secrets in text that people and logs will see."""

from __future__ import annotations

import re

MASK = "***"

_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.\-]{0,63}")
_SECRET_NAME = re.compile(
    r"passw|passphrase|passcode|(?:^|[_.-])pass$|pwd|secret|token|credential|auth(?!ors?(?![a-z]))|jwt|key$",
    re.IGNORECASE,
)
# The look-behinds keep every search linear on long runs of one kind of character.
_URL_USER = re.compile(r"(?<![a-z0-9+.\-])([a-z][a-z0-9+.\-]*://)(\S*)@", re.IGNORECASE)
_BARE_USER = re.compile(r"(?<![\w.%+\-])([\w.%+\-]*):[^\s@/]{1,512}@")
_BEARER = re.compile(r"\b(bearer|basic)\s+[^\s\"']+", re.IGNORECASE)
_TOKEN = re.compile(r"\b(eyJ|sb_secret_|sbp_|sk-|ghp_)[\w.=\-]{6,}")
_NAME = re.compile(r"(?<![\w.\-])([\w.\-]+)([\"']?)\s*([=:])\s*")
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s\"']+")


def mask(text: str) -> str:
    """Hide the secrets in any text: passwords in URLs, values of secret-sounding names, known tokens.

    Hides too much rather than too little: all up to the last ``@`` of a URL counts as password.
    """
    text = _URL_USER.sub(_mask_user, text)
    text = _BARE_USER.sub(rf"\1:{MASK}@", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    return _mask_values(_TOKEN.sub(rf"\1{MASK}", text))


def is_secret(name: str) -> bool:
    """Say whether a setting of this name holds a secret: ``password``, ``api_key``, ``authToken``."""
    return _SECRET_NAME.search(name) is not None


def hides_user(scheme: str) -> bool:
    """Say whether a user without a password in such a URL is likely a token: ``https://TOKEN@host``."""
    return scheme.lower() in ("http", "https", "supabase")


def show(value: object, limit: int = 60) -> str:
    """Return a value as an error may quote it: masked, and cut to ``limit`` characters."""
    text = mask(repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain_name(name: str) -> str:
    """Return a name as an error may quote it, or only a word for it if it looks like anything else."""
    return repr(name) if _PLAIN_NAME.fullmatch(name) else "(a name that is not plain text)"


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
        if value:
            done, at = done + text[at : value.start()] + _masked(value.group()), value.end()
    return done + text[at:]


def _names_secret(name: re.Match[str]) -> bool:
    word, quote, sign = name.groups()
    # "unknown key: x" is prose, {"key": "x"} and key=x are not.
    prose = word.lower() == "key" and sign == ":" and not quote
    return is_secret(word) and not prose


def _masked(value: str) -> str:
    return f"{value[0]}{MASK}{value[0]}" if value[0] in "\"'" else MASK
