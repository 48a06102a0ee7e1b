"""Between what a file says of a memory and the value that the index holds of it; pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from charm_checkpoint.long_term.markdown.format import MemoryFile
from charm_checkpoint.long_term.markdown.front_matter import normal_body
from charm_checkpoint.long_term.records import IMPORTED, Value, needs_review, new_value, value_digest
from charm_checkpoint.long_term.suspicion import HELD

NOTED = ("status", "reason", "validated", "archived", "approved", "review")
"""What is noted here of a memory that a project shares, and not in its file."""


class Rules(NamedTuple):
    """How a scope's files are read and written.

    ``shares``: others change the files as well, so what this user notes of them stays out: status, dates of checks, and
    the date of the last change, about which git would see a conflict whenever two people change one file. ``reviews``:
    what others put there is to be approved.
    """

    shares: bool
    reviews: bool
    root: Path | None = None
    """The project's folder, to which citations are relative."""


def value_from(file: MemoryFile, rules: Rules, changed: int, now: int, old: Mapping[str, Any] | None = None) -> Value:
    """Return the value for a file; ``changed`` is when that was, ``old`` what was held, or noted, of the memory."""
    old = old or {}
    created = file.created or file.updated or old.get("created") or min(max(changed, 0), now)
    value = new_value(file.title, file.kind, file.body, file.source, created)
    value.update(
        tags=list(file.tags),
        citations=[_relative(cited, rules.root) for cited in file.citations],
        importance=file.importance,
        category=file.category,
        session=file.session,
        updated=file.updated or created,
    )
    _note_status(value, file, rules, old)
    if rules.shares and "body" in old:  # who changed it did not write when
        value["updated"] = old["updated"] if _says_the_same(value, old) else now
    value["validated"] = max(old.get("validated") or 0, file.validated or 0) or None
    value["approved"] = old.get("approved")
    held = (value["reason"] or "").startswith(HELD) and value["status"] == "active"
    value["review"] = bool(rules.reviews or value["source"] == IMPORTED or held)
    return value


def _note_status(value: Value, file: MemoryFile, rules: Rules, old: Mapping[str, Any]) -> None:
    if rules.shares and file.status == "active":
        value.update({name: old[name] for name in ("status", "reason", "archived") if name in old})
        return
    value.update(status=file.status, reason=file.reason, archived=file.archived)
    if file.status == old.get("status"):
        value["reason"] = file.reason or old.get("reason")
        value["archived"] = file.archived or old.get("archived")
    if file.status == "quarantined" and not value["reason"]:
        value["reason"] = file.unusual() or "its file says so"
    if file.status == "archived" and not value["archived"]:
        value["archived"] = file.updated or value["created"]


def _says_the_same(value: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    return all(value[name] == old[name] for name in ("kind", "body", "tags", "importance", "category", "citations"))


def _relative(cited: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """Return a citation with a path in the project, where Cantrip wrote the whole of it, of this machine."""
    path = cited["path"]
    if root is not None and os.path.isabs(path):
        for above in (root, Path(os.path.realpath(root))):
            if Path(path).is_relative_to(above):
                return {**cited, "path": Path(path).relative_to(above).as_posix()}
    return dict(cited)


def normal(value: Value, rules: Rules) -> Value:
    """Return a value as it will be read again, in which what needs no review, since this user wrote it, is approved."""
    made = {**value, "body": normal_body(value["body"])}
    if value["approved"] == value_digest(value):
        made["approved"] = value_digest(made)
    if rules.reviews and not needs_review(value):
        made.update(review=True, approved=value_digest(made))
    return made


def file_from(value: Mapping[str, Any], rules: Rules, before: MemoryFile | None) -> MemoryFile:
    """Return what the file of a memory is to say; ``before`` is what it says now."""
    made = MemoryFile(
        value["title"],
        value["kind"],
        value["body"],
        value["source"],
        created=value["created"],
        tags=tuple(value["tags"]),
        citations=tuple(value["citations"]),
        importance=value["importance"],
        category=value["category"],
        session=value["session"],
        written=before.written if before else {},
    )
    if before is not None:
        same = [_relative(cited, rules.root) for cited in before.citations] == list(made.citations)
        made = replace(made, used=before.used, citations=before.citations if same else made.citations)
    if rules.shares:
        # What somebody wrote for everyone holds, until it is made active again for everyone.
        status = "active" if before is None or value["status"] == "active" else before.status
        kept = before if before is not None and status != "active" else MemoryFile("")
        return replace(made, status=status, reason=kept.reason, archived=kept.archived)
    return replace(
        made,
        updated=value["updated"],
        status=value["status"],
        reason=value["reason"],
        archived=value["archived"],
        validated=value["validated"],
    )


def is_news(made: MemoryFile, before: MemoryFile | None) -> bool:
    """Tell whether a file is to be written: that it was written, or checked, at another time is no reason."""
    if before is None:
        return True
    created = before.created and made.created
    return replace(made, created=created, updated=before.updated, validated=before.validated) != before
