"""Snapshots of all memories, taken and put back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow, off_the_loop
from charm_checkpoint.items.results import stamp_of, time_of
from charm_checkpoint.items.store.line_files import LinesWriter
from charm_checkpoint.long_term.parts import LongTermParts
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.snapshots.filling import Filling
from charm_checkpoint.long_term.snapshots.first_time import claim, is_new, release, settle
from charm_checkpoint.long_term.snapshots.readable import readable
from charm_checkpoint.long_term.snapshots.records import (
    FORM,
    NOTES,
    PARTS,
    HydrateResult,
    Record,
    SnapshotResult,
    SnapshotSource,
    line_of,
)
from charm_checkpoint.long_term.steps import collect
from charm_checkpoint.long_term.whole_files import put_file
from charm_checkpoint.runtime.rights import make_folders
from charm_checkpoint.stores.files.folder import translate

T = TypeVar("T")
PathLike: TypeAlias = str | os.PathLike[str]

_AT_ONCE: Final = 200


class Snapshotting(LongTermParts):
    """Takes snapshots, and puts them into stores; into a new one by itself, if the settings say so."""

    _is_filled = False

    def snapshot(self, path: PathLike | None = None) -> SnapshotResult:
        """Write all memories into a file, and beside it, ending in ``.md``, a page for people; tell what is in it.

        All scopes are in it, whatever the status of a memory, with all dates, approvals, uses, and what was forgotten.
        Without ``path`` it is the ``snapshot`` of the settings. Either file is replaced once its follower is whole.
        Nothing is taken out of it, neither secrets nor paths: `export` is for what others are to have.
        """
        return self._run(self._snapshot(path))

    async def asnapshot(self, path: PathLike | None = None) -> SnapshotResult:
        """Write all memories into a file; see `snapshot`."""
        return await self._arun(self._snapshot(path))

    def _snapshot(self, path: PathLike | None) -> Flow[SnapshotResult]:
        target = self._target(path)
        records: list[Record] = []
        for scope in self.scopes.values():
            records += yield from _records_of(scope)
        write = partial(_write, target, records, self.project.name)
        result: SnapshotResult = yield off_the_loop(write)
        for scope in self.scopes.values():
            # Of a store that has been in use: what is forgotten in it later is not to come back by itself.
            yield from settle(scope)
        return result

    def hydrate(self, path: PathLike | None = None, *, overwrite: bool = False) -> HydrateResult:
        """Put the memories of a snapshot back, into whatever stores the scopes are in; tell how many.

        What is there already stays as it is, but with ``overwrite``. A file that is damaged is refused as a whole, with
        `DataError`, before anything is put; `ConfigError` names a scope that is not here. Approvals come back as well,
        so take only snapshots of your own; for what others give you there is `import_`.
        """
        return self._run(self._hydrate(self._target(path), overwrite))

    async def ahydrate(self, path: PathLike | None = None, *, overwrite: bool = False) -> HydrateResult:
        """Put the memories of a snapshot back; see `hydrate`."""
        return await self._arun(self._hydrate(self._target(path), overwrite))

    def _hydrate(self, path: Path, overwrite: bool, only: Iterable[Scope] | None = None) -> Flow[HydrateResult]:
        source: SnapshotSource = yield off_the_loop(partial(_opened, path))
        with closing(source):
            unknown = [name for name in source.scopes if name not in self.scopes]
            if unknown and only is None:
                raise ConfigError(
                    f"{path} has memories of the scope {unknown[0]!r}, which is not here; name it in long_term(scopes=)"
                )
            scopes = self.scopes if only is None else {scope.name: scope for scope in only}
            filling = Filling(scopes, overwrite=overwrite, now=clock.now(), tombstone_days=self.settings.tombstone_days)
            batches = iter(source.records(_AT_ONCE))
            while some := (yield off_the_loop(partial(next, batches, None))):
                yield from filling.take(some)
        return HydrateResult(path, dict(+filling.put), dict(+filling.kept))

    def _target(self, path: PathLike | None) -> Path:
        given: Any = self.settings.snapshot if path is None else path
        if given is None:
            raise ConfigError("name the file, or give one in the settings, as in long_term(snapshot='memories.jsonl')")
        if not isinstance(given, (str, os.PathLike)) or not os.fspath(given):
            raise ConfigError(f"a snapshot is a file, not {given!r}")
        target = Path(given).expanduser().absolute()
        if target.suffix.lower() == ".md":
            raise ConfigError(f"{target.name}: a file that ends in .md is written beside; name one that ends in .jsonl")
        return target

    # -------------------------------------------------------------------------------------------------- by itself

    def _run(self, flow: Flow[T]) -> T:
        return super()._run(self._filled_first(flow))

    async def _arun(self, flow: Flow[T]) -> T:
        return await super()._arun(self._filled_first(flow))

    def _filled_first(self, flow: Flow[T]) -> Flow[T]:
        try:
            if not self._is_filled and self.settings.snapshot is not None and self.settings.auto_hydrate:
                yield from self._fill()
            self._is_filled = True
            return (yield from flow)
        finally:
            flow.close()

    def _fill(self) -> Flow[None]:
        """Put the snapshot into those scopes that are new, once over all programs."""
        path = self._target(None)
        if not (yield off_the_loop(path.exists)):
            return
        for scope in self.scopes.values():
            if not (yield from is_new(scope)):
                continue
            token = yield from claim(scope)
            if token is None:
                continue
            try:
                yield from self._hydrate(path, False, [scope])
            except BaseException:
                yield from release(scope, token)
                raise
            yield from settle(scope)


def _records_of(scope: Scope) -> Flow[list[Record]]:
    yield from scope.refresh()
    records = []
    for part in PARTS:
        found = yield collect(scope.store, scope.side(part))
        # Those changed last come last: into a new store they are put in that order.
        records += [
            Record(scope.name, part, item.key, item.value, (stamp_of(item.created_at), stamp_of(item.updated_at)))
            for item in reversed(found)
        ]
    return records


def _opened(path: Path) -> SnapshotSource:
    try:
        return SnapshotSource(path)
    except FileNotFoundError:
        raise ConfigError(f"there is no snapshot {path}") from None
    except OSError as error:
        raise translate(path, error, write=False) from error


def _write(target: Path, records: list[Record], project: str) -> SnapshotResult:
    taken = time_of(clock.now())
    beside = target.with_suffix(".md")
    try:
        make_folders(target.parent)
        with closing(LinesWriter(target, FORM, {"project": project, "taken": taken.isoformat()})) as writer:
            writer.begin()
            writer.write_lines(map(line_of, records))
            writer.finish()
        put_file(beside, readable(records, project, taken).encode(errors="backslashreplace"))
    except OSError as error:
        raise translate(target, error, write=True) from error
    memories = {each.scope: 0 for each in records}
    for each in records:
        memories[each.scope] += each.part == NOTES
    return SnapshotResult(target, beside, memories)
