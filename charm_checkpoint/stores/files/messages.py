"""Messages where Charm's own local provider keeps them, in its format, so that either reads the other's.

A thread's messages are a JSON list in ``memory/<thread>.json``. With ``shared_messages_file``, which is what
``CHARM_MEMORY_FILE`` means in the SDK, one file holds one list, which is every thread's.
Unlike Charm's, a list is put in the old one's place in one step, and an id is never a path: what
is not a plain name, or differs from the name of another file in case only, goes to a file with a
hash in its name. The rules are those of ``charm.core.storage.local`` of the SDK (charmos 0.5.2).
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from charm_checkpoint.errors import NotSerializable, StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.regular_files import read_regular, refuse_other
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.folder import FolderLock, FolderWatch, raise_if_lost
from charm_checkpoint.stores.shared.names import bytes_text, text_bytes

log = logging.getLogger("charm_checkpoint")

Messages = list[dict[str, Any]]

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=-]{0,99}")
"""Ids that are file names everywhere."""
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices, with any ending."""
_UNSAFE = re.compile(r"[/\\:~\x00-\x1f]")
"""What no file that the SDK made for an id could have in its name; the ~ is ours."""
_NAME_BYTES = 255


JSON, ID = ".json", ".id"
"""How the names of files end: of messages, and of the thread's id, where the name of its messages does not tell it."""
_ESCAPED = re.compile(r"~[0-9a-f]{32}$")


class MessageFile(NamedTuple):
    """A file of messages: its thread, None if nothing tells that, and when it changed, in nanoseconds since 1970."""

    thread: str | None
    path: Path
    changed: int


class MessageFiles:
    """The plans of message history over files; ``single`` is the one file for all threads, if there is one."""

    def __init__(self, folder: Path, single: str, disk: Disk, timeout: float, above: FolderWatch) -> None:
        self._folder = folder
        self._single = _resolved(single) if single else None
        self._disk = disk
        self._timeout = timeout
        self.watch = FolderWatch(self._single.parent) if self._single else FolderWatch(folder, above)
        self._chunk_heads = self._told_of_delete = self._is_swept = False

    # ---------------------------------------------------------------- plans

    def load(self, thread: str) -> Plan[Messages]:
        """Return a thread's messages, oldest first."""
        messages: Messages = yield partial(self._load, thread)
        return messages

    def save(self, thread: str, messages: Messages) -> Plan[bool]:
        """Replace a thread's messages, all at once."""
        yield partial(self._change, thread, lambda _: messages)
        return False

    def append(self, thread: str, messages: Messages) -> Plan[bool]:
        """Add messages at the end; writers take turns by the folder's lock, so all get theirs in."""
        if messages:
            yield partial(self._change, thread, lambda old: old() + messages)
        return False

    def fold(self, thread: str) -> Plan[None]:
        """Do nothing: a file is one list always."""
        yield from ()

    def delete(self, thread: str) -> Plan[None]:
        """Delete a thread's messages."""
        yield partial(self._delete, thread)

    def forget(self, thread: str) -> Plan[None]:
        """Delete a thread's messages along with the thread, but not a list that is every thread's."""
        yield partial(self.erase, thread)

    def erase(self, thread: str) -> None:
        """Do what `forget` does, at once."""
        if self._single is None:
            self._delete(thread)
        elif not self._told_of_delete and self._single.exists():
            self._told_of_delete = True
            log.warning(
                "Thread %r was deleted, but %s is every thread's list of messages and stays, as after each such call; "
                "see delete_messages.",
                thread,
                self._single,
            )

    # ---------------------------------------------------------------- files

    def _tell(self) -> None:
        """Say, once, what one file for all threads means."""
        if self._single is not None and not self._chunk_heads:
            self._chunk_heads = True
            log.warning(
                "shared_messages_file (CHARM_MEMORY_FILE): %s is one list of messages for every thread, as in Charm. "
                "Whatever thread is named, that list is read, added to, replaced, deleted. "
                "Leave it out to keep threads apart.",
                self._single,
            )

    def _load(self, thread: str) -> Messages:
        self._look()
        self._tell()
        path = self._found(thread)
        return [] if path is None else _read(path)

    def _change(self, thread: str, change: Callable[[Callable[[], Messages]], Messages]) -> None:
        self._look()
        self._tell()
        folder = self._single.parent if self._single else self._folder
        self._disk.make_folder(folder)
        self.watch.note()
        with FolderLock(folder, self._timeout) as lock:
            path = self._found(thread) or self._new(thread)
            data = _encode(change(lambda: _read(path)))
            # What was read by its name is the locked folder's: of one that was renamed before, the list would be empty,
            # and be written over the one that is there.
            lock.confirm()
            self._sweep(folder)
            self._sign(lock, thread, path)
            self._put(lock, path, data)

    def _put(self, lock: FolderLock, path: Path, data: bytes) -> None:
        def fill(file: BinaryIO) -> None:
            file.write(data)

        refuse_other(path)
        self._disk.replace(lock, self._disk.write(lock, self._new_start(), path, fill), path)

    def _new_start(self) -> str:
        """Return what the names of files begin with that are to take another's place."""
        return f".{self._single.name}.new-" if self._single else ".new-"

    def _sweep(self, folder: Path) -> None:
        """Remove, once, what killed processes left of new files."""
        if not self._is_swept:
            self._is_swept = True
            self._disk.sweep(folder, self._new_start(), os.listdir(folder))

    def _sign(self, lock: FolderLock, thread: str, path: Path) -> None:
        """Put the id of a thread beside its file, if the file's name does not tell it."""
        signature = path.with_suffix(ID)
        if self._single is not None or path.name != _escaped(thread) or signature.exists():
            return
        self._put(lock, signature, text_bytes(thread))

    def _delete(self, thread: str) -> None:
        self._look()
        self._tell()
        path = self._found(thread)
        if path is not None:
            self.remove(path, signed=path.name == _escaped(thread))

    def remove(self, path: Path, signed: bool = True) -> int:
        """Delete a file of messages, ``signed``: and the id beside it; return its size."""
        with FolderLock(path.parent, self._timeout) as lock:
            found = _stat(path)
            self._disk.remove(path)
            if signed and path.with_suffix(ID).exists():
                self._disk.remove(path.with_suffix(ID))
            lock.confirm()
        return 0 if found is None else found.st_size

    def _look(self) -> None:
        raise_if_lost(self.watch)

    def listed(self) -> Sequence[MessageFile]:
        """Return the files that hold messages, with their threads; one file for all tells nothing of any."""
        if self._single is not None:
            return []
        self._look()
        found = [(path, _stat(path)) for path in self._folder.glob(f"*{JSON}")]
        return [
            MessageFile(self._thread_of(path), path, stat.st_mtime_ns)
            for path, stat in found
            if stat is not None and stat.st_size
        ]

    def changed_at(self, thread: str) -> int:
        """Return when a thread's own file changed, in nanoseconds since 1970; 0 if it has none."""
        path = None if self._single is not None else self._found(thread)
        found = None if path is None else _stat(path)
        return 0 if found is None else found.st_mtime_ns

    def _thread_of(self, path: Path) -> str | None:
        if not _ESCAPED.search(path.stem):
            return os.fsencode(path.stem).decode("utf-8", "surrogateescape")
        try:
            thread = bytes_text(read_regular(path.with_suffix(ID)))
        except (OSError, StoreCorrupt):
            return None
        return thread if _escaped(thread) == path.name else None

    def sizes(self, thread: str | None) -> Mapping[Path, int]:
        """Return the sizes of a thread's file, or of all."""
        if self._single is None and thread is None:
            paths = sorted(self._folder.glob(f"*{JSON}"))
        else:
            found = self._found(thread or "")
            paths = [] if found is None else [found]
        return {path: path.lstat().st_size for path in paths}

    # ---------------------------------------------------------------- names

    def paths(self, thread: str) -> Sequence[Path]:
        """Return the files that may be a thread's: ours, and the SDK's if it could have made one."""
        if self._single is not None:
            return [self._single]
        names = [_escaped(thread), *([f"{thread}{JSON}"] if _may_be_a_file(thread) else [])]
        return [self._folder / name for name in names]

    def _found(self, thread: str) -> Path | None:
        """Return the file of a thread's messages, None if it has none."""
        return next((path for path in self.paths(thread) if os.path.lexists(path) and self._is_so_named(path)), None)

    def _new(self, thread: str) -> Path:
        """Return the file for a thread that has none: named as the SDK would where no other is alike."""
        plain = f"{thread}{JSON}"
        if self._single is not None or not _is_plain(thread):
            return self.paths(thread)[0]
        alike = plain.casefold() in map(str.casefold, os.listdir(self._folder))
        return self.paths(thread)[0] if alike else self._folder / plain

    def _is_so_named(self, path: Path) -> bool:
        """Tell whether a file that is there has exactly this name, where those that differ in case are the same."""
        return path == self._single or not self._folds_case() or path.name in os.listdir(self._folder)

    def _folds_case(self) -> bool:
        """Tell whether the file system takes names that differ in case for the same."""
        other = self._folder.with_name(self._folder.name.swapcase())
        return other.exists() and other.samefile(self._folder)


