"""Which names a program may give its classes: none that is another class's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.values.serde.classes import (
    BUILTINS,
    name_of,
    other_of_name,
    owner_of,
    registered,
    registered_names,
)
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES
from charm_checkpoint.values.serde.program_names import is_same_class, own_path

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+\Z")


def check_names(cls: type, name: str, aliases: Sequence[str]) -> None:
    """Raise ConfigError for a name that belongs to another class, or that no class was stored under."""
    if isinstance(aliases, str):
        raise ConfigError(f"aliases of {own_path(cls)} are a list, such as [{aliases!r}]; given was one text.")
    for each in (name, *aliases):
        if type(each) is not str or not each:
            raise ConfigError(f"A name of {own_path(cls)} is text, such as 'shop:Order'; given was {each!r}.")
        _check_free(cls, each)
    # Who chose a name without a colon may have chosen another one before, which is no path.
    for alias in aliases if ":" in name else ():
        spelled = ":".join(alias.rpartition(".")[::2])
        if _DOTTED.match(alias) and not _is_given(spelled, aliases):
            raise ConfigError(
                f"No class was stored as {alias!r}, unless that was its name= once: a class of a module is stored with "
                f"a colon before its name, as {spelled!r}. Write that; if {alias!r} was a name=, give both."
            )


def _is_given(spelled: str, aliases: Sequence[str]) -> bool:
    """Say whether a path is among some names, wherever its colon stands: a class may be inside another."""
    return any(":" in each and each.replace(":", ".") == spelled.replace(":", ".") for each in aliases)


def _check_free(cls: type, name: str) -> None:
    if name in SHORT_NAMES or name in BUILTINS:
        raise ConfigError(f"The name {name!r} is reserved; choose another one, such as 'myapp.{cls.__name__}'.")
    other = registered(name)
    # The same module and qualified name again is the same class, re-executed in a notebook or reloaded.
    if other is not None and not is_same_class(other, cls):
        raise ConfigError(f"The name {name!r} is already registered for {own_path(other)}; choose another one.")
    other = owner_of(name) or other_of_name(cls, name)
    if other is not None and not is_same_class(other, cls):
        raise ConfigError(
            f"What is stored as {name!r} is of another class, {own_path(other)}. Remove that class, or first give it "
            f"a name of its own: register_type({other.__name__}, name=…)."
        )


def check_moved(old: str, new: str) -> None:
    """Raise ConfigError for a move that would take the name of a registered class."""
    for name in registered_names():
        module, _, rest = name.partition(":")
        cls = registered(name)
        if cls is None or not rest or not f"{module}.".startswith(f"{old}.") or name_of(cls) != name:
            continue
        other = owner_of(f"{new}{module[len(old) :]}:{rest}")
        if other is not None and not is_same_class(other, cls):
            raise ConfigError(
                f"{old} cannot have moved to {new}: {name} is registered, and {own_path(other)} another class. Give "
                f"the first a name of its own, register_type({cls.__name__}, name=…), or rename the second by an alias."
            )
