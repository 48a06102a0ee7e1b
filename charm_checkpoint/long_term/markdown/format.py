"""The file of one memory: frontmatter and body, as Cantrip writes it, and with keys of ours behind its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple

from charm_checkpoint.errors import DataError
from charm_checkpoint.items.addresses import CHARACTERS
from charm_checkpoint.long_term.markdown import front_matter
from charm_checkpoint.long_term.records import KINDS, STATUSES

MAX_BYTES = 1 << 20
"""How large a memory's file may be."""


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class MemoryFile:
    """What the file of a memory says; times are in microseconds since 1970.

    ``written`` is its frontmatter as it stands: keys that are not known here are kept, and so is the way in which
    something is written that has not changed.
    """

    title: str
    kind: str = "fact"
    body: str = ""
    source: str = "manual"
    created: int | None = None
    updated: int | None = None
    status: str = "active"
    tags: tuple[str, ...] = ()
    citations: tuple[Mapping[str, Any], ...] = ()
    used: int | None = None
    validated: int | None = None
    archived: int | None = None
    reason: str | None = None
    importance: float | None = None
    category: str | None = None
    session: str | None = None
    written: Mapping[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def unusual(self) -> str | None:
        """Say what of this file was not taken as it stands; None where all was."""
        said = []
        kind, status = self.written.get("kind", self.kind), self.written.get("status", self.status)
        if self.kind != str(kind).strip().lower():
            said.append(f"its kind {kind!r} is taken for {self.kind!r}; kinds are {', '.join(KINDS)}")
        if status is not None and self.status != str(status).strip().lower():
            said.append(f"its status {status!r} is taken for {self.status!r}; statuses are {', '.join(STATUSES)}")
        return "; ".join(said) or None


def read(data: bytes) -> MemoryFile:
    """Return the memory in a file's bytes; raises `DataError`, which says what is wrong with them."""
    if len(data) > MAX_BYTES:
        raise DataError(f"it has {len(data)} bytes, and a memory {MAX_BYTES} at most; keep the point of it only")
    head, body = front_matter.split(front_matter.decoded(data))
    if head is None:
        raise DataError("it has no frontmatter; begin it with the lines `---`, `title: ...`, `kind: fact`, `---`")
    written = front_matter.parsed(head)
    for key in ("title", "kind"):
        if not _text(written.get(key)):
            raise DataError(f"its frontmatter has no {key}; add a line `{key}: ...`")
    if len(str(written["title"])) > CHARACTERS:
        raise DataError(f"its title has more than {CHARACTERS:,} characters; put what it says into the body")
    if front_matter.has_conflict(body):
        raise DataError("git left a conflict in its text; resolve that (git status names the file)")
    values = {known.name: known.read(written.get(known.key)) for known in FIELDS}
    return MemoryFile(**values, body=front_matter.normal_body(body), written=written)


def write(memory: MemoryFile) -> bytes:
    """Return the bytes of a memory's file; what it ``written`` says is kept where it still says the same.

    Raises `DataError` for what a file cannot hold: no title, halves of characters, a conflict of git's, more than
    `MAX_BYTES`.
    """
    if not memory.title:
        raise DataError("a memory needs a title", path=("title",))
    head: dict[Any, Any] = {}
    for known in FIELDS:
        value = getattr(memory, known.name)
        if known.key in memory.written and known.read(memory.written[known.key]) == value:
            head[known.key] = memory.written[known.key]
        elif known.always or value is not None:
            head[known.key] = known.write(value)
    head.update((key, value) for key, value in memory.written.items() if key not in _KNOWN)
    for key, value in [*head.items(), ("body", memory.body)]:
        _whole(value, str(key))
    if front_matter.has_conflict(memory.body):
        raise DataError("in a file it would read as a conflict that git left; indent its lines", path=("body",))
    data = front_matter.joined(head, memory.body)
    if len(data) > MAX_BYTES:
        raise DataError(
            f"the memory {memory.title!r} has {len(data)} bytes, {MAX_BYTES} are the most; shorten its body"
        )
    return data


def _whole(value: Any, key: str) -> None:
    for text in _texts(value):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{text[error.start]!r} is one half of a character, which a file of UTF-8 cannot hold", path=(key,)
            ) from None


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, (list, tuple)):
        return [text for part in value for text in _texts(part)]
    return []


