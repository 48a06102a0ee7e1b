"""Answers as JSON, and errors as answers."""

from __future__ import annotations

import json
import math
from typing import Any

from langgraph.store.base import InvalidNamespaceError
from starlette.requests import Request
from starlette.responses import Response

from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import (
    CharmError,
    ConfigError,
    DataError,
    NotThere,
    ReadOnlyStore,
    StoreCorrupt,
    StoreUnavailable,
    ThreadConflict,
    ThreadExists,
)
from charm_checkpoint.ui.parameters import BadRequest

_EXACT = 2**53
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotThere, 404),
    (StoreUnavailable, 503),
    (StoreCorrupt, 422),
    (ReadOnlyStore, 403),
    (ThreadExists, 409),
    (ThreadConflict, 409),
    (DataError, 422),
    (ConfigError, 400),
    (InvalidNamespaceError, 400),
    (CharmError, 500),
)


class Refused(Exception):
    """The page was not started for that."""

    status = 403


class Outdated(Exception):
    """The thread went on since the page showed it."""

    status = 409


class Json(Response):
    """An answer as JSON of ASCII: any text survives, lone surrogates too."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write the content; what JavaScript's numbers cannot hold becomes text."""
        return json.dumps(exact(content), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def exact(value: Any) -> Any:
    """Return plain JSON in which whole numbers beyond 2**53, infinities and NaN are text, as a browser loses them."""
    kind = type(value)
    if kind is dict:
        return {name: exact(each) for name, each in value.items()}
    if kind in (list, tuple):
        return [exact(each) for each in value]
    if kind is int and not -_EXACT <= value <= _EXACT:
        return str(value)
    if kind is float and not math.isfinite(value):
        return str(value)
    return value


async def told(request: Request, error: Exception) -> Response:
    """Answer with an error: its kind, and what it says without secrets."""
    status = getattr(error, "status", None) or next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    return Json({"error": type(error).__name__, "message": mask(str(error))}, status)


UNFORESEEN = Json({"error": "Unforeseen", "message": "That failed here; the terminal says why."}, 500)
"""The answer where something went wrong that nobody foresaw."""

TOLD: dict[Any, Any] = dict.fromkeys((CharmError, InvalidNamespaceError, BadRequest, Refused, Outdated), told)
