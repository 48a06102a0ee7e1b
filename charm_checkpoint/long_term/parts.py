"""What all methods of durable memories rest on: scopes, the project, settings, and how flows are run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

from charm_checkpoint.config.options import suggest
from charm_checkpoint.errors import AmbiguousMemory, ConfigError, MemoryNotFound
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import time_of
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.plain_text import one_line
from charm_checkpoint.long_term.project import Project
from charm_checkpoint.long_term.records import Value, checked_text, entry_of, listed
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.settings import Settings

T = TypeVar("T")

ALIASES: Final = {"charm": "project"}
"""Other words for scopes: Cantrip calls the agent's own so."""

_QUOTED: Final = 60


class LongTermParts:
    """The parts of durable memories."""

    scopes: Mapping[str, Scope]
    project: Project
    settings: Settings

    def now(self) -> datetime:
        """Return the date by which memories are stamped and grow old."""
        return time_of(clock.now())

    def _run(self, flow: Flow[T]) -> T:
        return steps.run(flow)

    async def _arun(self, flow: Flow[T]) -> T:
        return await steps.arun(flow)

    def scope(self, name: str) -> Scope:
        """Return a scope by its name; raises `ConfigError`, which names those that there are."""
        if not isinstance(name, str):
            raise ConfigError(f"a scope is named by a text, not {type(name).__name__}; known: {', '.join(self.scopes)}")
        known = ALIASES.get(name, name)
        if known in self.scopes:
            return self.scopes[known]
        if known == "shared" and self.project.root is None:
            raise no_shared_scope()
        raise ConfigError(f"there is no scope {name!r}; {suggest(name, self.scopes)}")

    def _scopes(self, names: str | Iterable[str] | None) -> list[Scope]:
        """Return scopes by their names, each once; all for None."""
        if names is None:
            return list(self.scopes.values())
        return list(dict.fromkeys(self.scope(name) for name in listed(names, "scope")))

    def _found(self, title: str, scope: str | Iterable[str] | None) -> Flow[list[tuple[Scope, Value]]]:
        """Return the memories with a title, and where they are."""
        checked_text(title, "title")
        found = []
        for each in self._scopes(scope):
            value = yield from each.get(title)
            if value is not None:
                found.append((each, value))
        return found

    def _the_one(self, title: str, scope: str | Iterable[str] | None) -> Flow[tuple[Scope, Value]]:
        """Return the memory with a title; raises `MemoryNotFound`, and `AmbiguousMemory` if there are several."""
        found = yield from self._found(title, scope)
        if not found:
            raise not_found(title, self._scopes(scope))
        if len(found) > 1:
            raise ambiguous(title, found)
        return found[0]


def no_shared_scope() -> ConfigError:
    """Return the error for the shared scope of a project of which no folder is known."""
    return ConfigError(
        "the shared scope is a folder of the project: give it, as in long_term(project='.') or --project ."
    )


def not_found(title: str, scopes: Sequence[Scope]) -> MemoryNotFound:
    """Return the error for a title that no scope has."""
    names = ", ".join(scope.name for scope in scopes)
    return MemoryNotFound(f"there is no memory {title!r} in {names}; titles are exact, and list tells them")


def ambiguous(title: str, found: Sequence[tuple[Scope, Value]]) -> AmbiguousMemory:
    """Return the error for a title that several scopes have, which shows each."""
    entries = tuple(entry_of(value, scope.name) for scope, value in found)
    shown = "; ".join(f"in {entry.scope}: a {entry.kind}, {one_line(entry.body, _QUOTED)!r}" for entry in entries)
    return AmbiguousMemory(
        f"the title {title!r} is ambiguous ({shown}); name the scope, as in scope={entries[0].scope!r}", entries=entries
    )
