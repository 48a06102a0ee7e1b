"""Former names of classes and modules, as the program registered them, and which of them a stored name needs."""

from __future__ import annotations

import re
from collections.abc import Collection

from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import is_registered, name_of, registered, registered_names, unnamed
from charm_checkpoint.values.serde.moved_modules import moved_names, moves
from charm_checkpoint.values.serde.program_names import own_path

_PARTS = re.compile(r"[\[\],]")


def aliases() -> dict[str, str]:
    """Return the names that `register_type` and `register_moved` were told, and what each stands for now."""
    classes = {
        name: path_of(cls)
        for name in sorted(registered_names())
        if (cls := registered(name)) is not None and is_registered(cls) and name != name_of(cls)
        if name != own_path(cls) or name_of(cls) != unnamed(cls)  # else `register_type` added it
    }
    return classes | dict(sorted(moves().items()))


def used(former: str, known: Collection[str]) -> set[str]:
    """Return those of some former names that a stored one is found by.

    They may name it as a whole, its outer class, its module or a package above, or the same of an argument.
    """
    found = set()
    for part in _PARTS.split(former):
        name = _longest(part, known) if ":" in part else None
        if name is not None and ":" in name:
            found.add(name)
            continue
        module = part.partition(":")[0]
        for each in (module, *moved_names(module)):
            name = _longest(each, known)
            if name is not None:
                found.add(name)
    return found


def _longest(name: str, known: Collection[str]) -> str | None:
    """Return a name that is known, or else the longest known one that it begins with."""
    while name:
        if name in known:
            return name
        name = name.rpartition(".")[0]
    return None
