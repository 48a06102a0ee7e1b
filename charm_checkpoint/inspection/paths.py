"""Paths into a state, as text: ``user.address[0]``, ``messages[-1].content``, ``tally['a.b']``."""

from __future__ import annotations

import re
from typing import Any

from charm_checkpoint.errors import ConfigError, PathNotFound, PathPart, format_path

Path = tuple[PathPart, ...]

_STEP = re.compile(
    r"""\[(?P<number>-?[0-9]+)\]|\[(?P<quote>['"])(?P<quoted>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\]|\.?(?P<name>[^.\[\]]+)"""
)
_ESCAPED = re.compile(r"\\(.)")


def parsed(path: str | Path) -> Path:
    """Return a path's steps; raises `ConfigError` for what is no path."""
    if isinstance(path, (tuple, list)) and all(isinstance(step, (str, int)) for step in path):
        return tuple(path)
    if not isinstance(path, str):
        raise ConfigError(f"a path is a text, as messages[-1].content, or a tuple of its steps, not {path!r:.80}")
    steps: list[PathPart] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise ConfigError(
                f"{path!r} is no path into a state: write it as user.name, messages[-1].content, or tally['a.b']"
            )
        if found["number"] is not None:
            steps.append(int(found["number"]))
        else:
            steps.append(found["name"] or _ESCAPED.sub(r"\1", found["quoted"]))
        at = found.end()
    return tuple(steps)


def at_path(value: Any, path: Path, where: Path = ()) -> Any:
    """Return what stands at a path in a plain value; raises `PathNotFound`, which names the step that leads nowhere."""
    for number, step in enumerate(path):
        try:
            value = value[_index(value, step)]
        except (LookupError, TypeError):
            shown = format_path((*where, *path[: number + 1]))
            raise PathNotFound(f"Nothing stands at {shown}: {_held(value)}.") from None
    return value


def _index(value: Any, step: PathPart) -> Any:
    if type(value) is list and type(step) is str and step.lstrip("-").isdecimal():
        return int(step)
    return str(step) if type(value) is dict else step


def _held(value: Any) -> str:
    if type(value) is dict:
        names = ", ".join(map(repr, list(value)[:12]))
        return f"there are {names}{', …' if len(value) > 12 else ''}" if value else "it is an empty dict"
    if type(value) is list:
        return f"the list has {len(value)} elements"
    return f"what is there is {type(value).__name__}, and holds nothing by name"
