"""Memories as they travel: without what belongs to this machine; and what is told of a journey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from charm_checkpoint.long_term.markdown.front_matter import normal_body
from charm_checkpoint.long_term.sanitising import Finding, Roots, sanitise


@dataclass(frozen=True)
class Portable:
    """A memory without citations, whose hashes say nothing elsewhere, without status, session and uses."""

    title: str
    kind: str
    body: str
    tags: tuple[str, ...] = ()
    importance: float | None = None
    category: str | None = None
    source: str = "manual"
    created: int | None = None
    updated: int | None = None


def portable(value: Mapping[str, Any]) -> Portable:
    """Return what of a stored value travels."""
    names = ("title", "kind", "importance", "category", "source", "created", "updated")
    return Portable(body=normal_body(value["body"]), tags=tuple(value["tags"]), **{name: value[name] for name in names})


class Cleaner:
    """Takes secrets and this machine's paths out of texts, and keeps in mind where they were."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self.findings: list[Finding] = []

    def text(self, text: str, place: str) -> str:
        """Return a text that may leave; ``place`` says where it stands."""
        cleaned = sanitise(text, place=place, roots=self._roots)
        self.findings += cleaned.findings
        return cleaned.text

    def memories(self, given: list[Portable]) -> list[Portable]:
        """Return memories that may leave, each with a title of its own."""
        titles: set[str] = set()
        return [self._memory(each, titles) for each in given]

    def _memory(self, memory: Portable, titles: set[str]) -> Portable:
        of = f"of {memory.title!r}"
        made = replace(
            memory,
            title=free_title(self.text(memory.title, f"title {of}"), titles),
            body=self.text(memory.body, f"body {of}"),
            tags=tuple(self.text(tag, f"tags {of}") for tag in memory.tags),
            category=memory.category and self.text(memory.category, f"category {of}"),
            source=self.text(memory.source, f"source {of}"),
        )
        titles.add(made.title)
        return made


def free_title(title: str, taken: set[str]) -> str:
    """Return a title that is not taken: with a number behind it, if need be."""
    number, found = 2, title
    while found in taken:
        found = f"{title} ({number})"
        number += 1
    return found


class Left(NamedTuple):
    """A memory, or a file, that was left out, and why."""

    title: str
    reason: str


@dataclass(frozen=True)
class ExportResult:
    """What was written: where, which memories, what the sanitiser took out, and what is left out and why."""

    path: Path
    titles: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    left_out: tuple[Left, ...] = ()

    @property
    def redactions(self) -> int:
        """Return how many secrets were taken out; paths do not count."""
        return sum(finding.count for finding in self.findings if finding.secret)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "path": str(self.path),
            "titles": list(self.titles),
            "redactions": self.redactions,
            "findings": [vars(finding) for finding in self.findings],
            "left_out": [each._asdict() for each in self.left_out],
        }


@dataclass(frozen=True)
class ImportResult:
    """What was taken over, or with ``dry_run`` would be.

    ``renamed`` has pairs of the title in the bundle and the one here, which is in ``imported`` too. ``warnings`` is
    what was not as it should be but kept nothing out. All that is imported needs a review.
    """

    scope: str
    imported: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    skipped: tuple[Left, ...] = ()
    failed: tuple[Left, ...] = ()
    warnings: tuple[str, ...] = ()
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **vars(self),
            "imported": list(self.imported),
            "replaced": list(self.replaced),
            "renamed": [list(pair) for pair in self.renamed],
            "skipped": [each._asdict() for each in self.skipped],
            "failed": [each._asdict() for each in self.failed],
            "warnings": list(self.warnings),
        }
