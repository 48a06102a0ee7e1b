"""One version deployed over another: each in a process of its own, and what they found."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers import WorkerPool

from changes.rows import Row, Story, Version

AS_IT_SHOULD_BE = "as it should be"
WITH_A_WARNING = "as it should be, and the log says what was done"
UNKNOWN = "kept as it is; using it is an error that says why"
REFUSED = "`ConfigError` when the program starts"
NOTHING_LIKE_IT = "—"


def lay_out(version: Version, folder: Path) -> None:
    """Write the modules of a version into its folder."""
    for name, text in version.files.items():
        path = folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class Deployment:
    """A store, a folder for each version of a program that comes to it, and what the versions found, look by look."""

    def __init__(self, pool: WorkerPool, folder: Path, url: str, row: Row | Story, compare: bool) -> None:
        self.pool, self.folder, self.url, self.row = pool, folder, url, row
        self.official = str(folder / "official.sqlite") if compare and getattr(row, "official", True) else ""
        self.seen: list[dict[str, Any]] = []

    def run(self) -> None:
        """Let the versions do what the row says, one after the other."""
        row = self.row
        if isinstance(row, Story):
            for number, (version, code) in enumerate(row.steps):
                self._start("step", row.before if version == 1 else row.after, self.official, number, code)
            return
        self._start("write", row.before, self.official)
        self._start("read", row.after, self.official, row.reads or row.right, bool(row.unknown))
        if not row.fails:
            reads = row.back or (row.reads and "True") or "repr(v) == repr(VALUE)"
            self._start("back", row.before, self.official if row.back else "", reads)

    def _start(self, job: str, version: Version, *args: Any) -> None:
        folder = self.folder / ("old" if version is self.row.before else "new")
        lay_out(version, folder)
        worker = self.pool.start(job, str(folder), version.run, self.url, *args)
        assert worker.wait() == 0, f"{job}: see the errors of the process"
        self.seen += map(json.loads, worker.acks)

    def looks(self, who: str, *steps: str) -> list[dict[str, Any]]:
        """Return what was found by somebody, at some steps or all."""
        return [each for each in self.seen if each["who"].startswith(who) and (not steps or each["step"] in steps)]

    def logged(self, who: str, *steps: str) -> list[str]:
        """Return what was logged meanwhile."""
        return [line for each in self.looks(who, *steps) for line in each["logged"]]

    # --------------------------------------------------------------------------------- checks

    def check(self) -> None:
        """Check that all is as the row says, each time and in each way to call."""
        row = self.row
        if isinstance(row, Story):
            assert [each for each in self.looks("charm") if "error" in each or each["wrong"]] == []
            assert len(self.looks("charm")) == 2 * len(row.steps)
            self._check_log(row.says, self.logged("charm"))
        elif row.fails:
            [start] = self.looks("version 2")
            assert re.search(row.fails, start["error"]) and start["error"].startswith("ConfigError: "), start
        else:
            self._check_values(row)

    def _check_values(self, row: Row) -> None:
        assert self.looks("charm", "write") == []
        after = self.looks("charm", "read", "turn")
        assert len(after) == 4, self.seen
        for each in after:
            assert "error" not in each, each
            assert each["holds"] if row.reads else re.search(row.unknown, each["unknown"]), each
            assert each.get("twice", each["shown"]) == each["shown"], each
            if row.unknown:
                assert each["use"].startswith("TypeNotLoaded: ") and re.search(row.unknown, each["use"]), each
        lines = self.logged("charm", "raise", "read", "turn")
        assert len(set(lines)) == len(lines), lines
        self._check_log(row.says or row.unknown, lines)
        for each in self.looks("charm", "raise"):
            assert re.search(f"TypeNotLoaded: .*{row.unknown}", each["error"]), each
        back = self.looks("charm", "back")
        assert len(back) == 2
        for each in back:
            assert each.get("holds") or (not row.back and row.reads and each.get("unknown")), each

    def _check_log(self, says: str, lines: Sequence[str]) -> None:
        """Check that the log says what the row says, and nothing else."""
        assert bool(lines) == bool(says), lines
        assert not says or [line for line in lines if not re.search(says, line)] == []

    # ------------------------------------------------------------------------------- outcomes

    def outcome(self, who: str) -> str:
        """Say what became of the value, as the manual does."""
        if not isinstance(self.row, Story) and self.row.fails:
            return REFUSED if who == "charm" else NOTHING_LIKE_IT
        steps = () if isinstance(self.row, Story) else ("write", "read", "turn", *(["back"] if self.row.back else []))
        found = self.looks(who, *steps)
        if not found:
            return NOTHING_LIKE_IT
        return next((text for text in map(_worst, found) if text), "") or _best(found, self.logged(who, *steps[:3]))


def _worst(found: dict[str, Any]) -> str:
    """Return what is wrong with what was found, nothing if nothing is."""
    if "error" in found:
        what = "cannot be stored" if found["step"] == "write" else "**an error of the thread**"
        return f"{what}: `{_short(found['error'])}`"
    if "wrong" in found:
        return found["wrong"] and f"**wrong**: `{_short(found['wrong'])}`"
    if found["holds"] or found["unknown"]:
        return ""
    return f"**{'lost by the next save' if found['step'] == 'back' else 'wrong'}**: `{_short(found['shown'])}`"


def _short(text: str) -> str:
    line = " ".join(text.split()).replace("|", "/").replace("`", "'")
    return line if len(line) <= 70 else line[:69] + "…"


def _best(found: Sequence[dict[str, Any]], logged: Sequence[str]) -> str:
    if any(each.get("unknown") for each in found):
        return UNKNOWN
    return WITH_A_WARNING if logged else AS_IT_SHOULD_BE
