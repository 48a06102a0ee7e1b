"""What a look at a store's surroundings found, each thing with a grade and what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from charm_checkpoint.plain import Plain
from charm_checkpoint.printable import printable

Health: TypeAlias = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True)
class DoctorFinding(Plain):
    """One thing that was looked at.

    ``subject`` is what it is of, such as ``durability``, ``TLS`` or ``clock``. ``grade``: ``ok``; a ``note`` is worth
    knowing; a ``warning`` may lose something, or fail some day; an ``error`` fails now, or makes the store no place to
    keep anything in. ``advice`` is what to change.
    """

    subject: str
    grade: Health
    message: str
    advice: str = ""

    def line(self) -> str:
        """Return it as a line for people to read."""
        advice = f" {self.advice}" if self.advice else ""
        return printable(f"{self.grade:<8} {self.subject}: {self.message}{advice}")


@dataclass
class DoctorReport(Plain):
    """How a store is doing.

    ``store`` is its URL with secrets masked, ``kind`` the URL's scheme. ``failed_at`` is the step at which it could not
    be reached: ``name``, ``port``, ``TLS``, ``login``, ``database``, ``file``, ``folder``, ``schema`` or ``answer``;
    None if it could. ``facts`` are what was measured or read, such as ``round_trip_ms``, ``server``, ``space``.
    """

    store: str
    kind: str
    failed_at: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[DoctorFinding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether nothing fails."""
        return self.failed_at is None and all(found.grade != "error" for found in self.findings)

    @property
    def worst(self) -> Health:
        """Return the worst grade that there is."""
        return max((found.grade for found in self.findings), key=_ORDER.index, default="ok")

    def add(self, subject: str, grade: Health, message: str, advice: str = "") -> None:
        """Add a finding."""
        self.findings.append(DoctorFinding(subject, grade, message, advice))

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        return {**Plain.as_dict(self), "ok": self.ok, "worst": self.worst}

    def lines(self) -> Iterator[str]:
        """Yield the report as lines for people to read."""
        yield printable(self.store)
        for found in self.findings:
            yield found.line()
        if self.failed_at is not None:
            yield f"it could not be reached: the step that failed is {self.failed_at}"


_ORDER: tuple[Health, ...] = ("ok", "note", "warning", "error")
