"""Keeping a store to its policy by itself: a little at a time, after checkpoints were put, and never in their way.

Two things are done, by the programs that put, in a thread of the store's own or in a task of the event loop's:

- a thread to which a program has put more checkpoints than it keeps is pruned by that program;
- once in a while all threads are looked at, a few after each other put: by one program at a time, whose turn it is.

Both stop when the store is closed, between two transactions. What is not done then, the next one does: it goes on where
this one stopped.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import Any, Final, Literal

from charm_checkpoint.checking.rows import row_of
from charm_checkpoint.config.retention import Retention
from charm_checkpoint.errors import CharmError, StoreClosed
from charm_checkpoint.plan import arun, run
from charm_checkpoint.retention.pace import aexecute, execute, pacer
from charm_checkpoint.retention.pruning import Tools
from charm_checkpoint.retention.sweeping import Gone, Sweep, now
from charm_checkpoint.retention.turn import Turn
from charm_checkpoint.runtime.background import Background
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.pacing import Pacer
from charm_checkpoint.runtime.turns import Terms
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store

log = logging.getLogger("charm_checkpoint")

FEW: Final = 20
"""Threads that are looked at after one put."""
PAUSE: Final = 1.0
"""Seconds that pass until others are."""
SPARE: Final = 20
"""Checkpoints that are put at least before a thread is looked at."""
WAITING: Final = 1000
"""Threads that may wait to be pruned; those beyond are found when all threads are looked at."""
LIFETIME: Final = 120 * 1_000_000
"""Microseconds after which a program that says nothing has lost its turn."""
CLOSING: Final = 2.0
"""Seconds that closing waits for the transaction under way."""

Job = tuple[Literal["thread", "all", "leave"], str]


class _Stopped(Exception):
    """The store is being closed."""


class Keeper:
    """What keeps one store to its policy in this process."""

    def __init__(self, store: Store, tools: Tools, policy: Retention, every: float, gone: Gone) -> None:
        self._store = store
        self._tools = tools
        self._policy = policy
        self._gone = gone
        self._turn = Turn(store.items, Terms(round(every * 1_000_000), LIFETIME))
        self._spare = max(SPARE, policy.keep_last or 0)
        self._puts: Counter[str] = Counter()
        self._next = 0.0
        self._sweep: Sweep | None = None
        self._after: Any = None
        self._stopping = False
        self._background: Background[Job] = Background("charm-retention", self._work, self._awork, size=WAITING)
        store.at_close(self.stop)

    # -------------------------------------------------------------------------------------------------- what is called

    def noted(self, thread: str) -> None:
        """Take note of a checkpoint that was put, in a blocking program."""
        for job in self._due(thread):
            self._background.put(job)

    def anoted(self, thread: str) -> None:
        """Take note of a checkpoint that was put, in an event loop: that may end sooner than what is then done."""
        self.noted(thread)

    def _due(self, thread: str) -> list[Job]:
        if self._stopping:
            return []
        jobs: list[Job] = []
        if self._policy.prunes:
            self._puts[thread] += 1
            if self._puts[thread] >= self._spare:
                del self._puts[thread]
                jobs.append(("thread", thread))
            elif len(self._puts) > WAITING:
                self._puts.clear()
        if monotonic() >= self._next:
            self._next = monotonic() + PAUSE
            jobs.append(("all", ""))
        return jobs

    def stop(self) -> None:
        """Begin nothing more; what is under way ends after its transaction."""
        self._stopping = True
        self._background.forget()

    def close(self) -> None:
        """Stop, hand the turn over if it is ours, and wait for that no longer than for the transaction under way."""
        self.stop()
        if self._sweep is not None:
            self._background.put(("leave", ""))
        self._background.join(CLOSING)

    async def aclose(self) -> None:
        """Stop as `close` does, without blocking the event loop."""
        self.stop()
        if self._sweep is not None:
            self._background.aput(("leave", ""))
        await self._background.ajoin(CLOSING)

    # ---------------------------------------------------------------------------------------------------- what is done

    def _work(self, job: Job) -> None:
        with _Telling(self):
            if job[0] == "leave":
                run(self._leave(), partial(execute, self._store, pacer=pacer(self._store, "full")))
            else:
                run(self._session(job), partial(self._execute, pacer(self._store)))

    async def _awork(self, job: Job) -> None:
        with _Telling(self):
            if job[0] == "leave":
                await arun(self._leave(), partial(aexecute, self._store, pacer=pacer(self._store, "full")))
            else:
                await arun(self._session(job), partial(self._aexecute, pacer(self._store)))

    def _execute(self, pacer: Pacer, step: Step) -> Any:
        if self._stopping:
            raise _Stopped
        return execute(self._store, step, pacer)

    async def _aexecute(self, pacer: Pacer, step: Step) -> Any:
        if self._stopping:
            raise _Stopped
        return await aexecute(self._store, step, pacer)

    def _session(self, job: Job) -> Session[None]:
        kind, thread = job
        return self._one(thread) if kind == "thread" else self._few()

    def _new_sweep(self) -> Sweep:
        return Sweep(self._tools, self._policy, now(), self._gone, measured=False)

    def _one(self, thread: str) -> Session[None]:
        row = yield from row_of(self._tools.backend, thread, pages=1)  # it was changed just now, so it comes first
        if row is not None:
            yield from self._new_sweep().one(row)

    def _few(self) -> Session[None]:
        """Look at some threads, if it is our turn."""
        if self._sweep is None:
            wait = yield from self._turn.take()
            if wait is not None:
                self._next = monotonic() + wait / 1_000_000
                return
            self._sweep, self._after = self._new_sweep(), self._turn.place
        sweep = self._sweep
        self._after = yield from sweep.page(self._after, FEW)
        if self._after is None:
            yield from self._end(sweep)
        elif not (yield from self._turn.renew(sweep.place)):  # noted at once: this program may end at any time
            self._sweep = None

    def _leave(self) -> Session[None]:
        if self._sweep is not None:
            self._sweep = None
            yield from self._turn.leave()

    def _end(self, sweep: Sweep) -> Session[None]:
        self._sweep = None
        yield from sweep.forget()
        yield from self._turn.end(bool(sweep.report.busy))
        done, idle = sweep.report.done, sweep.report.idle
        if done.checkpoints or idle.threads:
            log.info(
                "Retention: %d checkpoints of %d threads were removed, %d of these threads as a whole.",
                done.checkpoints,
                done.threads,
                idle.threads,
            )
        for problem in sweep.report.damaged:
            log.warning("Retention: thread %r stays as it is: %s", problem.thread_id, problem.reason)

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is begun."""
        return self._stopping

    def put_off(self) -> None:
        """Begin anew later: something failed."""
        self._sweep = None
        self._next = monotonic() + 60 * PAUSE


class _Telling:
    """Tells of what goes wrong where nobody waits for it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, (_Stopped, StoreClosed)):
            return True
        if isinstance(error, (CharmError, OSError)):
            if self._keeper.is_stopping:
                return True  # nobody is to hear at the end that the turn was not handed over: it runs out
            self._keeper.put_off()
            log.warning("Retention: nothing more is removed for now, and it is tried again later: %s", error)
            return True
        return False
