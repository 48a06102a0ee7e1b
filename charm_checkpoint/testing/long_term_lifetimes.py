"""Items that end, and items as files."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp

from charm_checkpoint.errors import DataError, NewerFormat
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.long_term_base import Clock, LongTermBase, OpenItems, keys
from charm_checkpoint.testing.long_term_methods import NS
from charm_checkpoint.testing.samples import NUMBERS, TEXTS, exact


class ItemLifetimes(LongTermBase):
    """Items that end."""

    def test_what_is_expired_is_gone(self, kept: InMode, clock: Clock) -> None:
        kept.put(NS, "k", {"text": "word"}, ttl=0.5)
        kept.put(NS, "other", {"text": "word"})
        created = kept.get(NS, "k").created_at
        clock.pass_minutes(0.49)
        assert keys(kept.search(NS, query="word", refresh_ttl=False)) == ["other", "k"]
        assert kept.get(NS, "k", refresh_ttl=False) is not None
        clock.pass_minutes(0.01)
        assert kept.get(NS, "k") is None and kept.get_many([(NS, "k")]) == [None]
        assert kept.batch([GetOp(NS, "k"), SearchOp(NS)])[0] is None
        assert keys(kept.search(NS)) == keys(kept.search(NS, query="word")) == keys(kept.items()) == ["other"]
        assert kept.count() == 1
        kept.put(NS, "k", {"text": "anew"}, if_revision=0)
        assert kept.get(NS, "k").created_at > created
        kept.put(("gone",), "k", {}, ttl=1)
        clock.pass_minutes(2)
        assert kept.list_namespaces() == [NS]
        assert (kept.sweep_ttl(), kept.sweep_ttl()) == (1, 0)

    @pytest.mark.parametrize("way", ["get", "batch", "search", "query", "many", "with a put"])
    def test_reads_put_the_end_off(self, kept: InMode, clock: Clock, way: str) -> None:
        read: dict[str, Callable[[], Any]] = {
            "get": lambda: kept.get(NS, "k"),
            "batch": lambda: kept.batch([GetOp(NS, "k")]),
            "search": lambda: kept.search(NS),
            "query": lambda: kept.search(NS, query="word"),
            "many": lambda: kept.get_many([(NS, "k")]),
            "with a put": lambda: kept.batch([GetOp(NS, "k"), PutOp(("x",), "k", {})]),
        }
        kept.put(NS, "k", {"text": "word"}, ttl=10)
        revision = kept.get(NS, "k").revision
        for _ in range(3):
            clock.pass_minutes(9)
            assert read[way]()
        found = kept.get(NS, "k", refresh_ttl=False)
        assert found.revision == revision
        clock.pass_minutes(10)
        assert kept.get(NS, "k") is None

    def test_settings_of_lifetimes(self, open_store: OpenItems, clock: Clock) -> None:
        kept = open_store(ttl={"default_ttl": 10, "refresh_on_read": False, "omit_expired": False})
        kept.put(NS, "k", {})
        kept.put(NS, "ever", {}, ttl=None)
        kept.batch([PutOp(NS, "batch", {})])
        clock.pass_minutes(9)
        kept.get(NS, "k")
        clock.pass_minutes(1)
        assert kept.get(NS, "k") is not None and len(kept.search(NS)) == 3
        assert open_store().get(NS, "k") is None
        assert kept.sweep_ttl() == 1
        assert kept.get(NS, "k") is None and len(kept.search(NS)) == 2
        kept.put(NS, "k", {}, ttl=1)
        kept.put(NS, "k", {}, ttl=None)
        clock.pass_minutes(99)
        assert open_store().get(NS, "k") is not None
        for wrong in (-1, float("nan"), float("inf"), "1", True):
            with pytest.raises(DataError):
                kept.put(NS, "k", {}, ttl=wrong)

    def test_a_sweeper_sweeps(self, kept: InMode, memory: Memory, clock: Clock) -> None:
        kept.put(NS, "k", {}, ttl=1)
        clock.pass_minutes(2)
        assert kept.stop_ttl_sweeper() is True
        running = kept.start_ttl_sweeper(1e-6)
        while InMode(memory, kept.mode).usage().items:  # what is expired counts there until it is swept
            pass
        assert kept.stop_ttl_sweeper(5) is True
        assert running.done()


def by_name(found: list[Any]) -> Any:
    """Return all of items, in one order."""
    return [exact(item.dict()) for item in sorted(found, key=lambda item: (item.namespace, item.key))]


class ItemFiles(LongTermBase):
    """Items as JSON lines."""

    def test_out_and_in(self, kept: InMode, memory: Memory, tmp_path: Path, clock: Clock) -> None:
        held = {"texts": list(TEXTS), "n": list(NUMBERS), "\0": {"\0": 1}}
        kept.put(NS, "all", held, ttl=10)
        kept.put(("größe", "\ud800"), "\0", {"text": "word", "other": "thing"}, index=["other"])
        kept.put(("large",), "k", {"big": [10**5000]})
        for text in TEXTS:
            kept.put(NS, text, {"text": text})
        clock.pass_minutes(1)
        kept.put(NS, "all", held, ttl=10)
        before = kept.search(NS, limit=99, refresh_ttl=False)
        path = tmp_path / "items.jsonl"
        assert kept.export(path) == len(before) + 2 == len(TEXTS) + 3
        assert kept.export(tmp_path / "part", ("größe",)) == 1
        lines, texts = io.BytesIO(), io.StringIO()
        kept.export(lines)
        kept.export(texts)
        assert path.read_bytes() == lines.getvalue() == texts.getvalue().encode()
        for source in (path, io.BytesIO(lines.getvalue()), io.StringIO(texts.getvalue())):
            for namespace in kept.list_namespaces(max_depth=1):
                kept.delete_namespace(namespace)
            assert kept.count() == 0
            clock.pass_minutes(60)
            assert kept.import_(source) == len(before) + 2
            after = kept.search(NS, limit=99, refresh_ttl=False)
            assert by_name(after) == by_name(before)
            assert kept.get(("large",), "k").value == {"big": [10**5000]}
            assert exact(kept.get(NS, "all", refresh_ttl=False).value) == exact(held)
        assert [item.key for item in kept.search((), query="thing") if item.score] == ["\0"]
        clock.pass_minutes(11)
        assert kept.get(NS, "all") is None

    def test_files_that_are_damaged_are_told_before_anything_is_put(self, kept: InMode) -> None:
        for number in range(3):
            kept.put(NS, str(number), {"text": f"word {number}"})
        whole = io.BytesIO()
        kept.export(whole)
        data = whole.getvalue()
        kept.delete_namespace(NS)
        lines = data.splitlines(keepends=True)
        for bad in (
            b"", data[:-1], data[:-5], b"".join(lines[:-1]), b"".join(lines[1:]), b"".join([lines[0], *lines[2:]]),
            data.replace(b"word 1", b"word 9"), lines[0] * 2, b"{}\n", b"\0" * 99, data + data, data + b"\n",
            b"".join([*lines[:2], b"{}\n", *lines[3:]]), b"\xff" + data,
        ):  # fmt: skip
            with pytest.raises(DataError):
                kept.import_(io.BytesIO(bad))
        about = json.loads(lines[1])
        odd: tuple[dict[str, Any], ...] = (
            {"created": "0001-01-01T00:00:00+00:00"}, {"updated": "0001-01-01T00:00:00+23:00"},
            {"updated": "9999-12-31T23:59:59-23:00"}, {"updated": 5}, {"updated": "1970-01-01"}, {"ttl": -1},
            {"ttl": 1.5}, {"ttl": True}, {"ttl": 2**63}, {"ttl": 10**30}, {"index": 5}, {"index": True},
            {"index": "text"}, {"index": [1]}, {"namespace": "users"}, {"namespace": {"users": 1}}, {"namespace": []},
            {"key": 5}, {"key": None}, {"value": [1]}, {"value": None}, {"big": True, "value": {"a": {"\0": "z"}}},
        )  # fmt: skip
        for each in odd:
            line = json.dumps({**about, **each}).encode() + b"\n"
            end = {"items": 1, "sha256": hashlib.sha256(lines[0] + line).hexdigest()}
            with pytest.raises(DataError, match="line 2"):
                kept.import_(io.BytesIO(lines[0] + line + json.dumps(end).encode() + b"\n"))
        with pytest.raises(NewerFormat):
            kept.import_(io.BytesIO(data.replace(b'"version":1', b'"version":2')))
        assert kept.count() == 0
        assert kept.import_(io.BytesIO(data)) == 3
        assert json.loads(lines[-1])["items"] == 3

    def test_a_file_that_did_not_become_whole_is_not_there(self, kept: InMode, tmp_path: Path) -> None:
        kept.put(NS, "k", {})
        target = tmp_path / "items.jsonl"
        target.write_bytes(b"former")

        class Full(Exception):
            pass

        def fail(*args: Any) -> None:
            raise Full

        for step in ("begin", "write", "_line", "finish"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(f"charm_checkpoint.items.store.transfer.Writer.{step}", fail)
                with pytest.raises(Full):
                    kept.export(target)
        assert [path.name for path in tmp_path.glob("items*")] == ["items.jsonl"] and target.read_bytes() == b"former"

        def beside(*args: Any) -> None:
            patch.undo()
            assert kept.raw.export(target) == 1
            fail()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("charm_checkpoint.items.store.transfer.Writer.write", beside)
            with pytest.raises(Full):
                kept.export(target)
        assert [path.name for path in tmp_path.glob("items*")] == ["items.jsonl"] and kept.import_(target) == 1
