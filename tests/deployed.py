"""Classes that take each other's place under one stored name, as one version of a program does another's."""

from __future__ import annotations

from typing import Any

from charm_checkpoint.values.serde import classes, hooks, register_type

NAME = "shop:Thing"
"""The stored name."""


def forget() -> None:
    """Forget every class that is registered, and what is known of others."""
    for table in (classes._registered, classes._names, hooks._changes, hooks._hooks):
        table.clear()  # type: ignore[attr-defined]
    classes._layouts.clear()


def deploy(cls: type, **how: Any) -> None:
    """Put a class in the place that others had."""
    forget()
    register_type(cls, name=NAME, **how)
