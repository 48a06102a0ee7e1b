"""What a `Memory` offers before and after a deploy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from charm_checkpoint.checking.session import adrive, drive
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.saver.records import names

if TYPE_CHECKING:
    from charm_checkpoint.checking.report import CheckReport, MigrateReport
    from charm_checkpoint.checking.session import Session
    from charm_checkpoint.saver.checkpointer import CharmSaver
    from charm_checkpoint.store import Store


class Checks:
    """Looking at all threads with the classes and the graph of this program, and storing their heads anew."""

    store: Store
    _saver: CharmSaver

    def check(
        self,
        graph: Any = None,
        *,
        sample: int | None = None,
        threads: Iterable[str] | None = None,
        history: bool = False,
    ) -> CheckReport:
        """Tell what this program would make of the threads that are stored; nothing is changed.

        Each thread's head is read, with those of subgraphs that go on with it, and what its classes lose, miss or
        cannot restore is gathered by class and field. With ``graph``, compiled or its builder, it is compared with
        that, too: threads that wait at a node that is gone, channels and reducers that cannot take what is stored. No
        node runs; reducers do, with an empty value.

        ``sample`` looks at so many threads, the same ones each time, ``threads`` at these. ``history`` reads older
        checkpoints, too: only then can be told that an alias is needed no more.
        """
        return drive(self.store, self._check(graph, sample, threads, history))

    async def acheck(
        self,
        graph: Any = None,
        *,
        sample: int | None = None,
        threads: Iterable[str] | None = None,
        history: bool = False,
    ) -> CheckReport:
        """Tell what this program would make of the threads that are stored; see `check`."""
        return await adrive(self.store, self._check(graph, sample, threads, history))

    def _check(
        self, graph: Any, sample: int | None, threads: Iterable[str] | None, history: bool
    ) -> Session[CheckReport]:
        from charm_checkpoint.checking.checking import check  # only for who uses it

        _check_kept(self.store)
        return check(self.store, self._saver.serde, graph, _sample(sample, threads), _named(threads), history)

    def migrate(self, *, dry_run: bool = False, threads: Iterable[str] | None = None) -> MigrateReport:
        """Store heads anew as the classes of this program have them: former names and shapes are then needed no more.

        Each is replaced in its place: ids, parents, versions and pending writes stay, interrupts that wait still do,
        and a run that goes on meanwhile is not disturbed. What is up to date is not touched, and neither is what would
        lose a field. Older checkpoints stay as they are; `prune` removes them, and with them what still needs a former
        name or an upgrade. ``threads`` takes these threads alone, ``dry_run`` says what would be done.

        Do it when no program of the former code is running any more: what is stored is in the new shape.
        """
        return drive(self.store, self._migrate(dry_run, threads))

    async def amigrate(self, *, dry_run: bool = False, threads: Iterable[str] | None = None) -> MigrateReport:
        """Store heads anew as the classes of this program have them; see `migrate`."""
        return await adrive(self.store, self._migrate(dry_run, threads))

    def _migrate(self, dry_run: bool, threads: Iterable[str] | None) -> Session[MigrateReport]:
        from charm_checkpoint.checking.migrating import migrate

        _check_kept(self.store)
        return migrate(self.store, self._saver.serde, _named(threads), dry_run)


def _check_kept(store: Store) -> None:
    if not store.keeps_checkpoints:
        raise ConfigError("this store keeps no checkpoints, so there is nothing to look at")


def _named(threads: Iterable[Any] | None) -> list[str] | None:
    return None if threads is None else names(threads, "thread_id")


def _sample(sample: Any, threads: Any) -> int | None:
    if sample is None:
        return None
    if type(sample) is not int or sample < 1:
        raise ConfigError("sample is a whole number of threads, 1 or more, or None for all")
    if threads is not None:
        raise ConfigError("give either a sample or the threads, not both")
    return sample
