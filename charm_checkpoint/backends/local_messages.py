"""Messages where Charm's own local provider keeps them, in its format, so that either reads the other's.

A thread's messages are a JSON list in ``memory/<thread>.json``, or in one file for all threads.
Unlike Charm's, a list is put in the old one's place in one step, and an id is never a path: what
is not a plain name, or differs from the name of another file in case only, goes to a file with a
hash in its name. The rules are those of ``charm.core.storage.local`` of the SDK (charmos 0.5.2).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from charm_checkpoint.backends.local_folder import Disk, locked
from charm_checkpoint.backends.names import text_bytes
from charm_checkpoint.errors import NotSerializable, StoreCorrupt
from charm_checkpoint.plan import Plan

Messages = list[dict[str, Any]]

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=-]{0,99}")
"""Ids that are file names everywhere."""
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices, with any ending."""
_UNSAFE = re.compile(r"[/\\:~\x00-\x1f]")
"""What no file that the SDK made for an id could have in its name; the ~ is ours."""
_NAME_BYTES = 255


class MessageFiles:
    """The plans of message history over files; ``single`` is the one file for all threads, if there is one."""

    def __init__(self, folder: Path, single: str, disk: Disk, timeout: float) -> None:
        self._folder = folder
        self._single = Path(os.path.realpath(single)) if single else None
        self._disk = disk
        self._timeout = timeout

    # ---------------------------------------------------------------- plans

    def load(self, thread: str) -> Plan[Messages]:
        """Return a thread's messages, oldest first."""
        messages: Messages = yield partial(self._load, thread)
        return messages

    def save(self, thread: str, messages: Messages) -> Plan[None]:
        """Replace a thread's messages, all at once."""
        yield partial(self._change, thread, lambda _: messages)

    def append(self, thread: str, messages: Messages) -> Plan[None]:
        """Add messages at the end; two writers at once both get theirs in."""
        if messages:
            yield partial(self._change, thread, lambda old: old() + messages)

    def delete(self, thread: str) -> Plan[None]:
        """Delete a thread's messages."""
        yield partial(self._delete, thread)

    # ---------------------------------------------------------------- files

    def _load(self, thread: str) -> Messages:
        path = self._found(thread)
        return [] if path is None else _read(path)

    def _change(self, thread: str, change: Callable[[Callable[[], Messages]], Messages]) -> None:
        folder = self._single.parent if self._single else self._folder
        self._disk.make_folder(folder)
        with locked(folder, self._timeout):
            path = self._found(thread) or self._new(thread)
            data = _encode(change(lambda: _read(path)))
            # One name for all, so that what a killed process leaves is written over by the next.
            temporary = folder / (f".{self._single.name}.new" if self._single else ".new")

            def fill(file: BinaryIO) -> None:
                file.write(data)

            self._disk.write(temporary, path, fill)
            self._disk.replace(temporary, path)

    def _delete(self, thread: str) -> None:
        path = self._found(thread)
        if path is not None:
            with locked(path.parent, self._timeout):
                self._disk.remove(path)

    def sizes(self, thread: str | None) -> Mapping[Path, int]:
        """Return the sizes of a thread's file, or of all."""
        if self._single is None and thread is None:
            paths = sorted(self._folder.glob("*.json"))
        else:
            found = self._found(thread or "")
            paths = [] if found is None else [found]
        return {path: path.stat().st_size for path in paths}

    # ---------------------------------------------------------------- names

    def paths(self, thread: str) -> Sequence[Path]:
        """Return the files that may be a thread's: ours, and the SDK's if it could have made one."""
        if self._single is not None:
            return [self._single]
        names = [_escaped(thread), *([f"{thread}.json"] if _may_be_a_file(thread) else [])]
        return [self._folder / name for name in names]

    def _found(self, thread: str) -> Path | None:
        """Return the file of a thread's messages, None if it has none."""
        return next((path for path in self.paths(thread) if path.exists() and self._is_so_named(path)), None)

    def _new(self, thread: str) -> Path:
        """Return the file for a thread that has none: named as the SDK would where no other is alike."""
        plain = f"{thread}.json"
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


def _is_plain(thread: str) -> bool:
    return _PLAIN.fullmatch(thread) is not None and _DEVICES.fullmatch(thread) is None


def _may_be_a_file(thread: str) -> bool:
    """Tell whether the SDK could have made a file for this id, inside of its folder."""
    if _UNSAFE.search(thread) or _DEVICES.fullmatch(thread):
        return False
    try:
        return len(f"{thread}.json".encode()) <= _NAME_BYTES
    except UnicodeEncodeError:
        return False


def _escaped(thread: str) -> str:
    """Return a name that no other id has, in any case or form of Unicode."""
    start = re.sub(r"[^a-z0-9_]+", "-", thread[:40].lower()).strip("-")
    return f"{start}~{blake2b(text_bytes(thread), digest_size=16).hexdigest()}.json"


def _read(path: Path) -> Messages:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    if not data.strip():
        return []  # a file made beforehand, for messages to come
    try:
        messages = json.loads(data)
    except ValueError as error:
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
    return text.encode("ascii")
