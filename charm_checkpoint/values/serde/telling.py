"""What reading finds of classes that changed: told in the log, each once, or to somebody who asked for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Literal, NamedTuple, TypeAlias

logger = logging.getLogger("charm_checkpoint")

What: TypeAlias = Literal["unknown", "lost", "kept", "missing", "changed", "renamed", "alias"]


class Finding(NamedTuple):
    """Something that is not as it was stored, or no object of its class."""

    what: What
    """``unknown``: it cannot be restored. ``lost``, ``kept``: a field that the class does not have is dropped, or kept
    beside the object. ``missing``: a field is not stored, and takes its default. ``changed``: it is read as another
    thing than was stored. ``renamed``: a field or member under another name. ``alias``: a class under another name."""
    cls: str
    """Where the class is, or was, as ``module:qualname``."""
    field: str
    """The field or member, empty for the whole object."""
    message: str
    """A sentence or two, for a log."""


Tell: TypeAlias = Callable[[Finding], None]
"""Takes what was found."""

_LEVELS: dict[What, int] = {
    "kept": logging.INFO,
    "missing": logging.DEBUG,
    "renamed": logging.DEBUG,
    "alias": logging.DEBUG,
}
MOST, HOUR = 1000, 3600.0
"""Findings that are told in an hour at most, as what is stored may name any number of classes; and its seconds."""
_told: set[tuple[str, ...]] = set()
_began = 0.0


def log_once(finding: Finding) -> None:
    """Log a finding if none of its kind, class and field was logged by this process before."""
    global _began
    key = finding[:3]
    if key in _told:
        return
    if len(_told) >= MOST and monotonic() - _began >= HOUR:
        _told.clear()
    if len(_told) >= MOST:
        return
    if not _told:
        _began = monotonic()
    _told.add(key)
    logger.log(_LEVELS.get(finding.what, logging.WARNING), "%s", finding.message)
    if len(_told) == MOST:
        logger.warning("%s findings about stored objects were told; others are not, for up to an hour.", MOST)
