"""Writing bundles, and folders with a file for each memory; these functions block."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from charm_checkpoint.errors import ConfigError, DataError
from charm_checkpoint.long_term.bundles.portable import Cleaner, ExportResult, Left, Portable
from charm_checkpoint.long_term.bundles.skill import render
from charm_checkpoint.long_term.markdown import format, front_matter
from charm_checkpoint.long_term.markdown.file_names import SUFFIX, file_name, slug
from charm_checkpoint.long_term.markdown.folder import read_file
from charm_checkpoint.long_term.whole_files import put_file

SKILL = "SKILL.md"
_LONGEST = 255


def write_skill(
    name: str,
    path: Path,
    memories: Sequence[Portable],
    whence: str,
    cleaner: Cleaner,
    left_out: Sequence[Left],
    overwrite: bool,
) -> ExportResult:
    """Write a bundle: the file ``path``, if that ends in ``.md``, else ``path/<name>/SKILL.md``."""
    name = cleaner.text(name, "name of the bundle")
    target = path if path.suffix.lower() == SUFFIX else path / slug(name) / SKILL
    cleaned = cleaner.memories(list(memories))
    count = f"{len(cleaned)} {'memory' if len(cleaned) == 1 else 'memories'}"
    text = render(name, f"Memory bundle: {count} from {whence}", cleaned)
    if (
        len(target.name.encode("utf-8", "replace")) > _LONGEST
        or len(target.parent.name.encode("utf-8", "replace")) > _LONGEST
    ):
        raise ConfigError(f"a bundle has a name of at most {_LONGEST} bytes")
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; name a file, or the folder above")
    if not overwrite and os.path.lexists(target):
        raise ConfigError(f"{target} is there already; choose another name or path, or replace it: overwrite=True")
    put_file(target, front_matter.encoded(text))
    return _result(target, cleaned, cleaner, left_out)


def write_markdown(
    folder: Path, memories: Sequence[Portable], cleaner: Cleaner, left_out: Sequence[Left], overwrite: bool
) -> ExportResult:
    """Write a file for each memory into a folder; a file of another title is never replaced."""
    cleaned = cleaner.memories(list(memories))
    files: dict[str, bytes] = {}
    is_others = _others(folder)
    for memory in cleaned:
        is_taken = _taken(memory.title, files, is_others)
        files[file_name(memory.title, is_taken)] = format.write(
            format.MemoryFile(
                memory.title,
                memory.kind,
                memory.body,
                memory.source,
                created=memory.created,
                updated=memory.updated,
                tags=memory.tags,
                importance=memory.importance,
                category=memory.category,
            )
        )
    there = [name for name in files if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise ConfigError(
            f"{folder} has {_some(there)} already; nothing was written. Choose another folder, or replace what has the "
            "same title: overwrite=True"
        )
    for name, data in files.items():
        put_file(folder / name, data)
    return _result(folder, cleaned, cleaner, left_out)


def _result(path: Path, cleaned: Sequence[Portable], cleaner: Cleaner, left_out: Sequence[Left]) -> ExportResult:
    return ExportResult(path, tuple(each.title for each in cleaned), tuple(cleaner.findings), tuple(left_out))


def _taken(title: str, files: dict[str, bytes], is_others: Callable[[str, str], bool]) -> Callable[[str], bool]:
    return lambda name: name in files or is_others(name, title)


def _others(folder: Path) -> Callable[[str, str], bool]:
    """Return what tells whether a file of this name is there whose memory has another title."""
    names: dict[str, list[str]] = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for there in os.listdir(folder):
            names.setdefault(there.lower(), []).append(there)

    def is_others(name: str, title: str) -> bool:
        for there in names.get(name, ()):
            try:
                if format.read(read_file(folder / there, format.MAX_BYTES, folder)[0]).title != title:
                    return True
            except (DataError, FileNotFoundError):
                return True
        return False

    return is_others


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
