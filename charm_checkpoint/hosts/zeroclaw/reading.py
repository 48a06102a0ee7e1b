"""ZeroClaw's own memories, read: its SQLite file ``brain.db``, of any version, and its two kinds of Markdown files."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from pathlib import Path
from typing import Any, Final

from charm_checkpoint.errors import ConfigError, StoreCorrupt
from charm_checkpoint.long_term.ages import PINNED

_PLACES: Final = ("memory/brain.db", "brain.db", "workspace/memory/brain.db", "data/memory/brain.db")
_FRACTION = re.compile(r"(\.\d{6})\d+")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\D.*)?")
_ENTRY = re.compile(r"- \*\*(?P<key>.+?)\*\*: (?P<content>.*)")
_EVERY: Final = "default"
"""The namespace, and the agent, of memories that are of none in particular."""


@dataclass(frozen=True, slots=True)
class ZeroClawRow:
    """One memory of ZeroClaw's, with all that its files say of it; ``superseded``: it was hidden by a later one."""

    key: str
    content: str
    category: str
    created: datetime
    updated: datetime
    session: str | None = None
    importance: float | None = None
    tags: tuple[str, ...] = ()
    superseded: bool = False


def read_zeroclaw(path: str | os.PathLike[str]) -> list[ZeroClawRow]:
    """Return the memories of a ``brain.db``, of a Markdown file, or of ZeroClaw's folder: of both then, if it has both.

    Nothing is written there, also while ZeroClaw runs. Raises `ConfigError` where there are none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return list(_markdown(place)) if place.suffix.lower() == ".md" else list(_database(place))
    found = [place / name for name in _PLACES if (place / name).is_file()]
    rows = [row for file in found[:1] for row in _database(file)]
    notes = [file for base in (place, place / "workspace") for file in _notes(base)]
    rows += [row for file in notes for row in _markdown(file)]
    if not found and not notes:
        raise ConfigError(
            f"{place} holds no memories of ZeroClaw's: name its brain.db, a MEMORY.md, or the folder that has them"
        )
    return _distinct(rows)


def _distinct(rows: list[ZeroClawRow]) -> list[ZeroClawRow]:
    """Return each key once: Markdown files are only ever added to, so what comes last counts."""
    return list({row.key: row for row in sorted(rows, key=lambda row: row.updated)}.values())


# ---------------------------------------------------------------------------------------------------------- brain.db


def _database(file: Path) -> Iterator[ZeroClawRow]:
    uri = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA trusted_schema = OFF")
            views = "SELECT 1 FROM sqlite_master WHERE type = 'view' AND lower(name) IN ('memories', 'agents')"
            if connection.execute(views).fetchone():  # it may be anything, without end, too
                raise ConfigError(f"{file} has no memories of ZeroClaw's: its tables are views")
            aliases = _aliases(connection)
            rows = connection.execute("SELECT * FROM memories ORDER BY updated_at").fetchall()
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{file} cannot be read as ZeroClaw's memories: {error}") from error
    several = _of_several([dict(row) for row in rows])
    for row in map(dict, rows):
        yield _row(file, row, aliases, several)


def _aliases(connection: sqlite3.Connection) -> dict[str, str]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'agents'").fetchone():
        return {}
    return dict(connection.execute("SELECT id, alias FROM agents").fetchall())


def _of_several(rows: list[dict[str, Any]]) -> set[str]:
    """Return the keys that several agents have."""
    seen: dict[str, int] = {}
    for row in rows:
        seen[row["key"]] = seen.get(row["key"], 0) + 1
    return {key for key, count in seen.items() if count > 1}


def _row(file: Path, row: Mapping[str, Any], aliases: Mapping[str, str], several: set[str]) -> ZeroClawRow:
    agent = aliases.get(row.get("agent_id") or "", row.get("agent_id") or _EVERY)
    namespace = row.get("namespace") or _EVERY
    tags = [
        *([f"namespace:{namespace}"] if namespace != _EVERY else []),
        *([f"agent:{agent}"] if agent != _EVERY else []),
        *([PINNED] if row.get("pinned") else []),
    ]
    try:
        return ZeroClawRow(
            key=f"{agent}/{row['key']}" if row["key"] in several and agent != _EVERY else row["key"],
            content=row["content"],
            category=row["category"] or "core",
            created=moment(row["created_at"]),
            updated=moment(row["updated_at"]),
            session=row.get("session_id") or None,
            importance=_importance(row.get("importance")),
            tags=tuple(tags),
            superseded=bool(row.get("superseded_by")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreCorrupt(f"{file}: the memory {row.get('key')!r} cannot be read: {error}") from error


def _importance(value: Any) -> float | None:
    return None if value is None else min(max(float(value), 0.0), 1.0)


def moment(text: str) -> datetime:
    """Return a time of ZeroClaw's, which it writes in its own zone and to the nanosecond; without a zone it is UTC."""
    found = datetime.fromisoformat(_FRACTION.sub(r"\1", text.strip()).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


# ---------------------------------------------------------------------------------------------------------- Markdown


def _notes(base: Path) -> list[Path]:
    """Return the Markdown files of a folder, without those that are in Cantrip's format, which are not ZeroClaw's."""
    files = [base / "MEMORY.md", *sorted((base / "memory").glob("*.md"))]
    return [file for file in files if file.is_file() and not _has_front_matter(file)]


def _has_front_matter(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(16).lstrip(b"\xef\xbb\xbf").startswith(b"---")


def _markdown(file: Path) -> Iterator[ZeroClawRow]:
    """Yield the entries of a file, whose lines after an entry's own belong to it."""
    changed = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    day = _DAY.fullmatch(file.stem)
    created = _begin(day[1]) if day else changed
    category = "core" if file.name == "MEMORY.md" else "daily"
    number, key, lines = 0, "", list[str]()
    for line in [*file.read_text("utf-8", "replace").splitlines(), "- "]:
        entry = _ENTRY.fullmatch(line)
        plain = line.startswith("- ") or (not lines and line.strip() != "")
        if line.startswith("#") or entry or plain:
            if content := "\n".join(lines).strip():
                yield ZeroClawRow(key, content, category, created, min(created, changed) if day is None else created)
            lines = []
        if entry:
            number, key, lines = number + 1, entry["key"], [entry["content"]]
        elif plain and not line.startswith("#"):
            number += 1
            key, lines = f"{file.stem}:{number}", [line.removeprefix("- ")]
        elif lines:
            lines.append(line)


def _begin(day: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(day), time.min, timezone.utc)
    except ValueError:  # 2026-02-31
        return datetime.fromtimestamp(0, timezone.utc)
