"""What a memory is: its record, and the value that an item holds of it; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timezone
from typing import Any, Final, TypeAlias

from charm_checkpoint.config.options import suggest
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.items.results import stamp_of, time_of

KINDS: Final = ("fact", "rule", "lesson")
"""What a memory may be: neutral information, a constraint to keep to, something learned from a mistake."""
STATUSES: Final = ("active", "quarantined", "archived")
"""What may become of a memory: only those that are active are recalled."""

MANUAL: Final = "manual"
"""The source of what a person wrote, which no automatic source may replace."""
IMPORTED: Final = "import"
"""The source of what came in a bundle, which somebody has to look at before it reaches a prompt."""

Moment: TypeAlias = date | str | None
"""A datetime, a date, or either as text in ISO 8601; what has no zone is in UTC."""

Value = dict[str, Any]
"""What an item holds of a memory: JSON, in which times are whole microseconds since 1970, UTC."""

_SHOWN: Final = 80
"""How many characters of a text are shown where a memory is printed."""


@dataclass(frozen=True)
class Citation:
    """A file, or lines of it, that a memory rests on.

    ``path`` is relative to the project, its parts separated by ``/``; ``sha`` the SHA-256 of what was there, 64 hex
    digits; lines count from 1, and both ends are included.
    """

    path: str
    sha: str | None = None
    line_start: int | None = None
    line_end: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, without what is None: as Cantrip writes it."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Citation:
        """Undo `to_dict`; what is not of a citation is left out."""
        return cls(given["path"], given.get("sha"), given.get("line_start"), given.get("line_end"))


@dataclass(frozen=True)
class MemoryEntry:
    """A memory as it is told to callers.

    ``scope`` is where it is kept, ``reason`` why it is quarantined or held, ``used`` and ``uses`` tell when and how
    often it was recalled or read, where that was asked for. ``needs_review``: it is shown to no model before `approve`.
    ``digest`` is the SHA-256 of what a prompt shows of it. Of what `recall` returns, ``score`` is in [0, 1), where 0.5
    is what 19 of 20 questions do not reach that have nothing to do with it, and ``parts`` is what the score is made of.
    """

    title: str
    kind: str
    body: str
    scope: str
    source: str
    tags: tuple[str, ...]
    citations: tuple[Citation, ...]
    status: str
    reason: str | None
    importance: float | None
    category: str | None
    session: str | None
    created: datetime
    updated: datetime
    validated: datetime | None
    archived: datetime | None
    needs_review: bool
    used: datetime | None = None
    uses: int = 0
    score: float | None = None
    parts: Mapping[str, float] | None = None

    def __repr__(self) -> str:
        """Return what there is to say of it in a line: nothing that is not set, and of a long body its begin."""
        told = []
        for name, value in vars(self).items():
            if isinstance(value, datetime):
                told.append(f"{name}='{value.isoformat(' ', 'seconds')}'")
            elif isinstance(value, str) and len(value) > _SHOWN:
                told.append(f"{name}={value[:_SHOWN]!r}…")
            elif value is not None and value is not False and value != () and (name, value) != ("uses", 0):
                told.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(told)})"

    @property
    def digest(self) -> str:
        """Return the SHA-256, in hex, of what a prompt shows: title, kind, body, tags and source."""
        return digest(self.title, self.kind, self.body, self.tags, self.source)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON: times in ISO 8601, what is not known as None."""
        made = {**vars(self), "tags": list(self.tags), "citations": [each.to_dict() for each in self.citations]}
        made["digest"] = self.digest
        if self.parts is not None:
            made["parts"] = dict(self.parts)
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in made.items()}


def digest(title: str, kind: str, body: str, tags: Iterable[str], source: str) -> str:
    """Return the SHA-256, in hex, of what a prompt shows of a memory that somebody else may have written."""
    shown = json.dumps([title, kind, body, list(tags), source], separators=(",", ":"))
    return hashlib.sha256(shown.encode()).hexdigest()


def value_digest(value: Mapping[str, Any]) -> str:
    """Return the `digest` of a stored value."""
    return digest(value["title"], value["kind"], value["body"], value["tags"], value["source"])


