"""What a `Memory` offers to keep, sweep and erase."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from charm_checkpoint.config.options import time_kept
from charm_checkpoint.config.retention import REMEMBERED, Retention, retention_of
from charm_checkpoint.errors import ConfigError, StoreError, ThreadNotFound
from charm_checkpoint.retention.pace import adrive as adrive_paced
from charm_checkpoint.retention.pace import drive as drive_paced
from charm_checkpoint.runtime.pacing import PaceName
from charm_checkpoint.saver.refs import names
from charm_checkpoint.session import Session, Step, adrive, drive

if TYPE_CHECKING:
    from charm_checkpoint.contract import ThreadPage
    from charm_checkpoint.items.flow import Flow
    from charm_checkpoint.items.store.charm_store import CharmStore
    from charm_checkpoint.retention.keeper import Keeper
    from charm_checkpoint.retention.reports import EraseReport, SpaceReport, SweepReport
    from charm_checkpoint.runtime.once import once
    from charm_checkpoint.saver.checkpointer import CharmSaver
    from charm_checkpoint.store import Store
    from charm_checkpoint.values.serde import Serializer


NEEDED = ("erase_thread", "forget_erased", "pin", "space", "compact")
"""What a backend has since there is retention."""


class Retains:
    """Keeping a store small: what goes by a policy, by name, or not at all; and giving room back."""

    store: Store
    _saver: once[CharmSaver]
    _serde: once[Serializer]
    _history: Any
    get_langgraph_store: Callable[..., CharmStore]
    retention: Retention | None = None
    """The policy that the URL or the config names, None if they name none."""
    _keeper: Keeper | None = None

    def _keep(self, policy: Retention | None) -> None:
        """Have a policy be kept to; raises `ConfigError` where the store cannot."""
        self.retention = policy
        if policy is not None and self.store.keeps_checkpoints:
            _check_able(self.store)

    def _keeper_of(self, saver: CharmSaver, every: float) -> Keeper | None:
        """Return what keeps to the policy by itself, all threads being looked at each ``every`` seconds; none if 0."""
        if self.retention is None or not every or not self.store.keeps_checkpoints:
            return None
        from charm_checkpoint.retention.keeper import Keeper  # only for who uses it
        from charm_checkpoint.retention.pruning import Tools

        tools = Tools(self.store.backend, saver.serde, self.store.limits)
        self._keeper = Keeper(self.store, tools, self.retention, every, self._let_go)
        return self._keeper

    # -------------------------------------------------------------------------------------------------------- sweeping

    def sweep(
        self,
        policy: Retention | Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        threads: Iterable[str] | None = None,
        on_progress: Callable[[SweepReport], object] | None = None,
        pace: PaceName = "auto",
    ) -> SweepReport:
        """Remove what a policy does not keep, of all threads or of these; the store's own policy if none is given.

        It is done a transaction at a time, beside whoever writes; what is done stays done if it is interrupted, and
        the next one goes on. ``dry_run`` only says what would go. ``on_progress`` is called after each thread, with the
        report as it is then. A thread that is damaged is told in the report, and hinders nothing. ``pace="auto"`` works
        a tenth of the time while others are felt to use the store, ``"gentle"`` always, and ``"full"`` never rests.

        Raises `ConfigError` where there is no policy, `ThreadNotFound` for one of ``threads`` that is not there.
        """
        return drive_paced(self.store, self._sweep(policy, dry_run, threads, on_progress), _pace(pace))

    async def asweep(
        self,
        policy: Retention | Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        threads: Iterable[str] | None = None,
        on_progress: Callable[[SweepReport], object] | None = None,
        pace: PaceName = "auto",
    ) -> SweepReport:
        """Remove what a policy does not keep; see `sweep`."""
        return await adrive_paced(self.store, self._sweep(policy, dry_run, threads, on_progress), _pace(pace))

    def _sweep(
        self,
        policy: Retention | Mapping[str, Any] | None,
        dry_run: bool,
        threads: Iterable[str] | None,
        on_progress: Callable[[SweepReport], object] | None,
    ) -> Session[SweepReport]:
        from charm_checkpoint.retention.pruning import Tools
        from charm_checkpoint.retention.sweeping import Sweep, now

        wanted = self._policy(policy)
        named = None if threads is None else names(threads, "thread_id")
        tools = Tools(self.store.backend, self._serde, self.store.limits)
        sweep = Sweep(tools, wanted, now(), self._let_go, dry_run=dry_run, threads=named, on_progress=on_progress)
        return sweep.session()

    def _let_go(self, thread: str, whole: bool) -> None:
        """Forget what this process knows of a thread of which something was removed, or all of it."""
        (self._saver.forget_thread if whole else self._saver.forget_chunks)(thread)

    def _policy(self, given: Retention | Mapping[str, Any] | None) -> Retention:
        _check_kept(self.store)
        policy = self.retention if given is None else retention_of(given)
        if policy is None or policy.is_empty:
            raise ConfigError(
                "no policy says what is to go: give one, as in sweep(Retention(keep_last=50)), or open the store with "
                "keep_last=, keep_for= or ttl="
            )
        return policy

    # ------------------------------------------------------------------------------------------------------------ pins

    def pin(self, thread_id: str) -> None:
        """Have no policy remove anything of a thread; raises `ThreadNotFound`. To delete it is still possible."""
        drive(self.store, self._pin(thread_id, True))

    async def apin(self, thread_id: str) -> None:
        """Have no policy remove anything of a thread; see `pin`."""
        await adrive(self.store, self._pin(thread_id, True))

    def unpin(self, thread_id: str) -> None:
        """Undo `pin`; raises `ThreadNotFound`."""
        drive(self.store, self._pin(thread_id, False))

    async def aunpin(self, thread_id: str) -> None:
        """Undo `pin`; see `unpin`."""
        await adrive(self.store, self._pin(thread_id, False))

    def _pin(self, thread_id: str, pinned: bool) -> Session[None]:
        _check_able(self.store)
        [thread] = names([thread_id], "thread_id")
        if not (yield Step(partial(self.store.backend.pin, thread, pinned), thread, write=True)):
            raise ThreadNotFound(f"The store holds no thread {thread!r}.")

    def pins(self) -> list[str]:
        """Return the threads that are pinned, those changed last first where the store can tell."""
        return drive(self.store, self._pins())

    async def apins(self) -> list[str]:
        """Return the threads that are pinned; see `pins`."""
        return await adrive(self.store, self._pins())

    def _pins(self) -> Session[list[str]]:
        from charm_checkpoint.retention.sweeping import PAGE
        from charm_checkpoint.saver.threads import is_staging

        found: dict[str, None] = {}
        after = None
        while True:
            page: ThreadPage = yield Step(partial(self.store.backend.threads, after, PAGE))
            found.update({row.thread: None for row in page.items if row.pinned and row.thread is not None})
            after = page.next
            if after is None:
                return [thread for thread in found if not is_staging(thread)]

    # --------------------------------------------------------------------------------------------------------- erasing

    def erase(
        self,
        thread: str | None = None,
        *,
        tenant: bool = False,
        namespace: tuple[str, ...] | None = None,
        remember: float | str = REMEMBERED,
        dry_run: bool = False,
    ) -> EraseReport:
        """Erase everything of a thread, of the tenant, or of a namespace of items, for good; pins do not hinder it.

        Of a thread, that is its checkpoints, writes, messages and its name, and the turns of it that an agent kept word
        for word as durable memories, here in this store. A hash of the name, which nobody can undo
        without the store's own key, stays for ``remember``: so long a run that began before is refused, with
        `ThreadDeleted`. With 0 nothing stays, and such a run brings back what it knows. Of a namespace, it is the
        items there and below, the indexes that tell of them, and the vectors that are kept of texts. ``tenant=True`` is
        all that this URL can see: every thread, all items, and the caches.

        What was copied elsewhere before, such as a server's backups, is not erased by this; see docs/retention.md.
        Nothing that is not there is an error: the counts are 0 then.
        """
        report = drive(self.store, self._erase(thread, tenant, namespace, remember, dry_run))
        if thread is not None and drive(self.store, self._has_memories()):
            report = _with_turns(report, _run(self._turns(thread, dry_run)))
        return self._forgotten(report)

    async def aerase(
        self,
        thread: str | None = None,
        *,
        tenant: bool = False,
        namespace: tuple[str, ...] | None = None,
        remember: float | str = REMEMBERED,
        dry_run: bool = False,
    ) -> EraseReport:
        """Erase everything of a thread, of the tenant, or of a namespace; see `erase`."""
        report = await adrive(self.store, self._erase(thread, tenant, namespace, remember, dry_run))
        if thread is not None and await adrive(self.store, self._has_memories()):
            report = _with_turns(report, await _arun(self._turns(thread, dry_run)))
        return self._forgotten(report)

    def _has_memories(self) -> Session[bool]:
        """Tell whether there are durable memories in this store; most have none, and need not look for a thread's."""
        from charm_checkpoint.items.namespaces import path_of

        items = self.store.items
        return items is not None and (yield Step(partial(items.count, path_of(("memories",)), 0))) > 0

    def _turns(self, thread: str, dry_run: bool) -> Flow[int]:
        from charm_checkpoint.retention.said import erase_turns

        return erase_turns(self.get_langgraph_store(), names([thread], "thread_id")[0], dry_run)

    def _erase(
        self,
        thread: str | None,
        tenant: bool,
        namespace: tuple[str, ...] | None,
        remember: float | str,
        dry_run: bool,
    ) -> Session[EraseReport]:
        from charm_checkpoint.retention.erasing import Erasure, erased_until
        from charm_checkpoint.retention.sweeping import now

        if not isinstance(tenant, bool):
            raise ConfigError(
                f"tenant=True erases the tenant of the URL, and nothing else can be named there; to erase {tenant!r}, "
                "open the store as that tenant"
            )
        if [thread is not None, tenant, namespace is not None].count(True) != 1:
            raise ConfigError("say what to erase: one of thread=, tenant=True and namespace=")
        _check_able(self.store)
        until = erased_until(now(), time_kept(remember))
        erasure = Erasure(
            self.store.backend, self.store.items, self._history, until, self._saver.forget_thread, dry_run=dry_run
        )
        if namespace is not None:
            return erasure.namespace(self._namespace(namespace))
        return erasure.tenant() if thread is None else erasure.thread(names([thread], "thread_id")[0])

    def _namespace(self, namespace: tuple[str, ...]) -> tuple[str, ...]:
        from langgraph.store.base import InvalidNamespaceError

        from charm_checkpoint.items.addresses import space_of

        if self.store.items is None:
            raise StoreError("This store keeps no long-term memory, so there is no namespace to erase.")
        if not namespace:
            raise ConfigError("name the first label of the namespace at least; tenant=True erases everything")
        try:
            space_of(namespace)
        except InvalidNamespaceError as error:
            raise ConfigError(f"namespace: {error}") from None
        return tuple(namespace)

    def _forgotten(self, report: EraseReport) -> EraseReport:
        """Let this process remember nothing of what it has read and written: it may be what was erased."""
        if not report.dry_run:
            self.store.budget.clear()
        return report

    # ------------------------------------------------------------------------------------------------------------ room

    def compact(self, on_progress: Callable[[SpaceReport], object] | None = None) -> SpaceReport:
        """Give room that holds nothing back, to the disk or to other programs; return what is then taken.

        That is bounded work after another, beside whoever writes. A store that does it by itself, as Postgres and
        Redis do, only tells. ``on_progress`` is called in between.
        """
        return drive_paced(self.store, self._compact(on_progress))

    async def acompact(self, on_progress: Callable[[SpaceReport], object] | None = None) -> SpaceReport:
        """Give room that holds nothing back; see `compact`."""
        return await adrive_paced(self.store, self._compact(on_progress))

    def _compact(self, on_progress: Callable[[SpaceReport], object] | None) -> Session[SpaceReport]:
        from charm_checkpoint.retention.compacting import compact

        _check_able(self.store)
        return compact(self.store.backend, on_progress)


def _run(flow: Flow[int]) -> int:
    from charm_checkpoint.long_term.steps import run  # only for who has memories: it takes a while

    return run(flow)


async def _arun(flow: Flow[int]) -> int:
    from charm_checkpoint.long_term.steps import arun

    return await arun(flow)


def _with_turns(report: EraseReport, turns: int) -> EraseReport:
    return replace(report, items=report.items + turns)


def _pace(pace: PaceName) -> PaceName:
    if pace not in get_args(PaceName):
        raise ConfigError(f"pace is one of {', '.join(get_args(PaceName))}, not {pace!r}")
    return pace


def _check_kept(store: Store) -> None:
    if not store.keeps_checkpoints:
        raise ConfigError("this store keeps no checkpoints, so there is nothing to sweep")
    _check_able(store)


def _check_able(store: Store) -> None:
    """Raise `StoreError` for a store of somebody's that was written for an earlier version."""
    missing = [name for name in NEEDED if not hasattr(store.backend, name)]
    if missing:
        raise StoreError(
            f"This store cannot do that: its {type(store.backend).__name__} has no {', '.join(missing)}, which came "
            "with this version; see the page on writing a store."
        )
