"""What a check or a migration found: a line for each class and field, node or channel, however many threads have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from charm_checkpoint.checking.integrity.report import IntegrityReport
from charm_checkpoint.plain import Plain

EXAMPLES = 3
"""Threads that are named of those that have something."""

PROBLEMS = frozenset(
    {"unknown", "lost", "changed", "damaged", "busy", "node", "task", "subgraph", "reducer", "channel", "state"}
)
"""Kinds after which a node gets something else than was stored, or an error, or is not run. The others are notes."""
MESSAGES = 10
"""Messages that are told apart of one kind, subject and field."""


@dataclass(frozen=True)
class CheckFinding(Plain):
    """One thing that was found, in one thread or in many.

    ``kind`` is one of

    - of classes, as `charm_checkpoint.values.serde.telling.Finding` has them: ``unknown`` (an object cannot be
      restored), ``lost`` (a stored field is dropped), ``changed`` (it is read as another thing than was stored), and
      the notes ``kept`` (a field that the class does not have is kept beside the object), ``missing`` (a field is not
      stored and takes its default), ``renamed``, ``alias``;
    - of the graph: ``node``, ``task`` and ``subgraph`` (a thread waits at one that is gone), ``reducer`` and
      ``channel`` (cannot take what is stored), ``state`` (the graph cannot be put into the stored state), ``unread``
      (a channel or subgraph that the graph has not holds something: it is kept, and nobody reads it);
    - ``damaged``: it cannot be read at all;
    - ``busy``: it was changed each time that a migration was to store it anew.

    ``subject`` is the class, node or channel, ``field`` the field of a class. ``threads`` counts the threads that
    have it, of which ``examples`` names a few.
    """

    kind: str
    subject: str
    field: str | None
    message: str
    threads: int = 1
    examples: tuple[str, ...] = ()

    @property
    def is_problem(self) -> bool:
        """Tell whether a program would lose something, fail or stop for it."""
        return self.kind in PROBLEMS

    @property
    def key(self) -> str:
        """Return what names it in `CheckReport.without`: ``kind:subject`` or ``kind:subject.field``."""
        return f"{self.kind}:{self.subject}" if self.field is None else f"{self.kind}:{self.subject}.{self.field}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain data, for JSON."""
        return {**Plain.as_dict(self), "problem": self.is_problem}


@dataclass(frozen=True)
class AliasUse(Plain):
    """A former name of a class that `register_type` was told, and how many of the threads still hold it."""

    alias: str
    cls: str
    threads: int


@dataclass
class CheckReport(Plain):
    """What a check found.

    ``threads`` and ``checkpoints`` count what was read, ``waiting`` the threads among them that wait for an answer
    or have nodes to run. ``is_sample`` tells that there are more, ``is_history`` that older checkpoints were read,
    too. ``aliases`` are all that the program registered. ``integrity`` is what a look at all that is stored found, None
    if there was none; with ``is_integrity_only`` there was no other.
    """

    threads: int = 0
    checkpoints: int = 0
    waiting: int = 0
    is_sample: bool = False
    is_history: bool = False
    findings: list[CheckFinding] = field(default_factory=list)
    aliases: list[AliasUse] = field(default_factory=list)
    integrity: IntegrityReport | None = None
    is_integrity_only: bool = False

    @property
    def problems(self) -> list[CheckFinding]:
        """Return the findings for which a program would lose something, fail or stop."""
        return [found for found in self.findings if found.is_problem]

    @property
    def ok(self) -> bool:
        """Tell whether there are no problems, and nothing that is damaged."""
        return not self.problems and (self.integrity is None or self.integrity.ok)

    def without(self, *accepted: str) -> CheckReport:
        """Return the report without what is accepted: patterns such as ``node:ask``, ``lost:app:Order.*``, ``kept``."""
        patterns = [pattern if ":" in pattern else f"{pattern}:*" for pattern in accepted]
        left = [found for found in self.findings if not any(fnmatchcase(found.key, pattern) for pattern in patterns)]
        return replace(self, findings=left)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        return {**Plain.as_dict(self), "ok": self.ok}

    def lines(self) -> Iterator[str]:
        """Yield the report as lines for people to read."""
        if not self.is_integrity_only:
            yield from self._lines()
        if self.integrity is not None:
            yield from self.integrity.lines()

    def _lines(self) -> Iterator[str]:
        some = "some of the threads: " if self.is_sample else ""
        yield (
            f"{some}{_count(self.threads, 'thread')}, {self.waiting} of them not done, "
            f"{_count(self.checkpoints, 'checkpoint')} read"
        )
        for found in self.findings:
            yield _line(found)
        yield from _alias_lines(self.aliases, self.is_history and not self.is_sample, "still")
        yield f"{_count(len(self.problems), 'problem')}" if self.problems else "no problems"


