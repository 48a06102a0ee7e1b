"""Reading what may be taken over: a bundle, a memory's file, or a folder of these; this blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from charm_checkpoint.errors import ConfigError, DataError
from charm_checkpoint.long_term.bundles.portable import Left, Portable
from charm_checkpoint.long_term.bundles.skill import parse
from charm_checkpoint.long_term.bundles.writing import SKILL
from charm_checkpoint.long_term.markdown import format, front_matter
from charm_checkpoint.long_term.markdown.file_names import SUFFIX
from charm_checkpoint.long_term.markdown.folder import is_memory, read_file

MAX_BYTES = 16 << 20
"""How large a bundle may be."""
MAX_FILES = 20_000
"""Of how many files a folder's memories are taken."""


class Candidate(NamedTuple):
    """A memory that may be taken over, and the file that it is in."""

    memory: Portable
    place: str


@dataclass
class Source:
    """What a path holds: memories, files that hold none, files that are wrong, and what is odd about others."""

    candidates: list[Candidate] = field(default_factory=list)
    empty: list[Left] = field(default_factory=list)
    failed: list[Left] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_source(path: Path) -> Source:
    """Return what is at a path: a ``.md`` file, or a folder of them and of bundles in folders of their own.

    Raises `ConfigError` where nothing of this kind is.
    """
    source = Source()
    if path.is_dir():
        try:
            names = list(_files(path))
        except OSError as error:
            raise ConfigError(f"the folder {path} cannot be read: {error.strerror}") from error
        if len(names) > MAX_FILES:
            raise ConfigError(f"{path} has {len(names)} files, {MAX_FILES} are the most; take over a part at a time")
        for name in names:
            _add(source, path, name)
    elif not os.path.lexists(path):
        raise ConfigError(f"there is no {path}; name a SKILL.md, a memory's .md file, or a folder of them")
    elif path.suffix.lower() != SUFFIX:
        raise ConfigError(f"{path} is neither a folder nor a .md file")
    else:
        _add(source, path.parent, path.name)
    return source


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of files that may hold memories: the bundle first, then memories, then bundles in folders."""
    names = sorted(os.listdir(folder))
    if SKILL in names:
        yield SKILL
    yield from (name for name in names if is_memory(name) and name != SKILL and not (folder / name).is_dir())
    for name in names:
        below = folder / name
        if not name.startswith(".") and below.is_dir() and not below.is_symlink() and (below / SKILL).is_file():
            yield os.path.join(name, SKILL)


def _add(source: Source, folder: Path, name: str) -> None:
    try:
        data, _ = read_file(folder / name, MAX_BYTES, folder)
        found = _memories(source, data, name)
    except DataError as error:
        source.failed.append(Left(name, str(error)))
    except FileNotFoundError:
        source.failed.append(Left(name, "it was removed while the folder was read"))
    else:
        source.candidates += [Candidate(memory, name) for memory in found]
        if not found:
            source.empty.append(Left(name, "it holds no memories"))


def _memories(source: Source, data: bytes, name: str) -> list[Portable]:
    text, body = front_matter.split(front_matter.decoded(data))
    head = {} if text is None else front_matter.parsed(text)
    if head.get("title"):
        memory = format.read(data if "kind" in head else _as_fact(head, body))
        kind = str(head.get("kind", memory.kind)).strip().lower()
        return [Portable(memory.title, kind, memory.body, memory.tags, memory.importance, memory.category)]
    bundle = parse(head, body)
    if bundle.changed:
        source.warnings.append(f"{name} was changed since it was exported: its checksum is of something else")
    return bundle.memories


def _as_fact(head: dict[object, object], body: str) -> bytes:
    """Return the file of a memory whose kind nobody has written: Cantrip takes it for a fact."""
    return front_matter.joined({**head, "kind": "fact"}, body)
