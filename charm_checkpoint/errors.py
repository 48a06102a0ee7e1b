"""Every error this package raises, in one tree.

    CharmError
    ├── ConfigError (ValueError)          a URL, option or config key is wrong
    │   ├── MissingExtra (ImportError)    the driver for this store is not installed
    │   └── MissingServer                 a program that charm_checkpoint.servers starts is not installed
    ├── ServerFailed (RuntimeError)       a local server did not start, or not do what was asked
    ├── StoreError (RuntimeError)         the store did not do what was asked
    │   ├── StoreUnavailable              it cannot be reached, is locked, or its disk is full
    │   ├── StoreClosed                   this object was closed
    │   ├── ReadOnlyStore                 it can be read but not written
    │   ├── SchemaMismatch                its tables are newer than, or foreign to, this version
    │   └── StoreCorrupt                  stored bytes contradict their own address or format
    ├── ThreadConflict (StoreError)       somebody else moved the thread's head
    ├── ThreadDeleted (StoreError)        the thread was deleted after this run began
    ├── ThreadExists (StoreError)         the target of a copy already holds checkpoints
    └── DataError (ValueError)            a value cannot be stored or restored
        ├── NotSerializable (TypeError)   refused when writing
        └── TypeNotLoaded                 refused when reading

The first paragraph of a class's docstring is its default message.
"""

from __future__ import annotations

from typing import ClassVar

PathPart = str | int
"""A step into a state: a ``str`` for a field or key, an ``int`` for a position."""


class CharmError(Exception):
    """Something went wrong in charm_checkpoint."""

    default: ClassVar[str] = "Something went wrong in charm_checkpoint."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__doc__:
            cls.default = " ".join(cls.__doc__.split("\n\n")[0].split())

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default)


class ConfigError(CharmError, ValueError):
    """The configuration of a store is not valid."""


class MissingExtra(ConfigError, ImportError):
    """The driver for this store is not installed."""


class MissingServer(ConfigError):
    """A program that charm_checkpoint.servers starts is not installed."""


class ServerFailed(CharmError, RuntimeError):
    """A local server did not start, or did not do what was asked."""


class StoreError(CharmError, RuntimeError):
    """The store did not do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now; nothing was written, try again."""


class StoreClosed(StoreError):
    """This store was closed; open it again with open_memory(url)."""


class ReadOnlyStore(StoreError):
    """This store can be read but not written."""


class SchemaMismatch(StoreError):
    """The store's tables are not the ones this version of charm_checkpoint knows."""


class StoreCorrupt(StoreError):
    """What the store returned contradicts its own address or format."""


class ThreadConflict(StoreError):
    """Another writer moved the thread's head since this run read it.

    ``parent`` is the checkpoint this write follows, ``head`` the one the store holds.
    """

    def __init__(self, message: str | None = None, *, parent: str | None = None, head: str | None = None) -> None:
        super().__init__(message)
        self.parent = parent
        self.head = head


class ThreadDeleted(StoreError):
    """The thread was deleted after this run began, so its writes are refused."""


class ThreadExists(StoreError):
    """The target thread already holds checkpoints; delete it first or choose another id."""


class DataError(CharmError, ValueError):
    """A value cannot be stored or restored.

    ``path`` leads to the value, outermost step first; `at` puts steps in front of it.
    """

    def __init__(self, message: str | None = None, *, path: tuple[PathPart, ...] = ()) -> None:
        super().__init__(message)
        self.reason = str(self.args[0])
        self.path = path

    def at(self, *steps: PathPart) -> DataError:
        """Return this same error with ``steps`` put in front of its path."""
        self.path = (*steps, *self.path)
        return self

    def __str__(self) -> str:
        return f"{format_path(self.path)}: {self.reason}" if self.path else self.reason


class NotSerializable(DataError, TypeError):
    """This value cannot be stored."""


class TypeNotLoaded(DataError):
    """A stored value is of a class this process has not loaded."""


def format_path(path: tuple[PathPart, ...]) -> str:
    """Write a path as code would: ``channel_values.messages[3].artifact``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text
