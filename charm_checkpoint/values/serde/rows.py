"""Rows of SQLAlchemy and SQLModel: data classes that carry a state of their session's, and what a query returns."""

from __future__ import annotations

import logging
from typing import Any

from charm_checkpoint.errors import NotSerializable

STATE = "_sa_instance_state"
"""The attribute that is no content."""

logger = logging.getLogger("charm_checkpoint")
_warned: set[type] = set()


def is_mapped(cls: type) -> bool:
    """Say whether a class is mapped to a table, without running any code of it."""
    return any("_sa_class_manager" in vars(base) for base in cls.__mro__)


def check_loaded(obj: Any) -> None:
    """Refuse a row whose columns its session would still have to load: they would be lost."""
    state = obj.__dict__
    row = state.get(STATE)
    if row is None or row.key is None:
        return
    missing = [column.key for column in row.mapper.column_attrs if column.key not in state]
    if missing:
        raise NotSerializable(
            f"{', '.join(missing)} of this {type(obj).__name__} must still be loaded from the database. Call "
            "session.refresh(row) first, or use Session(expire_on_commit=False)."
        )


def instrumented(obj: Any) -> Any:
    """Give a restored row the state that its attributes need; it belongs to no session."""
    type(obj)._sa_class_manager.setup_instance(obj)
    return obj


def as_dict(value: Any) -> dict[str, Any] | None:
    """Return the dict that a row of a query's result says it is, as a named tuple would; None for anything else."""
    cls = type(value)
    as_dict = getattr(cls, "_asdict", None)
    if not callable(as_dict):
        return None
    if cls not in _warned:
        _warned.add(cls)
        logger.warning("%s.%s is stored as the dict of its _asdict().", cls.__module__, cls.__qualname__)
    return dict(as_dict(value))
