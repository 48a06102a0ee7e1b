"""Calls as spans and metrics of OpenTelemetry; imported only where the program has imported that itself.

Attributes that OpenTelemetry's semantic conventions for database clients name are called as there
(``db.system.name``, ``db.operation.name``, ``error.type``); the rest begins with ``charm_checkpoint``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from opentelemetry import context, metrics, trace

from charm_checkpoint import __version__
from charm_checkpoint.telemetry.operation import Operation

SCOPE = "charm_checkpoint"

_NOT_SET_UP = ("opentelemetry.trace", "opentelemetry.metrics")
"""Where the classes of providers are that take nothing."""

_CHUNKS = {"chunks_sent": "sent", "chunks_reused": "reused", "chunks_read": "read", "chunks_cached": "cached"}
_BYTES = {"bytes_sent": "sent", "bytes_received": "received"}
_SYSTEMS = {"sqlite": "sqlite", "postgres": "postgresql", "postgresql": "postgresql", "supabase": "postgresql"}


class Instruments:
    """The instruments of one provider of metrics."""

    def __init__(self, provider: Any) -> None:
        meter = provider.get_meter(SCOPE, __version__)
        self.duration = meter.create_histogram(
            "charm_checkpoint.operation.duration", "s", "How long a call of a store took"
        )
        self.counters = {
            name: meter.create_counter(f"charm_checkpoint.{name}", unit, about)
            for name, unit, about in (
                ("round_trips", "{round_trip}", "Operations of the driver"),
                ("retries", "{retry}", "Operations that were tried again"),
                ("conflicts", "{conflict}", "Checkpoints that did not follow the head"),
                ("chunks", "{chunk}", "Pieces of values, by what became of them"),
                ("bytes", "By", "Bytes of operations and their replies, before the wire's own encoding"),
            )
        }


class Begun(NamedTuple):
    """A span under way, and what makes the one around it the current one again."""

    span: trace.Span
    token: Any


class Providers:
    """What takes spans and metrics; None for either that is not set up."""

    def __init__(self, tracers: Any, meters: Any) -> None:
        self.key = (tracers, meters)
        self._tracer = None if tracers is None else tracers.get_tracer(SCOPE, __version__)
        self._instruments = None if meters is None else Instruments(meters)

    def begin(self, operation: Operation) -> Begun | None:
        """Begin the span of a call, which is the current one from now on; return what `end` takes."""
        if self._tracer is None:
            return None
        span = self._tracer.start_span(f"{operation.name} {operation.system}", kind=trace.SpanKind.CLIENT)
        return Begun(span, context.attach(trace.set_span_in_context(span)))

    def end(self, begun: Begun | None, operation: Operation) -> None:
        """End the span of a call with what that came to, but no error's text, which may quote a state."""
        if begun is None:
            return
        span = begun.span
        try:
            if trace.get_current_span() is span:  # or a coroutine is closed in another context than it ran in
                context.detach(begun.token)
            if span.is_recording():
                span.set_attributes(_span_attributes(operation))
                if operation.error:
                    span.set_status(trace.StatusCode.ERROR, operation.error)
        finally:
            span.end()

    def measure(self, operation: Operation) -> None:
        """Add a call to the metrics."""
        if self._instruments is None:
            return
        named = _attributes(operation)
        self._instruments.duration.record(operation.seconds, named)
        counters = self._instruments.counters
        for name, count in operation.counts.items():
            if name in _CHUNKS:
                counters["chunks"].add(count, {**named, "charm_checkpoint.chunk.state": _CHUNKS[name]})
            elif name in _BYTES:
                counters["bytes"].add(count, {**named, "charm_checkpoint.direction": _BYTES[name]})
            elif name in counters:
                counters[name].add(count, named)


def _attributes(operation: Operation) -> dict[str, Any]:
    """Return what is said in metrics, too: nothing of which there are many, as there are of threads."""
    named = {
        "db.system.name": _SYSTEMS.get(operation.system, operation.system),
        "db.operation.name": operation.name,
        "charm_checkpoint.store": operation.system,
    }
    return {**named, "error.type": operation.error} if operation.error else named


def _span_attributes(operation: Operation) -> dict[str, Any]:
    named = _attributes(operation)
    if operation.thread is not None:
        named["charm_checkpoint.thread_id"] = _text(operation.thread)
    if operation.checkpoint is not None:
        ns, id = operation.checkpoint
        named["charm_checkpoint.checkpoint_ns"], named["charm_checkpoint.checkpoint_id"] = _text(ns), _text(id)
    return {**named, **{f"charm_checkpoint.{name}": count for name, count in operation.counts.items()}}


def _text(name: str) -> str:
    """Return a name as UTF-8 can have it: exporters fail on lone surrogates."""
    return name.encode("utf-8", "backslashreplace").decode()


_made: Providers | None = None


def providers() -> Providers | None:
    """Return what the program has set up; None where it has set up neither spans nor metrics."""
    global _made
    tracers, meters = _real(trace.get_tracer_provider()), _real(metrics.get_meter_provider())
    if tracers is meters is None:
        return None
    if _made is None or _made.key[0] is not tracers or _made.key[1] is not meters:
        _made = Providers(tracers, meters)
    return _made


def _real(provider: Any) -> Any:
    return None if type(provider).__module__.startswith(_NOT_SET_UP) else provider
