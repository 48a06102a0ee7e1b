"""Options that other programs put into a store's URL, as hosts' dashboards print them.

A store says in its ``FOREIGN`` what it makes of each: nothing, where it is of no use here, or an
option of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from charm_checkpoint.config.options import Option
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.moved import renamed

log = logging.getLogger("charm_checkpoint")

_told: set[str] = set()

__getattr__ = renamed(__name__, {"Foreign": "ForeignOption"})


@dataclass(frozen=True, slots=True)
class ForeignOption:
    """What becomes of another program's option.

    ``to`` is the option of ours that says the same, "" where there is nothing to say. ``values``
    tells what its values, in small letters, are called here; another one is kept, or refused if
    there is ``advice``, which says what to write.
    """

    to: str = ""
    values: Mapping[str, str] = field(default_factory=dict, hash=False)
    advice: str = ""


def adopt(
    foreign: Mapping[str, ForeignOption], given: Mapping[str, Any], schema: Iterable[Option], where: str
) -> dict[str, Any]:
    """Return what was given with the options of other programs left out or in our words; each is told once.

    An option of the store's own goes before another program's of the same meaning, and of two such the one given first.
    """
    own = {option.name for option in schema}
    adopted = {name: value for name, value in given.items() if name in own or name not in foreign}
    for name in [name for name in given if name not in adopted]:
        found = foreign[name]
        value = found.values.get(str(given[name]).strip().lower(), None if found.advice else given[name])
        if value is None:
            raise ConfigError(f"{where}: option {name!r} is another program's: {found.advice}")
        if not found.to:
            tell_once(f"{where}: the option {name} is another program's and not needed here; it is ignored")
        elif value != "":
            adopted.setdefault(found.to, value)
            tell_once(f"{where}: the option {name} is another program's; it is taken for {found.to}")
    return adopted


def tell_once(text: str) -> None:
    """Log a warning the first time that this process has it to say."""
    if text not in _told:
        _told.add(text)
        log.warning(text)
