"""One saver, many stores: persistence for LangGraph agents and Charm.

    from charm_checkpoint import open_memory

    memory = open_memory("sqlite:///agent.db")
    graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())

Names are imported when they are first used, so that this import stays quick and needs no driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charm_checkpoint.base import BaseMemoryStore as BaseMemoryStore
    from charm_checkpoint.charm import from_charm as from_charm
    from charm_checkpoint.errors import CharmError as CharmError
    from charm_checkpoint.errors import ConfigError as ConfigError
    from charm_checkpoint.errors import DataError as DataError
    from charm_checkpoint.errors import MissingExtra as MissingExtra
    from charm_checkpoint.errors import NotSerializable as NotSerializable
    from charm_checkpoint.errors import ReadOnlyStore as ReadOnlyStore
    from charm_checkpoint.errors import SchemaMismatch as SchemaMismatch
    from charm_checkpoint.errors import StoreClosed as StoreClosed
    from charm_checkpoint.errors import StoreCorrupt as StoreCorrupt
    from charm_checkpoint.errors import StoreError as StoreError
    from charm_checkpoint.errors import StoreUnavailable as StoreUnavailable
    from charm_checkpoint.errors import ThreadConflict as ThreadConflict
    from charm_checkpoint.errors import ThreadDeleted as ThreadDeleted
    from charm_checkpoint.errors import ThreadExists as ThreadExists
    from charm_checkpoint.errors import TypeNotLoaded as TypeNotLoaded
    from charm_checkpoint.manager import StorageManager as StorageManager
    from charm_checkpoint.memory import Memory as Memory
    from charm_checkpoint.memory import open_memory as open_memory
    from charm_checkpoint.providers import RamMemory as RamMemory
    from charm_checkpoint.providers import SqliteMemory as SqliteMemory
    from charm_checkpoint.registry import register_store as register_store
    from charm_checkpoint.saver import CharmSaver as CharmSaver
    from charm_checkpoint.serde import Serializer as Serializer
    from charm_checkpoint.serde import register_type as register_type

__version__ = "0.1.0"

_HOMES = {
    "BaseMemoryStore": "base",
    "from_charm": "charm",
    **dict.fromkeys(
        (
            "CharmError", "ConfigError", "DataError", "MissingExtra", "NotSerializable", "ReadOnlyStore",
            "SchemaMismatch", "StoreClosed", "StoreCorrupt", "StoreError", "StoreUnavailable", "ThreadConflict",
            "ThreadDeleted", "ThreadExists", "TypeNotLoaded",
        ),
        "errors",
    ),
    "StorageManager": "manager",
    "Memory": "memory",
    "open_memory": "memory",
    "RamMemory": "providers",
    "SqliteMemory": "providers",
    "register_store": "registry",
    "CharmSaver": "saver",
    "Serializer": "serde",
    "register_type": "serde",
}  # fmt: skip

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
