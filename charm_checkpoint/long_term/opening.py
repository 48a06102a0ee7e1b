"""Opening durable memories: from what a program gives to scopes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from charm_checkpoint.config.options import suggest
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.items.handed_out import HandedOut
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.parts import ALIASES, no_shared_scope
from charm_checkpoint.long_term.project import Project, project_of
from charm_checkpoint.long_term.scope import FIELDS, Scope
from charm_checkpoint.long_term.settings import Settings
from charm_checkpoint.store import Store

OF_A_PROJECT: Final = ("project", "shared")
"""The scopes that belong to a project, whose files they may cite."""


def open_long_term(
    handed_out: HandedOut,
    open_memory: Callable[[Any], Any],
    project: str | os.PathLike[str] | Project | None,
    scopes: Mapping[str, Any] | None,
    embed: Any,
    dims: int | None,
    settings: Mapping[str, Any],
) -> LongTermMemory:
    """Return the memories that `charm_checkpoint.Memory.long_term` was asked for."""
    known = list(Settings.__dataclass_fields__)
    for name in settings:
        if name not in known:
            raise ConfigError(f"long_term has no setting {name!r}; {suggest(name, known)}")
    opener = _Opener(handed_out, open_memory, project_of(project), _index(embed, dims), Settings(**settings))
    return opener.open(_places(scopes, opener.project))


class _Opener:
    """Makes scopes of what a program says of them."""

    def __init__(
        self,
        handed_out: HandedOut,
        open_memory: Callable[[Any], Any],
        project: Project,
        index: Mapping[str, Any],
        settings: Settings,
    ) -> None:
        self._handed_out = handed_out
        self._open_memory = open_memory
        self.project = project
        self._index = index
        self._settings = settings
        self._owned: list[Store] = []

    def open(self, places: Mapping[str, Any]) -> LongTermMemory:
        """Return the memories in these places."""
        try:
            made = {name: self._scope(name, place) for name, place in places.items()}
            return LongTermMemory(made, self.project, self._settings, self._owned)
        except BaseException:
            for store in self._owned:
                store.close()
            raise

    def _scope(self, name: str, place: Any) -> Scope:
        if place is True:
            if name == "project":
                return self._in_store(name, self._items(self._handed_out), "this store")
            return self._in_folder(name, None)
        if isinstance(place, tuple):
            return self._in_store(name, self._items(self._handed_out), f"this store, below {place}", place)
        if isinstance(place, str) and "://" in place:
            place = self._open_memory(place)
            self._owned.append(place.store)
        if isinstance(place, (str, os.PathLike)):
            return self._in_folder(name, place)
        handed_out = getattr(place, "_handed_out", None)
        if not isinstance(handed_out, HandedOut):
            raise ConfigError(
                f"scopes: {name!r} is True, False, a tuple of labels, a URL, a folder, or what open_memory returned, "
                f"not {place!r}"
            )
        return self._in_store(name, self._items(handed_out), repr(place))

    def _in_store(self, name: str, store: CharmStore, where: str, owner: tuple[str, ...] | None = None) -> Scope:
        cites = name in OF_A_PROJECT
        if owner is None:
            owner = (name, self.project.name) if cites else (name,)
        return Scope(name, store, owner, cites=cites, reviews=self._reviews(name), where=where)

    def _in_folder(self, name: str, folder: str | os.PathLike[str] | None) -> Scope:
        from charm_checkpoint.long_term.markdown.opening import open_folder  # only for who has such scopes

        opened: tuple[Scope, Store] = open_folder(name, folder, self.project, self._index, reviews=self._reviews(name))
        self._owned.append(opened[1])
        return opened[0]

    def _reviews(self, name: str) -> bool:
        return name == "shared" and not self._settings.trust_shared

    def _items(self, handed_out: HandedOut) -> CharmStore:
        return handed_out.items(self._index, None, "wait", {})


def _index(embed: Any, dims: int | None) -> dict[str, Any]:
    index: dict[str, Any] = {"fields": list(FIELDS)}
    if embed is None:
        if dims is not None:
            raise ConfigError("dims is the length of a model's vectors: give the model as embed, or leave dims out")
        return index
    return {**index, "embed": embed, "dims": dims, "search": "hybrid"}


def _places(scopes: Mapping[str, Any] | None, project: Project) -> dict[str, Any]:
    """Return where each scope is, in the order in which they are asked."""
    if scopes is not None and not isinstance(scopes, Mapping):
        raise ConfigError(f"scopes says for each scope where it is, as in {{'global': False}}, not {scopes!r}")
    places: dict[str, Any] = {"project": True, "shared": project.root is not None, "global": True}
    for name, place in (scopes or {}).items():
        if not isinstance(name, str) or not name:
            raise ConfigError(f"scopes: a scope has a name, not {name!r}")
        places[ALIASES.get(name, name)] = place
    if places["shared"] is True and project.root is None:
        raise no_shared_scope()
    return {name: place for name, place in places.items() if place is not None and place is not False}
