"""Every error this package raises, in one tree.

::

    CharmError
    ├── ConfigError (ValueError)          a URL, option or config key is wrong
    │   ├── MissingExtra (ImportError)    the driver for this store is not installed
    │   └── MissingServer                 a program that charm_checkpoint.servers starts is not installed
    ├── InvalidFilter (ValueError)        a filter says what no filter can
    ├── NotThere (LookupError)            what was asked for by its name is not there
    │   ├── ThreadNotFound                the store holds no thread of that name
    │   ├── CheckpointNotFound            the thread has no such checkpoint
    │   └── PathNotFound                  nothing stands at that path of the state
    ├── ServerFailed (RuntimeError)       a local server did not start, or not do what was asked
    ├── StoreError (RuntimeError)         the store did not do what was asked
    │   ├── StoreUnavailable              it cannot be reached, is locked, or its disk is full
    │   │   └── LoginRefused              user, password, key or token are not right
    │   ├── StoreClosed                   this object was closed
    │   ├── ReadOnlyStore                 it can be read but not written
    │   ├── SchemaMismatch                its tables are newer than, or foreign to, this version
    │   ├── StoreCorrupt                  stored bytes contradict their own address or format
    │   └── NewerFormat                   both of these: a newer version stored it
    ├── ThreadConflict (StoreError)       somebody else moved the thread's head
    ├── ThreadDeleted (StoreError)        the thread was deleted after this run began
    ├── ThreadExists (StoreError)         the target of a copy already holds checkpoints
    ├── ItemConflict (StoreError)         an item is not at the revision that was expected
    ├── MemoryRefused (ValueError)        a memory is not to be written like that
    │   ├── ProtectedMemory               a person wrote it, and a program would replace it
    │   ├── ForgottenMemory               it was forgotten, and a program would write it again
    │   ├── SuspiciousMemory              it looks like an attack
    │   └── MemoryExists                  there is one with that title already
    ├── AmbiguousMemory (LookupError)     several scopes have a memory with that title
    ├── MemoryNotFound (LookupError)      no scope has one
    └── DataError (ValueError)            a value cannot be stored or restored
        ├── NotSerializable (TypeError)   refused when writing
        └── TypeNotLoaded                 refused when reading

The first paragraph of a class's docstring is its default message.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from charm_checkpoint.printable import clipped, keep_logs_printable, printable

keep_logs_printable()  # here, since whatever logs imports the errors

PathPart = str | int
"""A step into a state: a ``str`` for a field or key, an ``int`` for a position."""

_PLAIN_ID = re.compile(r"[A-Za-z0-9_.:\-]{1,200}")


class CharmError(Exception):
    """Something went wrong in charm_checkpoint."""

    default: ClassVar[str] = "Something went wrong in charm_checkpoint."
    lines: ClassVar[bool] = False
    """Whether the message may have more than one line: it quotes what a program of the user's own printed."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # `python -OO` leaves docstrings out: then a class's name has to do.
        words = cls.__doc__ or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).capitalize() + "."
        cls.default = " ".join(words.split("\n\n")[0].split())

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default)

    def __str__(self) -> str:
        return printable(self._said(), self.lines)

    def _said(self) -> str:
        """Return the message as it was made, whatever the names in it hold."""
        return super().__str__()


class ConfigError(CharmError, ValueError):
    """The configuration of a store is not valid."""


class MissingExtra(ConfigError, ImportError):
    """The driver for this store is not installed."""


class MissingServer(ConfigError):
    """A program that charm_checkpoint.servers starts is not installed."""

    lines = True


class InvalidFilter(CharmError, ValueError):
    """A filter is not one; see charm_checkpoint.saver.filters for what it may say."""


class NotThere(CharmError, LookupError):
    """What was asked for by its name is not there."""


class ThreadNotFound(NotThere):
    """The store holds no thread of that name."""


class CheckpointNotFound(NotThere):
    """The thread has no such checkpoint."""


class PathNotFound(NotThere):
    """Nothing stands at that path of the state."""


class ServerFailed(CharmError, RuntimeError):
    """A local server did not start, or did not do what was asked."""

    lines = True


class StoreError(CharmError, RuntimeError):
    """The store did not do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now; nothing was written, try again."""


class LoginRefused(StoreUnavailable):
    """The server refused the login; check user, password, key or token."""

    def hint(self, text: str) -> None:
        """Add what the login was made from, once."""
        if text and text not in str(self):
            self.args = (f"{self}; {text}",)


class StoreClosed(StoreError):
    """This store was closed; open it again with open_memory(url)."""


class ReadOnlyStore(StoreError):
    """This store can be read but not written."""

    def hint(self, text: str) -> None:
        """Add why something was to be written, once."""
        if text not in str(self):
            self.args = (f"{self}; {text}",)


class SchemaMismatch(StoreError):
    """The store's tables are not the ones this version of charm_checkpoint knows."""


class StoreCorrupt(StoreError):
    """What the store returned contradicts its own address or format.

    ``place`` says of which thread and checkpoint, where that is known.
    """

    place: str | None = None

    def _said(self) -> str:
        said = clipped(super()._said())
        return said if self.place is None else f"{self.place}: {said}"


