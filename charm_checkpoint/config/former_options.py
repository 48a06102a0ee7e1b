"""Options under their former names, and options that are to go: both work until version 1.0, and say so.

Code that names one in a call is told by a `DeprecationWarning` at that call. Whoever wrote a URL or a
config sees no warnings of Python, and is told in the log, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from charm_checkpoint.config.foreign_options import tell_once
from charm_checkpoint.config.options import Option
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.moved import LAST, warn_caller


def present_options(
    given: Mapping[str, Any], keywords: Mapping[str, Any], schema: Iterable[Option], where: str
) -> dict[str, Any]:
    """Return what was given with former names replaced by the present ones.

    ``keywords`` are those of it that code gave in the call. Raises `ConfigError` where an option is
    given under both its names, wherever each of them stands.
    """
    options = {option.name: option for option in schema}
    former = {name: option.name for option in options.values() for name in option.former if name not in options}
    found = dict(given)
    for name in given:
        if name in former:
            if former[name] in found:
                raise ConfigError(f"{where}: {name} is the former name of {former[name]}: give one of the two")
            found[former[name]] = found.pop(name)
            _say(f"{where}: the option {name} is {former[name]} now; the former name goes", name in keywords)
        elif name in options and options[name].instead:
            _say(f"{where}: give {options[name].instead} instead of the option {name}, which goes", name in keywords)
    return found


def _say(text: str, in_code: bool) -> None:
    text = f"{text} in version {LAST}."
    if in_code:
        warn_caller(text)
    else:
        tell_once(text)
