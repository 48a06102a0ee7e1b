"""From a turn that is worth a question to a memory, or to the reason why there is none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from charm_checkpoint.agents.asking import Asked, Usage, ask
from charm_checkpoint.agents.auto_save import SOURCE
from charm_checkpoint.agents.proposals import Answer, Proposal, answer_of
from charm_checkpoint.agents.question import NEAREST, TITLES, data_of, instructions, redacted
from charm_checkpoint.agents.turns import Event
from charm_checkpoint.errors import CharmError, DataError, ForgottenMemory, ProtectedMemory
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem
from charm_checkpoint.long_term.citations import cite
from charm_checkpoint.long_term.likeness import SAME, covered
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.plain_text import one_line
from charm_checkpoint.long_term.project import is_below
from charm_checkpoint.long_term.records import Citation, MemoryEntry, entry_of
from charm_checkpoint.long_term.showing import CONVERSATION
from charm_checkpoint.long_term.steps import call
from charm_checkpoint.long_term.tombstones import tombstones

CITATIONS: Final = 8
"""How many files a memory cites at most."""

_SIDE = "captures"
_CAPTURED_MINUTES = 180 * 24 * 60
_QUESTION = 2_000


@dataclass(frozen=True)
class AutoWrite:
    """What became of a turn that was worth a question.

    ``decision`` is "written"; "skipped", by the model; "merge", there is a memory that says so, ``entry``, and
    ``proposal`` is what could be merged into it; "forgotten", somebody forgot it; "failed", ``error`` says why; or
    "dropped", nobody was asked. ``usage`` is what the model was asked for it.
    """

    trigger: str
    decision: str
    reasoning: str = ""
    proposal: Proposal | None = None
    entry: MemoryEntry | None = None
    error: str | None = None
    usage: Usage = Usage()

    def __str__(self) -> str:
        """Return it as one line for people, as Cantrip's chats show it."""
        if self.decision == "written" and self.entry is not None:
            held = ", held for review" if self.entry.needs_review else ""
            title = one_line(self.entry.title, 200)
            return f"Wrote {self.entry.kind} memory: {title} ({self.entry.scope}{held})"
        why = one_line(self.error or self.reasoning, 300)
        return f"No memory of the {self.trigger} was written ({self.decision}){f': {why}' if why else ''}"


class Capture:
    """Asks a model what to remember of a turn, and writes it."""

    def __init__(self, long_term: LongTermMemory, model: Asked, timeout: float, gave_up: Callable[[], bool]) -> None:
        self._long_term = long_term
        self._model = model
        self._timeout = timeout
        self._gave_up = gave_up

    def run(self, event: Event, citations: Sequence[Citation]) -> Flow[AutoWrite]:
        """Return what became of a turn; nothing is raised for what models, answers and stores do."""
        try:
            return (yield from self._run(event, citations))
        except CharmError as error:
            return AutoWrite(event.trigger, "failed", error=f"{type(error).__name__}: {error}")

    def _run(self, event: Event, citations: Sequence[Citation]) -> Flow[AutoWrite]:
        if (known := (yield from self._captured_before(event))) is not None:
            return known
        titles, near = yield from self._known(event)
        scopes = self._long_term.scopes
        data = data_of(event, [each.path for each in citations], titles, near)
        reply = yield from ask(self._model, instructions(scopes), data, self._timeout)
        made = AutoWrite(event.trigger, "failed", error=reply.error, usage=reply.usage)
        if reply.error is not None:
            return made
        if self._gave_up():
            return replace(made, decision="dropped", error="the answer came after the writer had been closed")
        try:
            answer = without_secrets(answer_of(reply.text, scopes))
            made = replace(made, reasoning=answer.reasoning)
            if answer.proposal is None:
                return replace(made, decision="skipped")
            return (yield from self._written(event, replace(made, proposal=answer.proposal), citations))
        except CharmError as error:
            return replace(made, error=f"{type(error).__name__}: {error}")

    # -------------------------------------------------------------------------------------------- what there is already

    def _known(self, event: Event) -> Flow[tuple[list[MemoryEntry], list[MemoryEntry]]]:
        """Return the memories changed last, and those that bear most on a turn; that is no use of them."""
        asked = {"status": "active", "category": {"$ne": CONVERSATION}}
        question = "\n".join([event.said, *event.before[-2:]])[:_QUESTION]
        titles: list[tuple[str, FoundItem]] = []
        near: list[tuple[str, FoundItem]] = []
        for scope in self._long_term.scopes.values():
            latest = yield from scope.search(None, asked, TITLES)
            best = yield from scope.search(question, asked, 2 * NEAREST)
            titles += [(scope.name, item) for item in latest]
            near += [(scope.name, item) for item in best if item.score]
        near.sort(key=lambda pair: -(pair[1].score or 0.0))
        return _entries(titles), _entries(near)

    def _there_already(self, proposal: Proposal) -> Flow[MemoryEntry | None]:
        """Return the memory that has a proposal's title, or says what it says; None if there is none."""
        for scope in self._long_term.scopes.values():
            value = yield from scope.get(proposal.title)
            if value is not None:
                return entry_of(value, scope.name)
        for scope in self._long_term.scopes.values():
            found = yield from scope.search(
                f"{proposal.title}\n{proposal.body}", {"category": {"$ne": CONVERSATION}}, NEAREST
            )
            for item in found:
                entry = entry_of(item.value, scope.name)
                if _says(entry, proposal):
                    return entry
        return None

    def _forgotten(self, proposal: Proposal) -> Flow[MemoryEntry | None]:
        """Return what somebody forgot of late and a proposal says again; None if there is nothing."""
        for scope in self._long_term.scopes.values():
            stones = yield from tombstones(scope)
            for stone in stones:
                entry = entry_of(stone.memory, scope.name)
                if entry.title == proposal.title or _says(entry, proposal):
                    return entry
        return None

    # -------------------------------------------------------------------------------------------------------- writing

    def _written(self, event: Event, made: AutoWrite, citations: Sequence[Citation]) -> Flow[AutoWrite]:
        proposal = made.proposal
        assert proposal is not None
        if (gone := (yield from self._forgotten(proposal))) is not None:
            return replace(made, decision="forgotten", entry=gone, error=f"{gone.title!r} was forgotten")
        there = yield from self._there_already(proposal)
        if there is not None and (there.status == "active" or there.source != SOURCE):
            return _merge(made, there)
        if there is not None:  # what was written by itself before holds no longer, or was not used: it is renewed
            proposal = replace(proposal, title=there.title, scope=there.scope)
        scope = self._long_term.scope(proposal.scope)
        given: dict[str, Any] = {
            "tags": proposal.tags,
            "source": SOURCE,
            "citations": list(citations) if scope.cites else [],
        }
        words = (proposal.kind, proposal.title, proposal.body, scope.name)
        try:
            entry = yield call(self._long_term, "remember", *words, **given)
        except ForgottenMemory as error:
            return replace(made, decision="forgotten", error=str(error))
        except ProtectedMemory:  # somebody wrote it at this moment
            value = yield from scope.get(proposal.title)
            return replace(made, decision="merge", entry=None if value is None else entry_of(value, scope.name))
        yield from self._note(event, entry)
        return replace(made, decision="written", entry=entry)

    # ------------------------------------------------------------------------------------------------- one turn, once

    def _captured_before(self, event: Event) -> Flow[AutoWrite | None]:
        """Return why a turn is not asked about again, None if it is new: what was made of it is there, or forgotten."""
        home = next(iter(self._long_term.scopes.values()))
        item = yield call(home.store, "get", home.side(_SIDE), _key(event), refresh_ttl=False)
        if item is None or item.value["scope"] not in self._long_term.scopes:
            return None
        title, scope = item.value["title"], self._long_term.scopes[item.value["scope"]]
        value = yield from scope.get(title)
        if value is None:
            return AutoWrite(event.trigger, "forgotten", error=f"{title!r} was written of the same turn, and forgotten")
        return AutoWrite(
            event.trigger, "skipped", reasoning="it was captured before", entry=entry_of(value, scope.name)
        )

    def _note(self, event: Event, entry: MemoryEntry) -> Flow[None]:
        home = next(iter(self._long_term.scopes.values()))
        noted = {"title": entry.title, "scope": entry.scope}
        yield call(home.store, "put", home.side(_SIDE), _key(event), noted, False, ttl=_CAPTURED_MINUTES)


