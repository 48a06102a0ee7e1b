"""Rows of SQLAlchemy and SQLModel: data classes that carry a state of their session's, and what a query returns."""

from __future__ import annotations

import logging
import sys
from typing import Any

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde.class_reading import attribute, derives_from_path, owner, path_of

STATE = "_sa_instance_state"
"""The attribute that is no content."""

_MANAGERS = frozenset({"sqlalchemy.orm.instrumentation:ClassManager"})

logger = logging.getLogger("charm_checkpoint")
_warned: set[type] = set()


def is_mapped(cls: type) -> bool:
    """Say whether a class is mapped to a table, without running any code of it."""
    return derives_from_path(type(attribute(cls, "_sa_class_manager")), _MANAGERS)


def runs_code(cls: type) -> str:
    """Return which code of its own a mapped class has that would run as its rows are made, empty for none.

    SQLAlchemy asks a row for its class.
    """
    if is_mapped(cls):
        return next((name for name in ("__getattribute__", "__class__") if owner(cls, name) is not object), "")
    return ""


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
    cls = type(obj)
    manager: Any = attribute(cls, "_sa_class_manager")
    if not manager.mapper.configured:
        _configure(cls)
    # As the manager's `setup_instance` does it, whose plain assignment would call a `__setattr__` of the program's.
    object.__setattr__(obj, STATE, sys.modules["sqlalchemy.orm.state"].InstanceState(obj, manager))
    return obj


def _configure(cls: type) -> None:
    """Have SQLAlchemy set up the attributes of mapped classes, as it does when a program makes its first row.

    What runs is what the program declared of its tables, once and for all of them, whatever is stored.
    """
    try:
        sys.modules["sqlalchemy.orm"].configure_mappers()
    except MemoryError:
        raise
    except Exception as exc:  # whatever is wrong with the mapping
        raise TypeNotLoaded(f"the tables that {path_of(cls)} belongs to cannot be configured: {exc!r}") from exc


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
