"""What is known of a folder's files: which memory each holds, and of which version of it the index is."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from langgraph.store.base import PutOp

from charm_checkpoint.errors import DataError
from charm_checkpoint.items import clock
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term.markdown import format
from charm_checkpoint.long_term.markdown.file_names import file_name
from charm_checkpoint.long_term.markdown.folder import Found, MarkdownFolder, Signature
from charm_checkpoint.long_term.markdown.format import MemoryFile
from charm_checkpoint.long_term.markdown.mapping import NOTED, Rules, value_from

log = logging.getLogger("charm_checkpoint")

Space = tuple[str, ...]
AT_ONCE = 200
"""How many memories are put into the index at once."""
AWAY_DAYS = 30
"""For how long what was noted of a memory is kept whose file is gone: a checkout of another branch brings it back."""


class FileProblem(NamedTuple):
    """A file of a scope that holds no memory, or not quite what it says: its name, and what is wrong with it."""

    scope: str
    name: str
    reason: str


@dataclass(frozen=True)
class Known:
    """What is known of a version of a file. ``title`` is None for one that holds no memory, ``said`` tells why."""

    title: str | None
    sha: str
    signature: Signature
    settled: bool
    status: str = "active"
    hook: str = ""
    said: str | None = None
    reviews: bool = False
    """Whether what others put there was to be approved when it was put into the index."""

    def is_of(self, signature: Signature) -> bool:
        """Tell whether a file is surely in this version still."""
        return self.settled and self.signature == signature

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**vars(self), "signature": list(self.signature)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Known:
        """Undo `to_dict`."""
        return cls(**{**given, "signature": Signature(*given["signature"])})


def known_of(file: MemoryFile | None, sha: str, signature: Signature, rules: Rules, said: str | None = None) -> Known:
    """Return what is to be known of a file that was just read or written."""
    settled = signature.is_settled()
    if file is None:
        return Known(None, sha, signature, settled, said=said, reviews=rules.reviews)
    hook = next((line.strip() for line in file.body.splitlines() if line.strip()), file.kind)
    return Known(file.title, sha, signature, settled, file.status, hook[:120], file.unusual(), rules.reviews)


class Spaces(NamedTuple):
    """Where the items are: the memories, what is known of files, and what was noted of memories that are gone."""

    notes: Space
    files: Space
    away: Space


class Index:
    """Keeps the items of a scope in step with its files.

    Its methods block. All but `problems` and `is_current` are for who holds the folder's lock.
    """

    def __init__(self, scope: str, folder: MarkdownFolder, store: CharmStore, spaces: Spaces, rules: Rules) -> None:
        self._scope = scope
        self._folder = folder
        self._store = store
        self._spaces = spaces
        self._rules = rules
        self._known: dict[str, Known] | None = None
        self._wrong: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------------------ looking

    def is_current(self) -> bool:
        """Tell whether the index is in step with the files; nothing is written."""
        found = self._folder.look()
        if not self._folder.state.is_dir():
            self._known = None  # somebody has removed it, to have it made anew
        if self._known is None:
            if not found.files and not self._folder.state.is_dir():
                self._wrong = found.wrong
                return True  # there is nothing yet
            return False
        if found.files.keys() != self._known.keys() or found.wrong != self._wrong:
            return False
        return all(known.is_of(found.files[name]) or self._is_same(name, known) for name, known in self._known.items())

    def _is_same(self, name: str, known: Known) -> bool:
        """Tell whether a file that may have changed has not, and note that."""
        try:
            data, signature = self._folder.read(name, format.MAX_BYTES)
        except (DataError, FileNotFoundError):
            return False
        if sha_of(data) != known.sha:
            return False
        if self._known is not None:
            self._known[name] = replace(known, signature=signature, settled=signature.is_settled())
        return True

    def problems(self) -> list[FileProblem]:
        """Return what is wrong with files, by their names."""
        said = {name: known.said for name, known in (self._known or {}).items() if known.said}
        said.update((name, self._twin_of(title)) for title, names in self._twins() for name in names)
        said.update(self._wrong)
        return [FileProblem(self._scope, name, str(said[name])) for name in sorted(said)]

    def name_of(self, title: str) -> str | None:
        """Return the name of the file that holds a title's memory, None if there is none."""
        return owners(self._known or {}).get(title)

    def names_of(self, title: str) -> list[str]:
        """Return the names of all files with a title, also of those that do not count."""
        return [name for name, each in (self._known or {}).items() if each.title == title]

    def new_name(self, title: str) -> str:
        """Return a name for a title's file that no other has, also where capital letters do not count."""
        taken = {name.lower() for name in (*(self._known or {}), *self._wrong)}
        return file_name(title, lambda name: name in taken)

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Yield title, file and hook of what is active, by the names of files."""
        known = self._known or {}
        for title, name in sorted(owners(known).items(), key=lambda pair: pair[1]):
            if known[name].status == "active":
                yield title, name, known[name].hook

    def _twins(self) -> Iterator[tuple[str, list[str]]]:
        known = self._known or {}
        for title, owner in owners(known).items():
            names = [name for name, each in known.items() if each.title == title and name != owner]
            if names:
                yield title, names

    def _twin_of(self, title: str) -> str:
        return f"its title is that of {self.name_of(title)}, which counts; give it another one, or remove it"

    # --------------------------------------------------------------------------------------------------- taking in

    def take_in(self) -> bool:
        """Bring the index in step with the files; tell whether there was anything to do."""
        before = dict(self._load())
        found = self._folder.look()
        self._tell(found)
        after = {name: each for name, each in before.items() if name in found.files}
        read: dict[str, MemoryFile] = {}
        for name, signature in found.files.items():
            if name not in after or not after[name].is_of(signature):
                known, file = self._read(name, after.get(name))
                if known is None:
                    after.pop(name, None)
                    continue
                after[name] = known
                if file is not None:
                    read[name] = file
        self._wrong = found.wrong
        if after == before:
            return False
        self._put(before, after, read)
        self._known = after
        return True

    def _load(self) -> dict[str, Known]:
        if self._known is None:
            items = self._store.items(self._spaces.files)
            self._known = {item.key: self._trusted(Known.from_dict(item.value)) for item in items}
        return self._known

    def _trusted(self, known: Known) -> Known:
        """Return what is known of a file, as if it had changed if it was indexed under another rule of trust."""
        return known if known.reviews == self._rules.reviews else replace(known, sha="", settled=False)

    def _tell(self, found: Found) -> None:
        for name, said in found.wrong.items():
            if self._wrong.get(name) != said:
                log.warning("%s is left out: %s", self._folder.path / name, said)

    def _read(self, name: str, known: Known | None) -> tuple[Known | None, MemoryFile | None]:
        """Return what a file says; what is known of it stays if it says the same."""
        try:
            data, signature = self._folder.read(name, format.MAX_BYTES)
        except FileNotFoundError:
            return None, None
        except DataError as error:
            return self._refused(name, known, "", self._folder.look().files.get(name), str(error)), None
        sha = sha_of(data)
        if known is not None and known.sha == sha:
            return replace(known, signature=signature, settled=signature.is_settled()), None
        try:
            file = format.read(data)
        except DataError as error:
            return self._refused(name, known, sha, signature, str(error)), None
        return known_of(file, sha, signature, self._rules), file

    def _refused(
        self, name: str, known: Known | None, sha: str, signature: Signature | None, said: str
    ) -> Known | None:
        if signature is None:  # it was removed this moment
            return None
        if known is None or known.said != said:
            log.warning("%s holds no memory: %s", self._folder.path / name, said)
        return known_of(None, sha, signature, self._rules, said)

    def _put(self, before: Mapping[str, Known], after: Mapping[str, Known], read: Mapping[str, MemoryFile]) -> None:
        """Put into the index what the files say that is new, and take out what none says any more."""
        was, now = owners(before), owners(after)
        gone = [title for title in was if title not in now]
        news = [
            (title, name)
            for title, name in now.items()
            if was.get(title) != name or before[name].sha != after[name].sha
        ]
        for some in _pages(gone):
            self._take_away(some)
        for page in _pages(news):
            self._bring(page, after, read)
        changed = [PutOp(self._spaces.files, name, None) for name in before if name not in after]
        changed += [
            PutOp(self._spaces.files, name, known.to_dict(), False)
            for name, known in after.items()
            if before.get(name) != known
        ]
        for ops in _pages(changed):  # last: who is killed before has it all to do again
            self._store.batch(ops)

    def _take_away(self, titles: list[str]) -> None:
        ops = []
        for item in self._store.get_many([(self._spaces.notes, title) for title in titles]):
            if item is not None:
                noted = {name: item.value.get(name) for name in NOTED}
                ops.append(PutOp(self._spaces.away, item.key, noted, False, AWAY_DAYS * 24 * 60))
                ops.append(PutOp(self._spaces.notes, item.key, None))
        self._store.batch(ops)

    def _bring(self, page: list[tuple[str, str]], after: Mapping[str, Known], read: Mapping[str, MemoryFile]) -> None:
        held = self._store.get_many([(self._spaces.notes, title) for title, _ in page])
        away = self._store.get_many([(self._spaces.away, title) for title, _ in page], refresh_ttl=False)
        ops = []
        for (title, name), item, noted in zip(page, held, away, strict=True):
            file = read.get(name) or format.read(self._folder.read(name, format.MAX_BYTES)[0])
            old = item.value if item is not None else noted.value if noted is not None else None
            value = value_from(file, self._rules, after[name].signature.changed // 1000, clock.now(), old)
            if item is None or item.value != value:
                ops.append(PutOp(self._spaces.notes, title, value))
            if noted is not None:
                ops.append(PutOp(self._spaces.away, title, None))
        self._store.batch(ops)

    # ------------------------------------------------------------------------------------------------------ writing

    def put(self, title: str, value: Mapping[str, Any] | None, files: Mapping[str, Known | None]) -> None:
        """Put a memory whose files were written, None for one whose files were removed; note their versions.

        These are noted with the memory, or after it: who is killed in between has it to do again.
        """
        known = {name: each for name, each in {**self._load(), **files}.items() if each is not None}
        ops = [PutOp(self._spaces.notes, title, None if value is None else dict(value))]
        ops += [
            PutOp(self._spaces.files, name, None if each is None else each.to_dict(), False)
            for name, each in files.items()
        ]
        self._store.batch(ops)
        self._known = known


def owners(known: Mapping[str, Known]) -> dict[str, str]:
    """Return for each title the file that counts: that with its own name, else the first by name."""
    found: dict[str, str] = {}
    for name in sorted(known):
        title = known[name].title
        if title is not None and (title not in found or name == file_name(title, lambda _: False)):
            found[title] = name
    return found


def sha_of(data: bytes) -> str:
    """Return what tells a file's contents from others."""
    return hashlib.sha256(data).hexdigest()


def _pages(things: Iterable[Any]) -> Iterator[list[Any]]:
    every = list(things)
    for start in range(0, len(every), AT_ONCE):
        yield every[start : start + AT_ONCE]