def _resolved(path: str) -> Path:
    """Return where a file is, by its folder's own name; a link that has the file's name is not looked behind."""
    whole = os.path.abspath(path)
    return Path(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _is_plain(thread: str) -> bool:
    return _PLAIN.fullmatch(thread) is not None and _DEVICES.fullmatch(thread) is None


def _may_be_a_file(thread: str) -> bool:
    """Tell whether the SDK could have made a file for this id, inside of its folder."""
    if _UNSAFE.search(thread) or _DEVICES.fullmatch(thread):
        return False
    try:
        return len(f"{thread}{JSON}".encode()) <= _NAME_BYTES
    except UnicodeEncodeError:
        return False


def _escaped(thread: str) -> str:
    """Return a name that no other id has, in any case or form of Unicode."""
    start = re.sub(r"[^a-z0-9_]+", "-", thread[:40].lower()).strip("-")
    return f"{start}~{blake2b(text_bytes(thread), digest_size=16).hexdigest()}{JSON}"


def _read(path: Path) -> Messages:
    try:
        data = read_regular(path)
    except FileNotFoundError:
        return []
    if not data.strip():
        return []  # a file made beforehand, for messages to come
    try:
        messages = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreCorrupt(f"{path} is not JSON: {error}. Mend it, or remove it to begin anew.") from error
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise StoreCorrupt(f"{path} is not a list of messages; it was left as it is. Is it another program's?")
    return messages


def _encode(messages: Messages) -> bytes:
    try:
        text = json.dumps(messages, indent=2)
        # Two lone surrogates side by side are one character to whoever reads JSON.
        if "\\ud" in text and json.loads(text) != messages:
            raise NotSerializable(
                "a text holds half a character (a lone surrogate) before the other half, which a JSON file cannot keep "
                "apart from the whole one",
                path=("messages",),
            )
    except RecursionError:
        raise NotSerializable("nested too deep for a JSON file", path=("messages",)) from None
    except NotSerializable:
        raise
    except ValueError as error:  # Python neither writes nor reads integers of more than 4,300 digits
        raise NotSerializable(f"a number that a JSON file cannot keep: {error}", path=("messages",)) from error
    return text.encode("ascii")
