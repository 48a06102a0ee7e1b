"""Calls as those see them who watch: spans, metrics and log lines; nothing of it for who does not."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from charm_checkpoint import Memory, ThreadConflict, ThreadNotFound, open_memory
from charm_checkpoint.items.store import searches
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.shared.retry import Attempt, Failure, with_retries
from charm_checkpoint.telemetry import watching
from charm_checkpoint.telemetry.operation import CURRENT, Operation, name_of, size_of
from charm_checkpoint.testing.samples import checkpoint, config, versions

LOGGER = "charm_checkpoint.operations"
SECRET = "what nobody but the agent may know"
LONG = [f"message {number} of {SECRET}" * 20 for number in range(60)]


class Watched(NamedTuple):
    """What was told."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a call, in the order they ended."""
        return [span for span in self.exporter.get_finished_spans() if span.name.split()[0] == name]

    def points(self, name: str) -> list[Any]:
        """Return the data points of a metric."""
        data = self.reader.get_metrics_data()
        assert data
        found = [
            metric.data.data_points
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == f"charm_checkpoint.{name}"
        ]
        return [point for points in found for point in points]

    def everything(self) -> str:
        """Return all that was told, as text."""
        spans = [span.to_json() for span in self.exporter.get_finished_spans()]
        data = self.reader.get_metrics_data()
        return "\n".join([*spans, data.to_json() if data else ""])


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    told = Watched(InMemorySpanExporter(), InMemoryMetricReader())
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider([told.reader], shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(told.exporter))
    # The program's own can be set but once in a process.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    monkeypatch.setattr(watching, "_nobody_until", 0.0)
    yield told
    tracers.shutdown()
    meters.shutdown()


def a_turn(memory: Memory) -> int:
    """Put two checkpoints of which one shares with the other; read them; both halves. Return the chunks stored."""
    saver = memory.get_langgraph_checkpointer()
    first, second = (checkpoint({"log": LONG[:size], "n": size}, id=f"c{size}", version=size) for size in (50, 60))
    where = saver.put(config("t"), first, {"source": "loop", "step": 0}, versions(first))
    where = saver.put(where, second, {"source": "loop", "step": 1}, versions(second))
    saver.put_writes(where, [("log", SECRET)], "task")
    assert saver.get_tuple(config("t"))
    stored = memory.usage("t").chunks

    async def again() -> None:
        found = await saver.aget_tuple(config("t"))
        assert found and found.checkpoint["channel_values"]["n"] == 60
        await memory.aload_messages("t")
        await memory.aclose()

    asyncio.run(again())
    return stored


def test_spans_and_metrics_of_every_store(url: str, watched: Watched) -> None:
    with open_memory(url) as memory:
        stored = a_turn(memory)
    scheme = url.partition(":")[0]
    puts, [writes] = watched.spans("put"), watched.spans("put_writes")
    reads = watched.spans("get_tuple")
    assert len(puts) == len(reads) == 2 and len(watched.spans("load_messages")) == 1
    for span in (*puts, writes, *reads):
        assert span.kind is SpanKind.CLIENT and span.status.status_code is StatusCode.UNSET
        assert span.attributes and span.attributes["charm_checkpoint.store"] == scheme
        assert span.attributes["charm_checkpoint.thread_id"] == "t"
        assert span.name == f"{span.attributes['db.operation.name']} {scheme}"
    assert [dict(span.attributes or {})["charm_checkpoint.checkpoint_id"] for span in puts] == ["c50", "c60"]
    first, second = (dict(span.attributes or {}) for span in puts)
    assert first["charm_checkpoint.chunks_sent"] + second["charm_checkpoint.chunks_sent"] == stored
    assert first["charm_checkpoint.chunks_sent"] > 0 and second["charm_checkpoint.chunks_sent"] > 0
    assert second["charm_checkpoint.chunks_reused"] > 0
    if scheme != "memory":
        assert first["charm_checkpoint.round_trips"] > 0
    if scheme not in ("memory", "file"):
        assert first["charm_checkpoint.bytes_sent"] > 500
    chunks = {point.attributes["charm_checkpoint.chunk.state"] for point in watched.points("chunks")}
    assert chunks >= {"sent", "reused", "cached"} or chunks >= {"sent", "reused", "read"}
    assert sum(point.count for point in watched.points("operation.duration")) >= 6
    assert "thread_id" not in str([point.attributes for point in watched.points("operation.duration")])
    assert SECRET not in watched.everything()


def test_conflicts_and_errors_are_told_without_their_text(watched: Watched) -> None:
    with open_memory("memory://", on_conflict="raise") as memory:
        saver = memory.get_langgraph_checkpointer()
        made = [checkpoint({"n": n}, id=f"c{n}") for n in range(3)]
        saver.put(config("t"), made[0], {"source": "loop"}, versions(made[0]))
        with pytest.raises(ThreadConflict):
            saver.put(config("t"), made[1], {"source": "loop"}, versions(made[1]))
        with pytest.raises(TypeError):
            memory.store.run(lambda: wrong(SECRET), write=True)
    [point] = watched.points("conflicts")
    assert point.value == 1
    [span] = watched.spans("test_conflicts_and_errors_are_told_without_their_text")
    assert span.status.status_code is StatusCode.ERROR and span.status.description == "TypeError"
    assert span.attributes and span.attributes["error.type"] == "TypeError" and not span.events
    assert SECRET not in watched.everything()


def wrong(text: str) -> Plan[None]:
    """Fail as a plan of another package may."""
    yield from ()
    raise TypeError(text)


