"""Files that people write, YAML and TOML: how large and how deep they may be, before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from charm_checkpoint.errors import ConfigError

MOST_BYTES = 1 << 20
"""Bytes of a file of settings."""
MOST_NODES, DEEPEST = 100_000, 100
"""Values in it, each alias counted as all that it stands for; and how deep they may be in each other."""


def read_bounded(file: Path) -> bytes:
    """Return a file's bytes; raises `ConfigError` where it is too large, `OSError` as reading does."""
    with file.open("rb") as opened:
        data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{file} is larger than {MOST_BYTES:,} bytes, which no file of settings is.")
    return data


def plain_yaml(data: bytes, file: Path) -> Any:
    """Return what some YAML says; raises `ConfigError` for more than settings, and yaml's own errors for no YAML.

    An alias costs a few bytes and stands for as much as one likes, aliases of aliases among it: they are counted as
    what they stand for.
    """
    import yaml

    _check(yaml, yaml.parse(data, Loader=yaml.SafeLoader), file)
    try:
        return yaml.safe_load(data)
    except yaml.YAMLError:
        raise
    except (ValueError, OverflowError, RecursionError) as error:  # such as a day that no calendar has
        raise ConfigError(f"{file} has a value that cannot be ({type(error).__name__}).") from None


def _check(yaml: Any, events: Iterator[Any], file: Path) -> None:
    sizes: dict[str, int] = {}
    open_ones: list[tuple[str | None, int]] = []
    count = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ConfigError(f"{file}: the alias *{event.anchor[:40]} is of nothing that is whole before it.")
            count += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_ones.append((event.anchor, count - 1))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_ones.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        if count > MOST_NODES or len(open_ones) > DEEPEST:
            raise ConfigError(
                f"{file} comes to more than {MOST_NODES:,} values, or to more than {DEEPEST} levels: no settings do."
            )


def plain_toml(loads: Callable[[str], Any], text: str, file: Path) -> Any:
    """Return what some TOML says; raises `ConfigError` where it is nested too deep, and ValueError for no TOML."""
    try:
        return loads(text)
    except RecursionError:
        raise ConfigError(f"{file} is nested deeper than settings are.") from None
