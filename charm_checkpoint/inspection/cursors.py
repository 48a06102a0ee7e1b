"""Where a listing goes on: opaque text, which any process may come back with."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Any

import ormsgpack

from charm_checkpoint.errors import ConfigError


def cursor(kind: str, *parts: Any) -> str:
    """Return the text for a place in listings of a kind; ``parts`` are plain values."""
    return urlsafe_b64encode(ormsgpack.packb([kind, *parts])).rstrip(b"=").decode()


def place_of(kind: str, text: Any, count: int) -> list[Any]:
    """Return the parts of a cursor; raises `ConfigError` if it is none, or of another kind of listing."""
    parts: list[Any]
    try:
        found, *parts = ormsgpack.unpackb(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (AttributeError, ValueError, TypeError):
        raise ConfigError(f"{text!r:.80} is no cursor: pass on what an earlier listing had as its cursor.") from None
    if found != kind or len(parts) != count:
        raise ConfigError(f"the cursor is one of another listing ({found!r:.40}), not of one by {kind}.")
    return parts


def digest(name: str | None) -> bytes:
    """Return what stands for a name in a cursor: a name may be long."""
    return blake2b((name or "").encode("utf-8", "surrogatepass"), digest_size=8).digest()
