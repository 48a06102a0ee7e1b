"""What a look at everything that is stored found, thread by thread; bounded, however much is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from charm_checkpoint.errors import id_text
from charm_checkpoint.plain import Plain
from charm_checkpoint.printable import printable

Grade: TypeAlias = Literal["damage", "waste", "note"]

MOST = 1000
"""Things damaged that are told one by one."""
MOST_ALIKE = 20
"""Those of one kind in one thread that are."""
MOST_NOTES = 20
"""Notes, and waste, of one kind that are: after a prune most threads have some."""


@dataclass(frozen=True)
class IntegrityFinding(Plain):
    """One thing that is not as it should be.

    ``kind`` is one of ``chunk`` (missing, or not what its address says), ``record`` and ``writes`` (of a checkpoint),
    ``head``, ``parent``, ``messages`` (a list, or a batch behind it), ``item`` and ``entry`` (of long-term memory),
    ``counter``, ``thread`` (it cannot be listed or read as a whole), ``store`` (it says so of itself) and ``busy`` (it
    was changed each time that it was looked at).

    ``grade``: ``damage`` is something that cannot be read, or not be trusted; ``waste`` takes room and harms nobody; a
    ``note`` is as it may be. ``thread`` is None where it is no thread's, or nobody can tell whose; ``path`` leads to a
    value in the channel ``channel`` as far as can be told. ``count`` is how many checkpoints, chunks or writes have it.
    ``advice`` says what to do. ``repairable`` tells that ``repair`` mends it, ``repaired`` that it did.
    """

    kind: str
    message: str
    grade: Grade = "damage"
    thread: str | None = None
    namespace: str = ""
    checkpoint: str | None = None
    channel: str | None = None
    path: str | None = None
    count: int = 1
    advice: str = ""
    repairable: bool = False
    repaired: bool = False

    @property
    def is_problem(self) -> bool:
        """Tell whether it is damage that is still there."""
        return self.grade == "damage" and not self.repaired

    def line(self) -> str:
        """Return it as a line for people to read."""
        mark = "repaired" if self.repaired else self.grade
        place = f"{', '.join(self._place())}: " if self._place() else ""
        advice = f" {self.advice}" if self.advice and not self.repaired else ""
        return printable(f"{mark:<8} {place}{self.message}{advice}")

    def _place(self) -> list[str]:
        said = [f"thread {self.thread!r}"] if self.thread is not None else []
        said += [f"namespace {self.namespace!r}"] if self.namespace else []
        said += [f"checkpoint {id_text(self.checkpoint)}"] if self.checkpoint else []
        said += [f"channel {self.channel!r}"] if self.channel is not None else []
        return [*said, f"at {self.path}"] if self.path else said


@dataclass
class IntegrityReport(Plain):
    """What was looked at, and what was found.

    ``damaged`` are the threads with damage that is still there, as many as are named in ``findings``. ``waste_chunks``
    are reached by nothing. ``more`` counts, by kind, what is damaged and not told one by one, ``more_notes`` notes and
    waste. ``is_whole`` says that the whole store was looked at, not only some threads.
    """

    threads: int = 0
    checkpoints: int = 0
    writes: int = 0
    chunks: int = 0
    messages: int = 0
    batches: int = 0
    items: int = 0
    payload_bytes: int = 0
    waste_chunks: int = 0
    is_whole: bool = True
    findings: list[IntegrityFinding] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)
    more_notes: dict[str, int] = field(default_factory=dict)

    @property
    def problems(self) -> list[IntegrityFinding]:
        """Return the damage that is still there."""
        return [found for found in self.findings if found.is_problem]

    @property
    def damaged(self) -> list[str]:
        """Return the names of the threads that have some."""
        return list(dict.fromkeys(found.thread for found in self.problems if found.thread is not None))

    @property
    def ok(self) -> bool:
        """Tell whether there is no damage left."""
        return not self.problems and not self.more

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        return {**Plain.as_dict(self), "damaged": self.damaged, "ok": self.ok}

    def lines(self) -> Iterator[str]:
        """Yield the report as lines for people to read."""
        some = "" if self.is_whole else "some of the threads: "
        yield (
            f"{some}{_count(self.threads, 'thread')}, {_count(self.checkpoints, 'checkpoint')}, "
            f"{_count(self.writes, 'pending write')}, {_count(self.chunks, 'chunk')}, "
            f"{_count(self.messages, 'message list')}, {_count(self.items, 'item')}: {self.payload_bytes:,} bytes read"
        )
        pruned = [found for found in self.findings if found.kind == "parent" and found.grade == "note"]
        for found in self.findings:
            if found not in pruned or len(pruned) == 1:
                yield found.line()
        if len(pruned) > 1:
            count = len(pruned) + self.more_notes.get("parent", 0)
            yield f"note     {count:,} parents of checkpoints are not stored, as is so after a prune"
        for kind, count in self.more.items():
            yield f"damage   {count:,} more of the kind {kind!r}"
        for kind, count in self.more_notes.items():
            if kind == "parent" and len(pruned) > 1:
                continue
            yield f"note     {count:,} more of the kind {kind!r}"
        repairs = sum(found.repairable and not found.repaired for found in self.findings)
        if repairs:
            yield f"{repairs:,} of these can be repaired without loss: --repair, or check(repair=True)"
        yield "no damage" if self.ok else f"{len(self.problems) + sum(self.more.values()):,} damaged"


class IntegrityProgress(NamedTuple):
    """How far a look at everything has come: threads, their checkpoints, chunks, and the thread it is at.

    ``report`` is what was found so far, and grows: whoever stops the look has it.
    """

    threads: int = 0
    checkpoints: int = 0
    chunks: int = 0
    items: int = 0
    thread: str | None = None
    report: IntegrityReport | None = None


class Findings:
    """Takes findings into a report, a bounded number of them: notes never crowd out what is damaged."""

    def __init__(self, report: IntegrityReport) -> None:
        self.report = report
        self._alike: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._told = 0

    def begin(self) -> None:
        """Begin with another thread: of each kind a few more are told."""
        self._alike.clear()

    def add(self, found: IntegrityFinding) -> None:
        """Take a finding in, or count it."""
        if found.grade != "damage":
            self._notes[found.kind] += 1
            is_told, more = self._notes[found.kind] <= MOST_NOTES, self.report.more_notes
        else:
            self._alike[found.kind] += 1
            self._told += 1
            is_told, more = self._told <= MOST and self._alike[found.kind] <= MOST_ALIKE, self.report.more
        if is_told:
            self.report.findings.append(found)
        elif not found.repaired:
            more[found.kind] = more.get(found.kind, 0) + 1


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
