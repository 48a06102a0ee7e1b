"""Modules of the program that were renamed or moved: `register_moved`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from charm_checkpoint.errors import ConfigError

_moves: dict[str, str] = {}
"""Former name of a module or package: the present one."""


def add_move(old: str, new: str) -> None:
    """Register a move; raises ConfigError for one that cannot be."""
    for name in (old, new):
        if type(name) is not str or not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(
                f"register_moved takes two names of modules, such as 'shop.models' and 'shop.orders'; given was "
                f"{name!r}. A single class is renamed by register_type(cls, aliases=['module:Class'])."
            )
    if _moves.get(old, new) != new:
        raise ConfigError(f"{old} is registered as moved to {_moves[old]}; it cannot have moved to {new}, too.")
    moves = {**_moves, old: new}
    circle = old if old == new else next((each for each in moves if len(_path(each, moves)) > len(moves)), None)
    if circle is not None:
        raise ConfigError(f"{old} cannot have moved to {new}: {circle} would come back to where it was.")
    _moves[old] = new


def _path(module: str, moves: Mapping[str, str]) -> list[str]:
    """Return the names that a module has had since, one after the other; one more than there are moves of a circle."""
    names: list[str] = []
    while len(names) <= len(moves) and (following := _step(module, moves)) is not None:
        names.append(following)
        module = following
    return names


def _step(module: str, moves: Mapping[str, str]) -> str | None:
    """Return the name that a module got by its last known move, None if it was not moved."""
    parts = module.split(".")
    for size in range(len(parts), 0, -1):
        old = ".".join(parts[:size])
        new = moves.get(old)
        # What moved below itself, pkg to pkg.core, is there already.
        if new is not None and not (new.startswith(f"{old}.") and f"{module}.".startswith(f"{new}.")):
            return ".".join([new, *parts[size:]])
    return None


def moved_names(module: str) -> Sequence[str]:
    """Return the names that a module has had since, one after the other; none if it was not moved."""
    return _path(module, _moves) if _moves else ()


def moves() -> Mapping[str, str]:
    """Return the present name of each module and package that is registered as moved, by its former one."""
    return _moves
