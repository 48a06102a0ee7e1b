"""What a `Memory` offers before and after a deploy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.saver.refs import names
from charm_checkpoint.session import adrive, drive

if TYPE_CHECKING:
    from charm_checkpoint.checking.doctor.report import DoctorReport
    from charm_checkpoint.checking.integrity.report import IntegrityProgress
    from charm_checkpoint.checking.report import CheckReport, MigrateReport
    from charm_checkpoint.config.url import Location
    from charm_checkpoint.runtime.once import once
    from charm_checkpoint.session import Session
    from charm_checkpoint.store import Store
    from charm_checkpoint.values.serde import Serializer


class Checks:
    """Looking at all threads with the classes and the graph of this program, and storing their heads anew."""

    store: Store
    location: Location
    config: Any
    _serde: once[Serializer]

    def check(
        self,
        graph: Any = None,
        *,
        sample: int | None = None,
        threads: Iterable[str] | None = None,
        history: bool = False,
        integrity: bool | Literal["only"] = False,
        repair: bool = False,
        on_progress: Callable[[IntegrityProgress], object] | None = None,
    ) -> CheckReport:
        """Tell what this program would make of the threads that are stored; nothing is changed.

        Each thread's head is read, with those of subgraphs that go on with it, and what its classes lose, miss or
        cannot restore is gathered by class and field. With ``graph``, compiled or its builder, it is compared with
        that, too: threads that wait at a node that is gone, channels and reducers that cannot take what is stored. No
        node runs; reducers do, with an empty value.

        ``sample`` looks at so many threads, the same ones each time, ``threads`` at these. ``history`` reads older
        checkpoints, too: only then can be told that an alias is needed no more.

        ``integrity`` looks at everything that is stored, whatever the program's classes are, and puts what it finds
        into the report's `integrity <charm_checkpoint.checking.integrity.IntegrityReport>`: every chunk that a
        checkpoint or message list reaches is there and is what its address says, records and pending writes are the
        thread's own, heads are the last ones committed, items can be read and found, counts are right, and the store's
        own checks pass. With "only", classes and graph are left out. Each chunk is read once a thread, a few at a
        time, and other programs may go on writing. ``repair`` mends what can be mended without losing anything: counts,
        heads that are behind, chunks that nothing reaches. ``on_progress`` is called after each thread.
        """
        return drive(self.store, self._check(graph, sample, threads, history, integrity, repair, on_progress))

    async def acheck(
        self,
        graph: Any = None,
        *,
        sample: int | None = None,
        threads: Iterable[str] | None = None,
        history: bool = False,
        integrity: bool | Literal["only"] = False,
        repair: bool = False,
        on_progress: Callable[[IntegrityProgress], object] | None = None,
    ) -> CheckReport:
        """Tell what this program would make of the threads that are stored; see `check`."""
        session = self._check(graph, sample, threads, history, integrity, repair, on_progress)
        return await adrive(self.store, session)

    def _check(
        self,
        graph: Any,
        sample: int | None,
        threads: Iterable[str] | None,
        history: bool,
        integrity: bool | Literal["only"],
        repair: bool,
        on_progress: Callable[[IntegrityProgress], object] | None,
    ) -> Session[CheckReport]:
        from charm_checkpoint.checking.both import Wanted, check_both  # only for who uses it

        _check_kept(self.store)
        wanted = Wanted(integrity, repair, graph, _sample(sample, threads), _named(threads), history, on_progress)
        return check_both(self.store, self._serde, wanted)

    def doctor(self) -> DoctorReport:
        """Tell how the store is doing: whether it is reached, how quickly, what its settings promise, what to change.

        Nothing is changed: no store is made, and no schema; an fsync is timed on a file without a name. Where the store
        cannot be reached the report says at which step, and no error is raised.
        """
        return drive(self.store, self._doctor())

    async def adoctor(self) -> DoctorReport:
        """Tell how the store is doing; see `doctor`."""
        return await adrive(self.store, self._doctor())

    def _doctor(self) -> Session[DoctorReport]:
        from charm_checkpoint.checking.doctor.session import doctor  # only for who uses it

        return doctor(self.store, self.location, self.config)

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
        return migrate(self.store, self._serde, _named(threads), dry_run)


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