@dataclass
class MigrateReport(Plain):
    """What a migration did, or with ``dry_run`` would do.

    ``rewritten`` counts the checkpoints that are stored anew, ``current`` those that were up to date. ``left`` is what
    was in the way of others: they would lose something, cannot be read, or were changed meanwhile. ``unknown`` is what
    stays as it is stored inside of those that were rewritten or up to date: objects that this program cannot restore.
    ``aliases`` are all that the program registered, with the threads whose heads still need them.
    """

    dry_run: bool = False
    threads: int = 0
    rewritten: int = 0
    current: int = 0
    left: list[CheckFinding] = field(default_factory=list)
    unknown: list[CheckFinding] = field(default_factory=list)
    aliases: list[AliasUse] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether every checkpoint is up to date now, or would be."""
        return not self.left

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        return {**Plain.as_dict(self), "ok": self.ok}

    def lines(self) -> Iterator[str]:
        """Yield the report as lines for people to read."""
        done = "would be rewritten" if self.dry_run else "rewritten"
        yield (
            f"{_count(self.threads, 'thread')}: {_count(self.rewritten, 'checkpoint')} {done}, "
            f"{self.current} up to date"
        )
        for found in self.left:
            yield f"left as it is  {_line(found)}"
        yield from map(_line, self.unknown)
        yield from _alias_lines(self.aliases, False, "until then" if self.dry_run else "still")


def _alias_lines(aliases: Iterable[AliasUse], is_whole: bool, until: str) -> Iterator[str]:
    for used in aliases:
        said = f"needed {until}, by {_count(used.threads, 'thread')}" if used.threads else "needed no more"
        if not (used.threads or is_whole):
            said = "not needed by these; whether others do, a look at all threads with their history tells"
        yield f"alias    {used.alias}: {said} (for {used.cls})"


def _line(found: CheckFinding) -> str:
    where = f"{found.subject}.{found.field}" if found.field else found.subject
    named = ", ".join(found.examples)
    more = ", …" if found.threads > len(found.examples) else ""
    mark = "" if found.is_problem else " (note)"
    return f"{found.kind:<8} {where}: {found.message}{mark} [{_count(found.threads, 'thread')}: {named}{more}]"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class Told(NamedTuple):
    """One thing that one checkpoint told; see `CheckFinding`."""

    kind: str
    subject: str
    field: str | None
    message: str


class Tally:
    """Counts in how many threads each thing was found: what is kept grows with the things, not with the threads."""

    def __init__(self) -> None:
        self._threads: dict[Told, int] = {}
        self._examples: dict[Told, list[str]] = {}
        self._alike: dict[tuple[str, str, str | None], list[Told]] = {}

    def add(self, thread: str, told: Iterable[Told]) -> None:
        """Count what the checkpoints of one thread told, each thing once."""
        for item in dict.fromkeys(map(self._known, told)):
            self._threads[item] = self._threads.get(item, 0) + 1
            examples = self._examples.setdefault(item, [])
            if len(examples) < EXAMPLES:
                examples.append(thread)

    def _known(self, item: Told) -> Told:
        """Return the thing as which one is counted: messages may quote values, of which there is no end."""
        alike = self._alike.setdefault(item[:3], [])
        if item in alike:
            return item
        if len(alike) >= MESSAGES:
            return alike[-1]
        alike.append(item)
        return item

    def findings(self) -> list[CheckFinding]:
        """Return what was found, problems first."""
        found = [CheckFinding(*item, count, tuple(self._examples[item])) for item, count in self._threads.items()]
        return sorted(found, key=lambda item: (not item.is_problem, item.kind, item.subject, item.field or ""))
