"""The benchmarks measure this version and another one in pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stores import have, postgres_server, valkey_url

from benchmarks import cli, imports, messages, operations, pairs, postgres_servers, redis_servers, report
from benchmarks.contender import Contender
from benchmarks.contenders import CONTENDERS
from benchmarks.pairs import Pairs, Ratio
from benchmarks.runner import Job

BY_NAME = {row.name: row for row in CONTENDERS}
SERVERS = {postgres_servers.VARIABLE: lambda: postgres_server().url, redis_servers.VARIABLE: valkey_url}

SLOW = """
import contextlib, time

class Memory:
    def save_messages(self, thread, messages):
        self.kept = list(messages)

    def append_messages(self, thread, messages):
        time.sleep(0.2)
        self.kept += messages

    def load_messages(self, thread):
        return self.kept

def open_memory(url):
    assert url.startswith("file://") or exit("no more of this")
    return contextlib.nullcontext(Memory())
"""
"""Another version of the package: one that takes 0.2 s to append, and has no store but files."""


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Return a folder with a version of the package that is slow."""
    package = tmp_path / "slow" / pairs.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SLOW)
    return package.parent


def test_a_version_in_another_folder_is_measured_beside_this_one(
    slow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "out.json"
    command = ["--baseline", str(slow), "--only", "messages", "--contenders", "charm files,SqliteSaver,charm sqlite"]
    size = ["--repeats", "2", "--rounds", "2", "--folder", str(tmp_path), "--json", str(record)]

    assert cli.main([*command, *size]) == 1

    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")][1:-1] for line in printed.splitlines() if line.startswith("|")]
    assert rows[0] == ["contender", "figure", "before", "now", "now / before", "95 %", "middle half", "pairs"]
    assert [row[:2] for row in rows[2:]] == [["charm files", label] for label in messages.FIGURES]
    assert float(rows[2][4]) < 1 and rows[2][7] == "2"
    assert f"pairs with the version in {slow}" in printed
    assert "- charm sqlite failed: before: no more of this" in printed
    sqlite, files = json.loads(record.read_text())["outcomes"]
    assert all(one[messages.APPEND] >= 200_000 for one in files["before"])
    assert all(one[messages.APPEND] < 200_000 for one in files["now"])
    assert (len(files["before"]), len(files["now"]), files["failed"]) == (2, 2, None)
    assert files["ratios"][messages.APPEND]["high"] < 1
    assert (sqlite["before"], sqlite["now"]) == ([], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "slow"]


@pytest.fixture
def contender(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Contender]:
    """Return a contender whose server is there."""
    row = BY_NAME[request.param]
    for variable in row.variables:
        monkeypatch.setenv(variable, have(SERVERS[variable]))
    yield row
    row.clear(tmp_path)


@pytest.mark.parametrize(
    "contender", ["charm sqlite", "charm files async", "charm redis", "charm postgres async"], indirect=True
)
def test_every_figure_of_a_store_is_compared(contender: Contender, tmp_path: Path) -> None:
    told: list[str] = []
    [done] = pairs.run([Job("operations", {"repeats": 2})], [contender], imports.ROOT, 1, tmp_path, told.append)
    assert done.failed is None
    assert set(done.figures) == set(operations.OPERATIONS)
    assert all(done.ratio(figure).median > 0 for figure in done.figures)
    assert told == [f"operations repeats=2, {step}: {contender.name}" for step in ("warming up", "pair 1 of 1")]
    assert os.listdir(tmp_path) == []


def test_the_two_take_turns_in_who_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    order: list[Path] = []

    class Recorded(pairs.Version):
        def __enter__(self) -> Recorded:
            return self

        def __exit__(self, *exception: object) -> None:
            pass

        def measure(self, *args: Any) -> dict[str, float | None]:
            order.append(self._source)
            return {"figure": float(len(order))}

    monkeypatch.setattr(pairs, "Version", Recorded)
    before, now = tmp_path, imports.ROOT
    job = Job("operations", {"repeats": 2})
    [done] = pairs.run([job], [BY_NAME["charm sqlite"]], before, 3, None, lambda line: None)
    assert order == [now, before, before, now, now, before, before, now]
    assert [one["figure"] for one in done.before] == [3, 6, 7]  # the first two, to warm up, are not counted
    assert [one["figure"] for one in done.now] == [4, 5, 8]


def test_a_version_that_fails_later_keeps_its_whole_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Path] = []

    def measure(self: pairs.Version, *args: Any) -> dict[str, float | None]:
        asked.append(self._source)
        if len(asked) == 6:
            raise pairs.WorkerFailed("StoreError: no room")
        return {"figure": 1.0}

    monkeypatch.setattr(pairs.Version, "measure", measure)
    job = Job("operations", {"repeats": 2})
    [done] = pairs.run([job], [BY_NAME["charm sqlite"]], tmp_path, 3, None, lambda line: None)
    assert done.failed == "before: StoreError: no room"
    assert (len(done.before), len(done.now), done.figures) == (1, 1, ["figure"])


def test_a_ratio_is_that_of_the_pairs_with_its_middle_half() -> None:
    job = Job("chat", {"turns": 3})
    before = [{"seconds": one, "bytes": 100.0, "text_bytes": 7.0} for one in (1.0, 2.0, 4.0, 8.0, 10.0)]
    now = [{"seconds": one, "bytes": 50.0, "text_bytes": 7.0} for one in (2.0, 2.0, 5.0, 4.0, 7.5)]
    done = Pairs(job, "charm sqlite", [*before], [*now])
    assert done.figures == ["seconds", "bytes"]
    assert done.medians("seconds") == (4.0, 4.0)
    assert done.ratio("seconds") == Ratio(1.0, 0.5, 2.0, 0.75, 1.25)
    assert done.ratio("bytes") == Ratio(*[0.5] * 5)
    assert Pairs(job, "charm sqlite", [*before[:1]], [*now[:1]]).ratio("seconds") == Ratio(*[2.0] * 5)
    [printed] = report.tables([done, Pairs(job, "charm redis", failed="now: StoreError: no room")], BY_NAME)
    row = [cell.strip() for cell in printed.splitlines()[4].split("|")][1:-1]
    assert row == ["charm sqlite", "seconds", "4.0", "4.0", "1.000", "0.500 to 2.000", "0.750 to 1.250", "5"]
    assert "- charm redis failed: now: StoreError: no room" in printed


@pytest.mark.parametrize(("pairs_made", "left_out"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (15, 3), (50, 17)])
def test_the_more_pairs_the_closer_the_median_is_known(pairs_made: int, left_out: int) -> None:
    found = pairs.ratio_of([float(one) for one in range(1, pairs_made + 1)])
    assert (found.least, found.most) == (left_out + 1, pairs_made - left_out)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--baseline", "nowhere"], "nowhere does not hold the package charm_checkpoint: name the top of another"),
        (["--baseline", "{root}", "--contenders", "SqliteSaver"], "for our own stores: charm sqlite, charm sqlite"),
        (["--baseline", "{root}", "--plot", "growth.png"], "--plot draws no baseline"),
    ],
)
def test_a_wrong_baseline_says_what_would_be_right(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([one.format(root=imports.ROOT) for one in arguments])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err
