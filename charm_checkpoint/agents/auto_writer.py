"""The automatic writer: notices corrections, asks a model whether they are worth a memory, and writes it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from charm_checkpoint.agents.asking import Model, Usage, asked_of
from charm_checkpoint.agents.capturing import AutoWrite, Capture, cited
from charm_checkpoint.agents.recall_node import checked_memories
from charm_checkpoint.agents.turns import CORRECTION, EDITING_TOOLS, Event, checked_triggers, event_of
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.corrections import is_correction as corrects
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.records import Citation
from charm_checkpoint.runtime.background import Background
from charm_checkpoint.runtime.clock import monotonic

log = logging.getLogger("charm_checkpoint")

WAITING: Final = 8
"""How many turns may wait to be looked at."""
HOURLY: Final = 20
"""How often a model is asked in an hour."""
TIMEOUT: Final = 60.0
"""Seconds that a model may take to answer."""
CLOSING: Final = 10.0
"""Seconds that `AutoWriter.close` waits."""
RESULTS: Final = 100
"""How many results are kept."""

_HOUR = 3600.0


class AutoWriter:
    """Writes what a user's corrections teach into long-term memory, by itself and beside the turn.

    Give it each turn that ended well, by `observe`, or by `aobserve` in an event loop; call `close` or `aclose` at the
    end. A turn that corrects something is put to ``model``, a chat model of LangChain's, its name, or a function of a
    prompt, with what the agent had done, the titles there are and the nearest memories. What it wants remembered is
    checked, and dropped if it is there already: that is a result with a proposed merge, and changes nothing. The files
    that ``editing_tools`` changed in the turn are cited, with their hashes at its end.

    ``triggers`` may name "retry", a tool that failed and then did it, and "task", a turn of many calls, beside
    "correction". ``is_correction`` tells what is one, for other languages. ``on_result`` is called with each
    `AutoWrite`, from the thread or the event loop that made it. No failure of a model or a store's is raised: it is a
    result, as is a turn that comes when too many wait or ``hourly`` questions were asked.
    """

    def __init__(
        self,
        long_term: LongTermMemory,
        model: Model,
        *,
        triggers: str | Sequence[str] = (CORRECTION,),
        is_correction: Callable[[str], bool] = corrects,
        editing_tools: Iterable[str] = EDITING_TOOLS,
        on_result: Callable[[AutoWrite], Any] | None = None,
        hourly: int | None = HOURLY,
        waiting: int = WAITING,
        timeout: float = TIMEOUT,
    ) -> None:
        for name, value, least in (("hourly", hourly, 0), ("waiting", waiting, 1)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} is a whole number of at least {least}, not {value!r}")
        self.long_term = checked_memories(long_term)
        self._triggers = checked_triggers(triggers)
        self._is_correction = is_correction
        self._editing_tools = _names(editing_tools)
        self._on_result = on_result
        self._hourly = hourly
        self._asked: deque[float] = deque()
        self._results: deque[AutoWrite] = deque(maxlen=RESULTS)
        self._usage = Usage()
        self._closed = self._given_up = False
        self._capture = Capture(long_term, asked_of(model), timeout, lambda: self._given_up)
        self._background: Background[_Job] = Background("charm-auto-writer", self._do, self._ado, size=waiting)

    @property
    def results(self) -> tuple[AutoWrite, ...]:
        """What became of the last turns that were worth a question, the latest last."""
        return tuple(self._results)

    @property
    def usage(self) -> Usage:
        """What the model was asked so far."""
        return self._usage

    # ------------------------------------------------------------------------------------------------------ observing

    def observe(self, messages: Iterable[Any]) -> bool:
        """Look at the last turn of a conversation; tell whether it is worth a question, which is asked beside it."""
        event = self._noticed(messages)
        if event is None:
            return False
        return self._take(_Job(event, cited(self.long_term, event.changed)), self._background.put)

    async def aobserve(self, messages: Iterable[Any]) -> bool:
        """Look at the last turn of a conversation; see `observe`."""
        event = self._noticed(messages)
        if event is None:
            return False
        citations = await asyncio.to_thread(cited, self.long_term, event.changed) if event.changed else []
        return self._take(_Job(event, citations), self._background.aput)

    def _noticed(self, messages: Iterable[Any]) -> Event | None:
        event = event_of(
            messages, triggers=self._triggers, is_correction=self._is_correction, editing_tools=self._editing_tools
        )
        if event is None:
            return None
        if self._closed:
            self._drop(event, "the writer was closed before")
            return None
        if not self._may_ask():
            self._drop(event, f"{self._hourly} turns were asked about in the last hour")
            return None
        return event

    def _may_ask(self) -> bool:
        now = monotonic()
        while self._asked and self._asked[0] <= now - _HOUR:
            self._asked.popleft()
        return self._hourly is None or len(self._asked) < self._hourly

    def _take(self, job: _Job, put: Callable[[_Job], bool]) -> bool:
        # Hashes are of the files as the turn left them: the next one may begin before the model is asked.
        if put(job):
            self._asked.append(monotonic())
            return True
        self._drop(job.event, "too many turns wait to be looked at")
        return False

    def _drop(self, event: Event, why: str) -> None:
        self._tell(AutoWrite(event.trigger, "dropped", error=why))

    # -------------------------------------------------------------------------------------------------------- working

    def _do(self, job: _Job) -> None:
        self._tell(steps.run(self._capture.run(*job)))

    async def _ado(self, job: _Job) -> None:
        self._tell(await steps.arun(self._capture.run(*job)))

    def _tell(self, result: AutoWrite) -> None:
        self._usage += result.usage
        self._results.append(result)
        log.log(logging.WARNING if result.decision == "failed" else logging.INFO, "%s", result)
        if self._on_result is not None:
            try:
                self._on_result(result)
            except Exception:  # it is the program's own, and the writer goes on
                log.exception("on_result of the automatic writer failed")

    # -------------------------------------------------------------------------------------------------------- closing

    def close(self, deadline: float = CLOSING) -> bool:
        """Wait until all turns are looked at, ``deadline`` seconds at most; tell whether they are.

        What is left then is dropped, which is a result, and no answer that comes later is written. In an event loop
        that `aobserve` was called in, use `aclose`.
        """
        self._closed = True
        return self._ended(self._background.join(deadline))

    async def aclose(self, deadline: float = CLOSING) -> bool:
        """Wait until all turns are looked at; see `close`."""
        self._closed = True
        return self._ended(await self._background.ajoin(deadline))

    def _ended(self, done: bool) -> bool:
        if not done:
            self._given_up = True
            for job in self._background.forget():
                self._drop(job.event, "the writer was closed before its turn came")
        return done


class _Job(NamedTuple):
    event: Event
    citations: Sequence[Citation]


def _names(given: Iterable[str]) -> frozenset[str]:
    names = frozenset((given,) if isinstance(given, str) else given)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"editing_tools are names of tools, not {given!r}")
    return names