def test_a_call_is_a_child_of_the_span_around_it(watched: Watched) -> None:
    with open_memory("sqlite:///:memory:") as memory:
        with trace.get_tracer_provider().get_tracer("program").start_as_current_span("request") as request:
            memory.load_messages("t")
        [span] = watched.spans("load_messages")
        assert span.parent and span.parent.span_id == request.get_span_context().span_id


class Failing(SpanProcessor):
    """A processor of the program's that fails, with a text that quotes what it was given."""

    def __init__(self, *at: str) -> None:
        self._at = at

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if "start" in self._at:
            raise ValueError(f"{SECRET} {span}")

    def on_end(self, span: ReadableSpan) -> None:
        if "end" in self._at:
            raise KeyError(f"{SECRET} {span}")


@pytest.mark.parametrize("at", ["start", "end", "meter", "provider"])
def test_who_fails_at_watching_harms_no_call(
    watched: Watched, at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: Any, **more: Any) -> Any:
        raise LookupError(SECRET)

    monkeypatch.setattr(watching, "_failures", set())
    trace.get_tracer_provider().add_span_processor(Failing(at))  # type: ignore[attr-defined]
    if at == "meter":
        monkeypatch.setattr(Histogram, "record", refuse)
    if at == "provider":
        monkeypatch.setattr(trace, "get_tracer_provider", refuse)
    around = trace.get_current_span()

    async def once_more(memory: Memory) -> None:
        assert [said["content"] for said in await memory.aload_messages("t")] == [SECRET]
        await memory.aclose()

    with caplog.at_level(logging.WARNING):
        with open_memory("sqlite:///:memory:") as memory:
            memory.append_messages("t", [{"role": "user", "content": SECRET}])
            with pytest.raises(ThreadNotFound):
                memory.pin("gone")
            asyncio.run(once_more(memory))
    assert trace.get_current_span() is around and CURRENT.get() is None
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "OpenTelemetry fails" in caplog.text
    assert SECRET not in caplog.text


def test_a_call_that_is_closed_elsewhere_leaves_nothing_behind(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    async def closed() -> None:
        with open_memory("sqlite:///:memory:") as memory:
            call = memory.aload_messages("t")
            copy_context().run(call.send, None)
            call.close()
            assert not trace.get_current_span().get_span_context().is_valid and CURRENT.get() is None
            assert await memory.aload_messages("t") == []

    asyncio.run(closed())
    assert [span.parent for span in watched.spans("load_messages")] == [None, None]
    assert caplog.text == ""


def test_names_are_told_as_utf8_can_have_them(watched: Watched) -> None:
    with open_memory("memory://") as memory:
        memory.load_messages("a\ud800\0b")
    [span] = watched.spans("load_messages")
    assert span.attributes and span.attributes["charm_checkpoint.thread_id"] == "a\\ud800\0b"


def test_retries_are_counted_whoever_takes_the_steps() -> None:
    operation = Operation("put", "redis", "t", True)
    before = CURRENT.get()
    CURRENT.set(operation)
    tried = with_retries("x", 10, lambda operation, error: Failure(RuntimeError(), True), lambda again: again)  # type: ignore[arg-type]
    assert isinstance(next(tried), Attempt)
    tried.throw(ValueError())
    CURRENT.set(before)
    tried.close()
    assert operation.counts == {"retries": 1}


def test_the_log_has_a_line_a_call_and_no_state(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER), open_memory("sqlite:///:memory:") as memory:
        a_turn(memory)
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert [line.split()[0] for line in lines[:4]] == ["put", "put", "put_writes", "get_tuple"]
    assert all("thread='t'" in line for line in lines[:4]) and "checkpoint='c60'" in lines[1]
    assert "chunks_reused=" in lines[1] and "round_trips=" in lines[1]
    assert SECRET not in "\n".join(lines)


def test_who_comes_later_is_seen_within_a_second(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(watching, "monotonic", lambda: now[0])
    monkeypatch.setattr(watching, "_nobody_until", 0.0)
    with monkeypatch.context() as nobody, open_memory("memory://") as memory:
        nobody.setattr(watching, "_providers", lambda: None)
        memory.load_messages("t")
    with open_memory("memory://") as memory:
        memory.load_messages("t")
        assert not watched.spans("load_messages")
        now[0] += watching.REST
        memory.load_messages("t")
    assert len(watched.spans("load_messages")) == 1


PROGRAM = """
import sys
from charm_checkpoint import open_memory
with open_memory("sqlite:///:memory:") as memory:
    memory.append_messages("t", [{"role": "user", "content": "hi"}])
    loaded = sorted(name for name in sys.modules if name.startswith("opentelemetry"))
    print(loaded, "charm_checkpoint.telemetry.providers" in sys.modules)
    import opentelemetry.trace, opentelemetry.metrics
    memory.load_messages("t")
    print(memory.store.run.__name__, end="")
"""


def test_nothing_is_imported_that_the_program_has_not() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\nrun" and not done.stderr


def test_what_calls_are_called() -> None:
    with open_memory("memory://") as memory:
        backend, items = memory.store.backend, memory.store.items
        assert items
        assert name_of(backend.delete_thread, items) == "delete_thread"
        assert name_of(backend.page, items) == "list"
        assert name_of(items.count, items) == "items.count"
        assert name_of(partial(searches.page, items, "")) == "items.page"
        assert name_of(lambda: None) == "test_what_calls_are_called"
        assert name_of(memory._with_messages(memory._history.append, "t", [])) == "append_messages"
    assert size_of([b"abc", "de", {"f": (b"g", 1, None)}, 7]) == 7