def entry_of(
    value: Mapping[str, Any],
    scope: str,
    use: tuple[int, int] | None = None,
    score: float | None = None,
    parts: Mapping[str, float] | None = None,
) -> MemoryEntry:
    """Return the record of a stored value; ``use`` is when it was used last and how often."""
    used, uses = use or (None, 0)
    try:
        return MemoryEntry(
            title=value["title"],
            kind=value["kind"],
            body=value["body"],
            scope=scope,
            source=value["source"],
            tags=tuple(value["tags"]),
            citations=tuple(map(Citation.from_dict, value["citations"])),
            status=value["status"],
            reason=value["reason"],
            importance=value["importance"],
            category=value["category"],
            session=value["session"],
            created=time_of(value["created"]),
            updated=time_of(value["updated"]),
            validated=_time(value["validated"]),
            archived=_time(value["archived"]),
            needs_review=needs_review(value),
            used=_time(used),
            uses=uses,
            score=score,
            parts=parts,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise StoreCorrupt(
            f"the memory {value.get('title')!r} in scope {scope!r} is damaged, or something else was put where "
            f"memories are kept: {type(error).__name__}: {error}"
        ) from error


def new_value(title: str, kind: str, body: str, source: str, now: int) -> Value:
    """Return the value of a memory that says nothing more; ``now`` in microseconds."""
    return {
        "title": title,
        "kind": kind,
        "body": body,
        "source": source,
        "tags": [],
        "citations": [],
        "status": "active",
        "reason": None,
        "importance": None,
        "category": None,
        "session": None,
        "created": now,
        "updated": now,
        "validated": None,
        "archived": None,
        "approved": None,
        "review": False,
    }


def needs_review(value: Mapping[str, Any]) -> bool:
    """Tell whether somebody has to look at a memory before it reaches a prompt.

    An approval holds for what was looked at: a memory that was changed since needs another one.
    """
    return bool(value["review"]) and value["approved"] != value_digest(value)


def _time(stamp: int | None) -> datetime | None:
    return None if stamp is None else time_of(stamp)


def with_use(entry: MemoryEntry, use: tuple[int, int] | None) -> MemoryEntry:
    """Return a record that tells when it was used last, in microseconds, and how often."""
    return entry if use is None else replace(entry, used=time_of(use[0]), uses=use[1])


# ------------------------------------------------------------------------------------------------ what callers give


def checked_kind(kind: Any) -> str:
    """Return a kind as it is written; raises `DataError` for what is none."""
    name = kind.strip().lower() if isinstance(kind, str) else kind
    if name not in KINDS:
        raise DataError(f"a memory is a fact, a rule or a lesson, not {kind!r}; {_hint(kind, KINDS)}", path=("kind",))
    return str(name)


def checked_status(status: Any) -> str:
    """Return a status; raises `DataError` for what is none."""
    if status not in STATUSES:
        raise DataError(f"there is no status {status!r}; {_hint(status, STATUSES)}", path=("status",))
    return str(status)


def _hint(given: Any, known: tuple[str, ...]) -> str:
    return suggest(given, known) if isinstance(given, str) else f"known: {', '.join(known)}"


def checked_text(value: Any, name: str) -> str:
    """Return a text that says something; raises `DataError` for one that is blank, and for what is no text."""
    if not isinstance(value, str):
        raise DataError(f"it is text, not {type(value).__name__}", path=(name,))
    if not value.strip():
        raise DataError("it is empty", path=(name,))
    return str.__str__(value)


def optional_text(value: Any, name: str) -> str | None:
    """Return a text or None; raises `DataError` for anything else."""
    return None if value is None else checked_text(value, name)


def listed(given: Any, name: str) -> list[Any]:
    """Return one thing, which is a text, or several as a list; raises `DataError` for what is neither."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (bytes, bytearray)):
        return list(given)
    raise DataError(f"it is a text, or a list of texts, not {type(given).__name__}", path=(name,))


def checked_tags(tags: Any) -> list[str]:
    """Return tags, each once; a text is taken for tags with commas between. Raises `DataError` for what is no text."""
    given = tags.split(",") if isinstance(tags, str) else tags
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise DataError(f"they are a list of texts, not {type(tags).__name__}", path=("tags",))
    for number, tag in enumerate(given):
        if not isinstance(tag, str):
            raise DataError(f"a tag is text, not {type(tag).__name__}", path=("tags", number))
    found = [tag.strip() for tag in (sorted(given) if isinstance(given, (set, frozenset)) else given)]
    return list(dict.fromkeys(tag for tag in found if tag))


def checked_importance(importance: Any) -> float | None:
    """Return an importance, from 0 to 1, or None; raises `DataError` for anything else."""
    if importance is None:
        return None
    if isinstance(importance, bool) or not isinstance(importance, (int, float)) or not 0 <= importance <= 1:
        raise DataError(f"it is a number from 0 to 1, not {importance!r}", path=("importance",))
    return float(importance)


def checked_limit(limit: Any) -> int | None:
    """Return a limit, None for no limit; raises `DataError` for what is none."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise DataError(f"it is how many at most, or None for all, not {limit!r}", path=("limit",))
    return limit


def checked_score(score: Any) -> float:
    """Return a score to reach; raises `DataError` for what is none."""
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise DataError(f"it is a number from 0 to 1, not {score!r}", path=("min_score",))
    return float(score)


def stamp(moment: Moment, name: str, *, end: bool = False) -> int | None:
    """Return a moment in microseconds: a datetime, a date (its begin, or its ``end``), or either as ISO 8601 text.

    What has no zone is in UTC. Raises `DataError` for anything else.
    """
    if isinstance(moment, str):
        text = moment.strip().replace("Z", "+00:00")
        with suppress(ValueError):  # which is told below
            moment = date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    if moment is None:
        return None
    if isinstance(moment, datetime):
        return stamp_of(moment)
    if isinstance(moment, date):
        return stamp_of(datetime.combine(moment, time.max if end else time.min, timezone.utc))
    raise DataError(f"it is a date or a time, as in '2026-03-01' or a datetime, not {moment!r}", path=(name,))
