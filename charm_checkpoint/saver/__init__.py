"""LangGraph's checkpointer over any store: its rules, its records, and what a run is known to have seen."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charm_checkpoint.saver.checkpointer import CharmSaver as CharmSaver
else:

    def __getattr__(name: str) -> Any:
        if name != "CharmSaver":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, import_module(f"{__name__}.checkpointer").CharmSaver)