def cited(long_term: LongTermMemory, paths: Iterable[str]) -> list[Citation]:
    """Return citations of files, hashed as they are now: those of the project that are there, the first few of them."""
    found: list[Citation] = []
    for path in dict.fromkeys(_of_project(long_term.project.root, paths)):
        try:
            found += cite(long_term.project, [path])
        except (DataError, OSError):  # it is gone, or cannot be read: it is not cited
            continue
        if len(found) == CITATIONS:
            break
    return found


def _of_project(root: Path | None, paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths that are files of a project, relative to it.

    Tools of a file system of their own name them from its root, which is the project then.
    """
    if root is None:
        return
    real = os.path.realpath(root)
    for given in paths:
        found = _file_of(real, given) or _file_of(real, given.lstrip("/\\"))
        if found is not None:
            yield found


def _file_of(root: str, path: str) -> str | None:
    try:
        found = os.path.realpath(os.path.join(root, path))
        if is_below(found, root) and os.path.isfile(found):
            return Path(found).relative_to(root).as_posix()
    except (ValueError, OSError):  # it is no path: there is a NUL in it, half of a character, or too much
        pass
    return None


def without_secrets(answer: Answer) -> Answer:
    """Return an answer with ``[REDACTED]`` where it has secrets: what a model repeats of a conversation may be one."""
    proposal = answer.proposal
    if proposal is None:
        return replace(answer, reasoning=redacted(answer.reasoning))
    title, body, tags = redacted(proposal.title), redacted(proposal.body), tuple(map(redacted, proposal.tags))
    return Answer(redacted(answer.reasoning), replace(proposal, title=title, body=body, tags=tags))


def _merge(made: AutoWrite, there: MemoryEntry) -> AutoWrite:
    return replace(made, decision="merge", entry=there, error=f"{there.title!r} in {there.scope} says so already")


def _entries(found: Iterable[tuple[str, FoundItem]]) -> list[MemoryEntry]:
    return [entry_of(item.value, scope) for scope, item in found]


def _says(entry: MemoryEntry, proposal: Proposal) -> bool:
    """Tell whether a memory says what a proposal says."""
    return any(covered(proposal.body, by) > SAME for by in (entry.body, f"{entry.title}\n{entry.body}"))


def _key(event: Event) -> str:
    """Return the name of a turn: what was said, to what; other words for the same are another turn."""
    words: Any = [event.trigger, " ".join(event.said.split()).casefold(), list(event.before)]
    return hashlib.sha256(repr(words).encode("utf-8", "backslashreplace")).hexdigest()
