"""The class that Charm expects of a memory provider: the SDK's own where it is installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any


class _BaseMemoryStore(ABC):
    """The contract of Charm's ``charm.core.storage.BaseMemoryStore``, for programs without the SDK."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @abstractmethod
    def load_messages(self, thread_id: str) -> list[dict[str, Any]]:
        """Return a thread's messages."""

    @abstractmethod
    def save_messages(self, thread_id: str, messages: list[dict[str, Any]]) -> None:
        """Replace a thread's messages."""

    @abstractmethod
    def get_langgraph_checkpointer(self) -> Any:
        """Return a LangGraph checkpointer, or None."""


def _sdk_has_it() -> bool:
    """Tell whether the installed ``charm`` is the agent SDK: other packages go by that name, so it is not imported."""
    spec = find_spec("charm")
    folders = spec.submodule_search_locations if spec is not None else None
    places = [Path(folder, "core", name) for folder in folders or () for name in ("storage", "storage.py")]
    return any(place.exists() for place in places)


if TYPE_CHECKING or not _sdk_has_it():
    BaseMemoryStore = _BaseMemoryStore
else:
    from charm.core.storage import BaseMemoryStore

__all__ = ["BaseMemoryStore"]
