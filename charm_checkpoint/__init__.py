"""One saver, many stores: persistence for LangGraph agents and Charm.

    from charm_checkpoint import open_memory

    memory = open_memory("sqlite:///agent.db")
    graph = builder.compile(checkpointer=memory.get_langgraph_checkpointer())

Names are imported when they are first used, so that this import stays quick and needs no driver.
"""

from __future__ import annotations

from charm_checkpoint.moved import install, present_name

install()  # first of all: another thread may ask for a former name while this one is still here

from importlib import import_module  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from charm_checkpoint.config.manager import StorageManager as StorageManager
    from charm_checkpoint.config.registry import register_store as register_store
    from charm_checkpoint.errors import AmbiguousMemory as AmbiguousMemory
    from charm_checkpoint.errors import CharmError as CharmError
    from charm_checkpoint.errors import CheckpointNotFound as CheckpointNotFound
    from charm_checkpoint.errors import ConfigError as ConfigError
    from charm_checkpoint.errors import DataError as DataError
    from charm_checkpoint.errors import ForgottenMemory as ForgottenMemory
    from charm_checkpoint.errors import InvalidFilter as InvalidFilter
    from charm_checkpoint.errors import ItemConflict as ItemConflict
    from charm_checkpoint.errors import LoginRefused as LoginRefused
    from charm_checkpoint.errors import MemoryExists as MemoryExists
    from charm_checkpoint.errors import MemoryNotFound as MemoryNotFound
    from charm_checkpoint.errors import MemoryRefused as MemoryRefused
    from charm_checkpoint.errors import MissingExtra as MissingExtra
    from charm_checkpoint.errors import NewerFormat as NewerFormat
    from charm_checkpoint.errors import NotSerializable as NotSerializable
    from charm_checkpoint.errors import NotThere as NotThere
    from charm_checkpoint.errors import PathNotFound as PathNotFound
    from charm_checkpoint.errors import ProtectedMemory as ProtectedMemory
    from charm_checkpoint.errors import ReadOnlyStore as ReadOnlyStore
    from charm_checkpoint.errors import SchemaMismatch as SchemaMismatch
    from charm_checkpoint.errors import StoreClosed as StoreClosed
    from charm_checkpoint.errors import StoreCorrupt as StoreCorrupt
    from charm_checkpoint.errors import StoreError as StoreError
    from charm_checkpoint.errors import StoreUnavailable as StoreUnavailable
    from charm_checkpoint.errors import SuspiciousMemory as SuspiciousMemory
    from charm_checkpoint.errors import ThreadConflict as ThreadConflict
    from charm_checkpoint.errors import ThreadDeleted as ThreadDeleted
    from charm_checkpoint.errors import ThreadExists as ThreadExists
    from charm_checkpoint.errors import ThreadNotFound as ThreadNotFound
    from charm_checkpoint.errors import TypeNotLoaded as TypeNotLoaded
    from charm_checkpoint.hosts.charm import from_charm as from_charm
    from charm_checkpoint.hosts.zeroclaw.opening import long_term_from_toml as long_term_from_toml
    from charm_checkpoint.items.caches.langchain import CharmLLMCache as CharmLLMCache
    from charm_checkpoint.items.caches.langgraph import CharmCache as CharmCache
    from charm_checkpoint.items.results import FoundItem as FoundItem
    from charm_checkpoint.items.results import StoredItem as StoredItem
    from charm_checkpoint.items.store.charm_store import CharmStore as CharmStore
    from charm_checkpoint.long_term.memories import LongTermMemory as LongTermMemory
    from charm_checkpoint.long_term.records import Citation as Citation
    from charm_checkpoint.long_term.records import MemoryEntry as MemoryEntry
    from charm_checkpoint.memory import Memory as Memory
    from charm_checkpoint.memory import open_memory as open_memory
    from charm_checkpoint.messages.charm_base import BaseMemoryStore as BaseMemoryStore
    from charm_checkpoint.providers import RamMemory as RamMemory
    from charm_checkpoint.providers import SqliteMemory as SqliteMemory
    from charm_checkpoint.saver.checkpointer import CharmSaver as CharmSaver
    from charm_checkpoint.saver.threads import ThreadInfo as ThreadInfo
    from charm_checkpoint.values.serde import Serializer as Serializer
    from charm_checkpoint.values.serde import Unknown as Unknown
    from charm_checkpoint.values.serde import register_moved as register_moved
    from charm_checkpoint.values.serde import register_type as register_type

__version__ = "0.3.0"

_HOMES = {
    "BaseMemoryStore": "messages.charm_base",
    "from_charm": "hosts.charm",
    "long_term_from_toml": "hosts.zeroclaw.opening",
    **dict.fromkeys(
        (
            "AmbiguousMemory", "CharmError", "CheckpointNotFound", "ConfigError", "DataError", "ForgottenMemory",
            "InvalidFilter", "ItemConflict", "LoginRefused", "MemoryExists", "MemoryNotFound", "MemoryRefused",
            "MissingExtra", "NewerFormat", "NotSerializable", "NotThere", "PathNotFound", "ProtectedMemory",
            "ReadOnlyStore", "SchemaMismatch", "StoreClosed", "StoreCorrupt", "StoreError", "StoreUnavailable",
            "SuspiciousMemory", "ThreadConflict", "ThreadDeleted", "ThreadExists", "ThreadNotFound", "TypeNotLoaded",
        ),
        "errors",
    ),
    "StorageManager": "config.manager",
    "CharmLLMCache": "items.caches.langchain",
    "CharmCache": "items.caches.langgraph",
    "FoundItem": "items.results",
    "StoredItem": "items.results",
    "CharmStore": "items.store.charm_store",
    "LongTermMemory": "long_term.memories",
    "Citation": "long_term.records",
    "MemoryEntry": "long_term.records",
    "Memory": "memory",
    "open_memory": "memory",
    "RamMemory": "providers",
    "SqliteMemory": "providers",
    "register_store": "config.registry",
    "CharmSaver": "saver.checkpointer",
    "Serializer": "values.serde",
    "Unknown": "values.serde",
    "register_moved": "values.serde",
    "register_type": "values.serde",
    "ThreadInfo": "saver.threads",
}  # fmt: skip

__all__ = ["__version__", *_HOMES]


if not TYPE_CHECKING:  # or a type checker would take any name

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        if present_name(f"{__name__}.{name}") is not None:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