# ------------------------------------------------------------------------------------------------------- the fields


def _text(value: Any) -> str | None:
    """Return a plain value as text, None for what is none."""
    if value is None or isinstance(value, (Mapping, list, tuple, set, bytes)):
        return None
    return str(value)


def _kind(value: Any) -> str:
    """Return a kind that there is; what else a file may say is something that somebody noted."""
    kind = (_text(value) or "").strip().lower()
    return kind if kind in KINDS else "fact"


def _status(value: Any) -> str:
    """Return a status that there is; what else a file says means that the memory is not to be used as it is."""
    status = ("active" if value is None else _text(value) or "").strip().lower()
    return status if status in STATUSES else "quarantined"


def _tags(value: Any) -> tuple[str, ...]:
    """Return tags: those of a list, or of a text with commas between."""
    if isinstance(value, str):
        return tuple(filter(None, map(str.strip, value.split(","))))
    if isinstance(value, (list, tuple)):
        return tuple(filter(None, map(_text, value)))
    return ()


def _citations(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return citations that name a path, each with what it says of `CITED` only."""
    found = []
    for cited in value if isinstance(value, list) else ():
        cited = {"path": cited} if isinstance(cited, str) else cited
        if isinstance(cited, Mapping) and isinstance(cited.get("path"), str) and cited["path"].strip():
            found.append({key: read(cited.get(key)) for key, read in CITED.items() if read(cited.get(key)) is not None})
    return tuple(found)


def _line(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 31 else None


CITED: Mapping[str, Callable[[Any], Any]] = {"path": _text, "sha": _text, "line_start": _line, "line_end": _line}


def read_time(value: Any) -> int | None:
    """Return a date in microseconds since 1970; without a zone it is UTC. None for what is no date."""
    if isinstance(value, str):
        text = value.strip()
        try:
            # Python 3.10 knows no Z.
            value = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text)
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    try:
        since: timedelta = value - EPOCH
        EPOCH + since  # some first and last hours of all time are none in UTC
    except OverflowError:
        return None
    return since // _MICROSECOND


def iso(time: int) -> str:
    """Return a time as Cantrip writes it."""
    return (EPOCH + timedelta(microseconds=time)).isoformat()


def _share(value: Any) -> float | None:
    """Return a number from 0 to 1, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= 1 else None


def _time_text(value: int | None) -> str | None:
    return None if value is None else iso(value)


def _same(value: Any) -> Any:
    return value


class Field(NamedTuple):
    """A key of the frontmatter, what it is called here, how it is read and written, and whether it always is."""

    key: str
    name: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = _same
    always: bool = False


FIELDS = (
    Field("title", "title", _text, always=True),
    Field("kind", "kind", _kind, always=True),
    Field("source", "source", lambda value: _text(value) or "manual", always=True),
    Field("created", "created", read_time, _time_text),
    Field("updated", "updated", read_time, _time_text),
    Field("status", "status", _status, always=True),
    Field("tags", "tags", _tags, list, always=True),
    Field("citations", "citations", _citations, lambda found: [dict(cited) for cited in found], always=True),
    Field("last_accessed", "used", read_time, _time_text),
    Field("last_validated", "validated", read_time, _time_text),
    Field("archived", "archived", read_time, _time_text),
    Field("reason", "reason", _text),
    Field("importance", "importance", _share),
    Field("category", "category", _text),
    Field("session", "session", _text),
)
"""The keys in the order in which they are written: Cantrip's, and behind them ours."""

_KNOWN = {known.key for known in FIELDS}