class NewerFormat(StoreCorrupt, SchemaMismatch):
    """A newer version of charm_checkpoint stored this; upgrade it here: pip install -U charm-checkpoint."""

    @classmethod
    def of(cls, what: str, form: object) -> NewerFormat:
        """Return the error for what is in a form that is not known here; ``what`` says of it what ``form`` is."""
        return cls(
            f"{what} {form!r}, which no version up to this one writes: a newer charm_checkpoint stored it (upgrade it "
            "here: pip install -U charm-checkpoint), or it is damaged."
        )


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


class ItemConflict(StoreError):
    """An item is not at the revision that was expected; nothing was written."""


class MemoryRefused(CharmError, ValueError):
    """A memory is not to be written like that; nothing was."""


class ProtectedMemory(MemoryRefused):
    """A person wrote this memory, so what writes by itself may not replace it."""


class ForgottenMemory(MemoryRefused):
    """This memory was forgotten, so what writes by itself may not write it again."""


class SuspiciousMemory(MemoryRefused):
    """This memory looks like an attack on the model that is to read it."""


class MemoryExists(MemoryRefused):
    """There is a memory with that title already."""


class AmbiguousMemory(CharmError, LookupError):
    """Several scopes have a memory with that title; name one of them.

    ``entries`` are these memories.
    """

    def __init__(self, message: str | None = None, *, entries: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.entries = entries


class MemoryNotFound(CharmError, LookupError):
    """There is no memory with that title."""


class DataError(CharmError, ValueError):
    """A value cannot be stored or restored.

    ``path`` leads to the value, outermost step first; `at` puts steps in front of it. ``place`` says
    of which thread and checkpoint, where it was read from a store.
    """

    place: str | None = None

    def __init__(self, message: str | None = None, *, path: tuple[PathPart, ...] = ()) -> None:
        super().__init__(message)
        self.reason = str(self.args[0])
        self.path = path

    def at(self, *steps: PathPart) -> DataError:
        """Return this same error with ``steps`` put in front of its path."""
        self.path = (*steps, *self.path)
        return self

    def _said(self) -> str:
        reason = clipped(self.reason)
        said = f"{clipped(format_path(self.path))}: {reason}" if self.path else reason
        return said if self.place is None else f"{said} ({self.place})"


class NotSerializable(DataError, TypeError):
    """This value cannot be stored."""


class TypeNotLoaded(DataError):
    """A stored value is of a class this process has not loaded."""


HOSTS = (CharmError, MemoryError, Warning)
"""What passes where bytes become values: errors of this package, and what a host itself is short of or made errors."""


def corrupt(what: str, error: Exception | None = None) -> StoreCorrupt:
    """Return what is raised for stored bytes that are not what they should be, of which reading them made ``error``.

    Whatever reads what was stored raises by this, in the one way::

        try:
            ...  # bytes become values
        except HOSTS:
            raise
        except Exception as error:
            raise corrupt("A stored value is damaged", error) from error
    """
    if error is None:
        return StoreCorrupt(f"{what}.")
    said = ascii(str(error)[:_SAID])[1:-1]  # it may quote what is stored
    return StoreCorrupt(f"{what}: {type(error).__name__}{': ' * bool(said)}{said}")


_SAID = 200
"""Characters of an error about what is stored that are shown."""


class placing:  # noqa: N801 (named as `contextlib.suppress` is)
    """Have errors about what is damaged, or of a class that is not loaded, name their place: the innermost told."""

    __slots__ = ("_place",)

    def __init__(self, thread: str | None, ns: str = "", checkpoint: str | None = None) -> None:
        self._place = (thread, ns, checkpoint)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (StoreCorrupt, TypeNotLoaded)):
            name_place(error, *self._place)


def name_place(
    error: StoreCorrupt | TypeNotLoaded, thread: str | None, ns: str = "", checkpoint: str | None = None
) -> None:
    """Have an error name its place, if it names none: what `placing` does, where every call counts."""
    if error.place is None and thread is not None:
        error.place = place_of(thread, ns, checkpoint)


def place_of(thread: str | None, ns: str = "", checkpoint: str | None = None) -> str:
    """Write down a place, as in ``Thread '42', namespace 'child', checkpoint 1f0...``."""
    parts = [f"namespace {ns!r}" if ns else "", f"checkpoint {id_text(checkpoint)}" if checkpoint else ""]
    return ", ".join([f"Thread {thread!r}", *filter(None, parts)])


def id_text(id: str | None) -> str:
    """Write down an id: as it is if it looks like one, in quotes if it could be taken for words of the sentence."""
    return id if id and _PLAIN_ID.fullmatch(id) else repr(id)


class Later:
    """Keeps errors about what is wrong with one thread until the rest is done; `tell` then raises the first."""

    def __init__(self) -> None:
        self.errors: list[CharmError] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, (StoreCorrupt, SchemaMismatch, ThreadConflict, DataError)):
            self.errors.append(error)
            return True
        return False

    def tell(self) -> None:
        """Raise what was kept, if anything was."""
        for error in self.errors:
            raise error


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
