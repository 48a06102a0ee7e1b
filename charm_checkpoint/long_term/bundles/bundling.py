"""Memories out of here, for others, and those of others in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from charm_checkpoint.errors import ConfigError, DataError, MemoryExists, MemoryNotFound, MemoryRefused
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow, off_the_loop
from charm_checkpoint.long_term import records
from charm_checkpoint.long_term.bundles.portable import (
    Cleaner,
    ExportResult,
    ImportResult,
    Left,
    Portable,
    free_title,
    portable,
)
from charm_checkpoint.long_term.bundles.reading import Candidate, Source, read_source
from charm_checkpoint.long_term.bundles.writing import write_markdown, write_skill
from charm_checkpoint.long_term.parts import LongTermParts
from charm_checkpoint.long_term.records import IMPORTED, Value, new_value
from charm_checkpoint.long_term.sanitising import known_roots
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.suspicion import held_for, suspicions
from charm_checkpoint.long_term.tombstones import lift, tombstone

PathLike: TypeAlias = str | os.PathLike[str]
PLACEHOLDERS = ("<CHARM_PATH>", "<PROJECT>")
"""What stands in bundles for the folder of the project."""


class Bundling(LongTermParts):
    """Exports memories, and imports them."""

    def export(
        self,
        name: str,
        path: PathLike,
        scope: str | None = None,
        titles: Iterable[str] | None = None,
        *,
        overwrite: bool = False,
    ) -> ExportResult:
        """Write a bundle of memories, a SKILL.md of Cantrip's form; return what is in it, and what was taken out.

        That is the file ``path`` if it ends in ``.md``, else ``path/<name>/SKILL.md``. What is active in a scope, or in
        all, is in it, or what has one of these ``titles``, whatever its status. Secrets and this machine's paths are
        replaced, in titles and tags too; citations stay here.

        Raises `ConfigError` if the file is there already, but with ``overwrite``; `MemoryNotFound` for a title.
        """
        return self._run(self._export(name, path, scope, titles, overwrite))

    async def aexport(
        self,
        name: str,
        path: PathLike,
        scope: str | None = None,
        titles: Iterable[str] | None = None,
        *,
        overwrite: bool = False,
    ) -> ExportResult:
        """Write a bundle of memories; see `export`."""
        return await self._arun(self._export(name, path, scope, titles, overwrite))

    def _export(
        self, name: str, path: PathLike, scope: str | None, titles: Iterable[str] | None, overwrite: bool
    ) -> Flow[ExportResult]:
        records.checked_text(name, "name")
        if len(name.splitlines()) > 1:
            raise DataError("it has several lines", path=("name",))
        memories, left_out = yield from self._leaving(scope, titles)
        whence = "all scopes" if scope is None else self.scope(scope).name
        write = partial(
            write_skill, name.strip(), _path(path), memories, whence, self._cleaner(), left_out, overwrite=overwrite
        )
        made: ExportResult = yield off_the_loop(write)
        return made

    def export_markdown(
        self,
        folder: PathLike,
        scope: str | None = None,
        titles: Iterable[str] | None = None,
        *,
        overwrite: bool = False,
    ) -> ExportResult:
        """Write a file for each memory into a folder, as those of a Markdown scope; see `export`.

        With ``overwrite`` files of the same title are replaced; those of other titles never are.
        """
        return self._run(self._export_markdown(folder, scope, titles, overwrite))

    async def aexport_markdown(
        self,
        folder: PathLike,
        scope: str | None = None,
        titles: Iterable[str] | None = None,
        *,
        overwrite: bool = False,
    ) -> ExportResult:
        """Write a file for each memory into a folder; see `export_markdown`."""
        return await self._arun(self._export_markdown(folder, scope, titles, overwrite))

    def _export_markdown(
        self, folder: PathLike, scope: str | None, titles: Iterable[str] | None, overwrite: bool
    ) -> Flow[ExportResult]:
        memories, left_out = yield from self._leaving(scope, titles)
        write = partial(write_markdown, _path(folder), memories, self._cleaner(), left_out, overwrite=overwrite)
        made: ExportResult = yield off_the_loop(write)
        return made

    def _cleaner(self) -> Cleaner:
        return Cleaner(known_roots(self.project.root))

    def _leaving(self, scope: str | None, titles: Iterable[str] | None) -> Flow[tuple[list[Portable], list[Left]]]:
        """Return the memories to export, the oldest first; of several with one title the first scope's."""
        wanted = (
            None
            if titles is None
            else list(
                dict.fromkeys(records.checked_text(title, "titles") for title in records.listed(titles, "titles"))
            )
        )
        values: dict[str, Value] = {}
        left_out = []
        for place in self._scopes(scope):
            if wanted is None:
                items = yield from place.search(None, {"status": "active"}, None)
                found = [item.value for item in items]
            else:
                found = [value for value in (yield from place.get_many(wanted)) if value is not None]
            for value in found:
                if value["title"] in values:
                    left_out.append(Left(value["title"], f"another scope than {place.name} has this title, too"))
                else:
                    values[value["title"]] = value
        missing = [title for title in wanted or () if title not in values]
        if missing:
            raise MemoryNotFound(f"there is no memory {missing[0]!r} to export; titles are exact, and list tells them")
        ordered = sorted(values.values(), key=lambda value: (value["created"], value["title"]))
        return [portable(value) for value in ordered], left_out

    # ----------------------------------------------------------------------------------------------------- importing

    def import_(
        self,
        path: PathLike,
        scope: str = "global",
        *,
        overwrite: bool = False,
        rename: bool = False,
        bind: bool = False,
        dry_run: bool = False,
    ) -> ImportResult:
        """Take over the memories of a bundle, of a memory's ``.md`` file, or of a folder of these.

        Returns what became of each. They are marked as imported, and no model is shown them before `approve`. What has
        the title of one that is there is skipped; ``overwrite`` replaces that, ``rename`` gives the new one another
        title. With ``bind``, what stands in them for the project's folder becomes this project's. ``dry_run`` changes
        nothing, and tells what would be done. What cannot be read, or is no memory, is told, and keeps nothing else
        out.
        """
        return self._run(self._import(path, scope, overwrite, rename, bind, dry_run))

    async def aimport_(
        self,
        path: PathLike,
        scope: str = "global",
        *,
        overwrite: bool = False,
        rename: bool = False,
        bind: bool = False,
        dry_run: bool = False,
    ) -> ImportResult:
        """Take over the memories of a bundle or a folder; see `import_`."""
        return await self._arun(self._import(path, scope, overwrite, rename, bind, dry_run))

    def _import(
        self, path: PathLike, scope: str, overwrite: bool, rename: bool, bind: bool, dry_run: bool
    ) -> Flow[ImportResult]:
        if overwrite and rename:
            raise ConfigError("overwrite and rename are two answers to one question; give one of them")
        root = self.project.root
        if bind and root is None:
            raise ConfigError("bind puts in the project's folder; give that, as in long_term(project='.')")
        place = self.scope(scope)
        source: Source = yield off_the_loop(partial(read_source, _path(path)))
        done = _Import(place, overwrite, rename, dry_run, self.settings.on_suspicious)
        done.skipped += source.empty
        done.failed += source.failed
        for candidate in source.candidates:
            yield from done.take(candidate if not bind or root is None else _bound(candidate, root))
        return done.result(source.warnings)


