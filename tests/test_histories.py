"""Random lives of threads on every store: what stays reads as it was put, whatever went, and nothing is damaged."""

from __future__ import annotations

import random
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from histories import DELTA, Line, Point
from langgraph.checkpoint.serde.types import INTERRUPT
from workers import scaled

from charm_checkpoint import open_memory
from charm_checkpoint.retention import Retention
from charm_checkpoint.saver.history import COUNTERS
from charm_checkpoint.testing.call_modes import CALL_MODES, InMode
from charm_checkpoint.testing.samples import checkpoint, config
from charm_checkpoint.transfer import import_archive

CLOCK = "charm_checkpoint.retention.sweeping.now"
DAY = 86_400
NAMES = ("a", "a:b", "\0", "x*[y]?", "\u00fc" * 40)
STEPS = 20
"""What is done in one life; CHARM_TEST_SCALE has more lives tried."""


class Life:
    """A store, called in one mode by two programs in turn, and the threads it has to have."""

    def __init__(self, url: str, mode: str, seed: int, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.patch, self.folder, self.url = patch, folder, url
        self.mode = CALL_MODES[mode]()
        first = open_memory(url)
        alone = not first.store.backend.capabilities.processes
        self.memories = [first] if alone else [first, open_memory(url)]
        self.lines: dict[str, Line] = {}
        self.count = 0

    # ---------------------------------------------------------------------------------------------------- who calls

    def store(self) -> InMode:
        """Return the store as one of the two programs has it."""
        return InMode(self.rng.choice(self.memories), self.mode.elsewhere())

    def saver(self) -> InMode:
        """Return one of the two programs' savers."""
        return InMode(self.store().raw.get_langgraph_checkpointer(), self.mode.elsewhere())

    def close(self) -> None:
        """Close all."""
        for memory in self.memories:
            InMode(memory, self.mode).close()
        self.mode.close()

    def any(self) -> tuple[str, Line] | None:
        """Return one of the threads that there are."""
        return (name := self.rng.choice(list(self.lines)), self.lines[name]) if self.lines else None

    # ------------------------------------------------------------------------------------------------- what is called

    def put(self) -> None:
        """Put some checkpoints after the head, or after another one."""
        name = self.rng.choice(NAMES)
        line = self.lines.setdefault(name, Line())
        ns, root = self._namespace(line)
        here = line.here(ns)
        above = None if not here else here[0] if self.rng.random() < 0.8 else self.rng.choice(here)
        for _ in range(self.rng.randrange(1, 4)):
            above = self._put(name, line, ns, root, above)

    def _namespace(self, line: Line) -> tuple[str, str | None]:
        roots, chance = line.here(""), self.rng.random()
        if roots and chance < 0.2:
            root = self.rng.choice(roots).id
            return f"sub:{root}", root
        return ("kept" if chance > 0.9 else ""), None

    def _put(self, name: str, line: Line, ns: str, root: str | None, above: Point | None) -> Point:
        self.count += 1
        old = above.values if above else {"log": []}
        log = [f"{n} " + "x" * self.rng.randrange(200) for n in range(self.rng.randrange(6))]
        values: dict[str, Any] = {"log": [*old["log"], *log][-40:], "n": self.count}
        made_at = time.time() - self.rng.choice([0, 5, 50, 200]) * DAY
        # Ids differ, and do not sort as they follow each other.
        new = Point(ns, f"{self.count * 7919 % 10_000:04}", above and above.id, values, made_at, root)
        if self.rng.random() < 0.2 or above is None:
            values[DELTA] = line.delta(new)
        made = checkpoint(values, id=new.id)
        made["channel_versions"][DELTA] = 1
        made["ts"] = datetime.fromtimestamp(made_at, timezone.utc).isoformat()
        parents = {"": root} if root else {}
        metadata = {"source": "fork", "step": self.count, "parents": parents, COUNTERS: {DELTA: [1, 1]}}
        self.saver().put(config(name, ns, above and above.id), made, metadata, {**made["channel_versions"]})
        line.add(new)
        return new

    def put_writes(self) -> None:
        """Store what a task wrote, or asked."""
        found = self.any()
        if found is None or not (here := found[1].here()):
            return
        name, line = found
        point = here[0] if self.rng.random() < 0.6 else self.rng.choice(here)
        task = self.rng.choice(["t1", "t2", "t3"])
        if self.rng.random() < 0.25:
            writes = [(INTERRUPT, f"well? {self.count}")]
        else:
            writes = [self._write(n) for n in range(self.rng.randrange(1, 4))]
        self.count += 1
        self.saver().put_writes(config(name, point.ns, point.id), writes, task)
        for n, (channel, value) in enumerate(writes):
            if channel == INTERRUPT:
                point.writes[task, -3] = (channel, value)
            else:
                point.writes.setdefault((task, n), (channel, value))

    def _write(self, n: int) -> tuple[str, str]:
        return (DELTA if self.rng.random() < 0.6 else "log"), f"w{self.count}.{n}" + "y" * self.rng.randrange(80)

    def append(self) -> None:
        """Append a message."""
        name = self.rng.choice(NAMES)
        text = f"said {self.count} " + "z" * self.rng.randrange(300)
        self.count += 1
        self.store().append_messages(name, [{"role": "user", "content": text}])
        self.lines.setdefault(name, Line()).messages.append(text)

    def pin(self) -> None:
        """Pin a thread, or take its pin off."""
        if found := self.any():
            found[1].pinned = not found[1].pinned
            (self.store().pin if found[1].pinned else self.store().unpin)(found[0])

    def sweep(self) -> None:
        """Sweep by a policy of numbers and ages; a dry run has to tell just what goes."""
        last = self.rng.choice([None, 1, 1, 2, 3, 5])
        age = self.rng.choice([None, None, "10d", "100d"])
        if last is None and age is None:
            return
        policy = Retention(last, age, keep_branches=self.rng.random() < 0.7)
        store = self.store()
        told = store.sweep(policy, dry_run=True)
        report = store.sweep(policy)
        gone = 0
        for line in self.lines.values():
            if not line.pinned and line.stored:
                since = None if policy.age is None else time.time() - policy.age
                kept = line.must_stay(policy.last, since, policy.keep_branches)
                gone += len(line.stored - kept)
                line.stored &= kept
        assert (report.done.checkpoints, report.busy, report.damaged) == (gone, (), ()), policy
        assert told.planned.checkpoints == gone == report.planned.checkpoints
        assert told.planned.bytes == report.done.bytes and told.planned.chunks in (None, report.done.chunks), policy

    def sweep_idle(self) -> None:
        """Let time pass until all threads are idle, and sweep."""
        with self.patch.context() as patched:
            patched.setattr(CLOCK, lambda: time.time() + 40 * DAY)
            self.store().sweep(Retention(ttl="30d"))
        for name, line in list(self.lines.items()):
            heads = line.here("")
            if not line.pinned and not (heads and heads[0].waits):
                del self.lines[name]

    def delete(self) -> None:
        """Delete or erase a thread."""
        if found := self.any():
            del self.lines[found[0]]
            if self.rng.random() < 0.5:
                self.saver().delete_thread(found[0])
                if found[1].messages:
                    self.lines[found[0]] = Line(messages=found[1].messages)
            else:
                # With nothing left of it, a folder that went is told, once, to another program that knew it.
                times = ("30d", "1h", "30d" if self.url.startswith("file:") else 0)
                self.store().erase(found[0], remember=self.rng.choice(times))

    def copy(self) -> None:
        """Copy a thread to a name that is free."""
        found, target = self.any(), self.rng.choice(NAMES)
        if found is None or not found[1].stored or target in self.lines:
            return
        self.saver().copy_thread(found[0], target)
        line = self.lines[target] = Line()
        line.points = [one.copied() for one in found[1].points]
        line.stored = set(found[1].stored)

    def compact(self) -> None:
        """Give room back."""
        self.store().compact()

    def repair(self) -> None:
        """Repair what a check finds: nothing."""
        found = self.store().check(integrity="only", repair=True).integrity.findings
        assert [one for one in found if one.grade != "note"] == []

    # ----------------------------------------------------------------------------------------------- what must be true

    def check(self, memory: InMode | None = None) -> None:
        """Compare everything with what has to be there."""
        store = memory or self.store()
        saver = InMode(store.raw.get_langgraph_checkpointer(), self.mode.elsewhere())
        for name, line in self.lines.items():
            for ns in {one.ns for one in line.points}:
                listed = saver.list(config(name, ns))
                assert [item.checkpoint["id"] for item in listed] == [one.id for one in line.here(ns)], (name, ns)
                for item, point in zip(listed, line.here(ns), strict=True):
                    self._reads(saver, name, line, item, point)
                head = saver.get_tuple(config(name, ns))
                assert (head and head.checkpoint["id"]) == next((one.id for one in line.here(ns)), None)
            assert [one["content"] for one in store.load_messages(name)] == line.messages
        expected = {name for name, line in self.lines.items() if line.stored or line.messages}
        assert {one.thread_id for one in store.threads()} == expected
        report = store.check(integrity="only").integrity
        assert [(one.kind, one.message) for one in report.findings if one.grade != "note"] == []

    def _reads(self, saver: InMode, name: str, line: Line, listed: Any, point: Point) -> None:
        where = config(name, point.ns, point.id)
        alone = saver.get_tuple(where)
        for item in (listed, alone):
            assert item.checkpoint["channel_values"] == point.values
            assert item.pending_writes == point.sorted_writes()
            parent = item.parent_config and item.parent_config["configurable"]["checkpoint_id"]
            assert parent == point.parent
        history = saver.get_delta_channel_history(config=where, channels=[DELTA])[DELTA]
        above = next((one for one in line.points if one.key == (point.ns, point.parent)), None)
        if above is not None and DELTA not in point.values:
            value = [*history.get("seed", []), *(write[2] for write in history["writes"])]
            assert value == line.delta(point), point.key

    def moved(self) -> None:
        """Compare what a copy, and an archive, has."""
        archive = self.folder / f"{self.count}.charm"
        archive.unlink(missing_ok=True)
        with open_memory("memory://") as copied, open_memory("memory://") as imported:
            assert self.store().copy_to(copied).complete
            assert self.store().export(str(archive)).complete
            assert import_archive(str(archive), imported).complete
            for memory in (copied, imported):
                self.check(InMode(memory, CALL_MODES["blocking"]()))


STEPS_OF = {
    "put": 40, "put_writes": 25, "append": 8, "pin": 4, "sweep": 14, "sweep_idle": 1, "delete": 3, "copy": 4,
    "compact": 1, "repair": 2,
}  # fmt: skip


@pytest.mark.parametrize("mode", ["blocking", "async"])
def test_a_random_life(url: str, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for seed in range(scaled(1)):
        life = Life(url, mode, seed, monkeypatch, tmp_path)
        try:
            for _ in range(STEPS):
                [step] = life.rng.choices(list(STEPS_OF), list(STEPS_OF.values()))
                getattr(life, step)()
                life.check()
            life.moved()
            life.store().erase(tenant=True, remember=0)
        finally:
            life.close()