@dataclass
class _Import:
    """One import: what was done so far."""

    place: Scope
    overwrite: bool
    rename: bool
    dry_run: bool
    on_suspicious: str
    imported: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[Left] = field(default_factory=list)
    failed: list[Left] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def take(self, candidate: Candidate) -> Flow[None]:
        """Take over one memory; what is wrong with it is noted."""
        title = candidate.memory.title
        try:
            value = self._value(candidate.memory)
            if title in self.taken and not self.rename:
                self.skipped.append(Left(title, f"the title comes twice; this one, in {candidate.place}, is the later"))
                return
            yield from self._put(value)
        except (DataError, MemoryRefused) as error:
            self.failed.append(Left(title or candidate.place, str(error)))

    def _value(self, memory: Portable) -> Value:
        """Return the value to store; raises `DataError` for what is no memory."""
        title = records.checked_text(memory.title, "title")
        kind = records.checked_kind(memory.kind)
        body = records.checked_text(memory.body, "body")
        tags = records.checked_tags(list(memory.tags))
        value = new_value(title, kind, body, IMPORTED, clock.now())
        value.update(
            tags=tags,
            importance=records.checked_importance(memory.importance),
            category=records.optional_text(memory.category, "category"),
            review=True,
        )
        reasons = [] if self.on_suspicious == "store" else suspicions(title, body, tags)
        if reasons and self.on_suspicious == "refuse":
            raise DataError(f"it looks like an attack: {'; '.join(reasons)}")
        value["reason"] = held_for(reasons)
        return value

    def _put(self, value: Value) -> Flow[None]:
        title = value["title"]
        old = yield from self.place.get(title)
        if old is not None and all(old[name] == value[name] for name in ("kind", "body", "tags")):
            self.skipped.append(Left(title, "it is there already, and says the same"))
            return
        if (old is not None and self.rename) or title in self.taken:
            value = yield from self._renamed(value)
        elif old is not None and not self.overwrite:
            self.skipped.append(Left(title, f"{self.place.name} has a memory with this title"))
            return
        if not self.dry_run:
            yield from self._write(value, replaces=old is not None and self.overwrite)
        self.taken.add(value["title"])
        if value["title"] != title:
            self.renamed.append((title, value["title"]))
        (self.replaced if old is not None and not self.rename else self.imported).append(value["title"])

    def _renamed(self, value: Value) -> Flow[Value]:
        taken = {value["title"], *self.taken}
        while True:
            title = free_title(value["title"], taken)
            if (yield from self.place.get(title)) is None:
                return {**value, "title": title}
            taken.add(title)

    def _write(self, value: Value, replaces: bool) -> Flow[None]:
        title = value["title"]

        def written(old: Value | None) -> Value:
            if old is not None and not replaces:
                raise MemoryExists(f"somebody wrote a memory {title!r} in {self.place.name} meanwhile")
            return value if old is None else {**value, "created": old["created"]}

        stone = yield from tombstone(self.place, title)
        yield from self.place.change(title, written)
        yield from lift(self.place, title, stone)

    def result(self, warnings: list[str]) -> ImportResult:
        """Return what became of all."""
        return ImportResult(
            self.place.name,
            tuple(self.imported),
            tuple(self.replaced),
            tuple(self.renamed),
            tuple(self.skipped),
            tuple(self.failed),
            tuple(warnings),
            self.dry_run,
        )


def _bound(candidate: Candidate, root: Path) -> Candidate:
    """Return a memory in which the project's folder stands again where it stood."""

    def put_in(text: str) -> str:
        for placeholder in PLACEHOLDERS:
            text = text.replace(placeholder, root.as_posix())
        return text

    memory = candidate.memory
    return candidate._replace(memory=replace(memory, title=put_in(memory.title), body=put_in(memory.body)))


def _path(given: Any) -> Path:
    if not isinstance(given, (str, os.PathLike)) or not str(given):
        raise ConfigError(f"a path names a file or a folder, not {given!r}")
    return Path(given).expanduser().absolute()
