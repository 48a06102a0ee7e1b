"""A look at a store's surroundings, which changes nothing: it makes no store and no schema."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from charm_checkpoint.checking.doctor.disk import LOW
from charm_checkpoint.checking.doctor.network import failed_step, way_to
from charm_checkpoint.checking.doctor.report import DoctorFinding, DoctorReport
from charm_checkpoint.checking.integrity.own import examiner
from charm_checkpoint.config import registry
from charm_checkpoint.config.options import mask
from charm_checkpoint.config.url import Location
from charm_checkpoint.contract import Space, ThreadPage
from charm_checkpoint.errors import CharmError, SchemaMismatch
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.printable import size
from charm_checkpoint.saver.unfinished import Unfinished
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store

PINGS = 9
"""Round trips that are timed."""
SLOW = 20.0
"""Milliseconds from which on a round trip is told: each step of a graph takes two or three."""
PAGES, PAGE = 20, 3200
"""Pages of the listing of threads that are looked at, and threads on each."""
SKEWED = 2.0
"""Seconds that two clocks may be apart before it is told."""

PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379, "valkey": 6379, "valkeys": 6379}


def doctor(store: Store, location: Location, given: Mapping[str, Any]) -> Session[DoctorReport]:
    """Look at a store's surroundings; see `Memory.doctor`."""
    report = DoctorReport(mask(str(location)), location.scheme)
    _tell_options(report, location, given)
    known = examiner(store)
    if (yield from _reached(store, location, known, report)):
        yield from _time_round_trips(store, known, report)
        if hasattr(known, "examine"):
            yield from known.examine(report)
        yield from _measure_space(store, report)
        yield from _tell_unfinished(store, report)
    return report


def _tell_options(report: DoctorReport, location: Location, given: Mapping[str, Any]) -> None:
    """Tell of options that are taken for others, or have no effect."""
    kind = registry.resolve(location.scheme)
    own = {option.name for option in kind.options}
    for name in dict.fromkeys((*location.query, *given)):
        foreign = kind.foreign.get(name)
        if name in own or foreign is None:
            continue
        if foreign.to:
            report.add("options", "note", f"{name} is another program's, and taken for {foreign.to}.")
        else:
            report.add("options", "note", f"{name} is another program's, and has no effect here.", "Leave it out.")


def _reached(store: Store, location: Location, known: Any, report: DoctorReport) -> Session[bool]:
    """Tell whether the store is there and answers, and what its schema is."""
    if hasattr(known, "before"):
        first: DoctorFinding | None = known.before()  # not by the store's driver, which makes what is not there
        if first is not None:
            report.findings.append(first)
            report.failed_at = first.subject
            return False
    try:
        is_current = yield Step(store.backend.is_current, bare=True)
    except SchemaMismatch as error:
        report.failed_at = "schema"
        report.add("schema", "error", str(error))
        return False
    except CharmError as error:
        yield from _tell_failure(location, known, report, error)
        return False
    if is_current:
        report.add("schema", "ok", "it is up to date.")
    else:
        message = "it is an older version's, or is not there yet."
        report.add("schema", "warning", message, "It is made by the first use, or by setup(); see `schema`.")
    return True


def _tell_failure(location: Location, known: Any, report: DoctorReport, error: CharmError) -> Session[None]:
    steps: list[DoctorFinding] = []
    if hasattr(known, "is_remote") and location.hosts:
        ways = partial(way_to, location.hosts, _port(location))
        steps = yield Step(partial(_computed, ways), bare=True)
    report.findings += steps
    report.failed_at = steps[0].subject if steps else failed_step(error)
    if not steps:
        report.add(report.failed_at, "error", mask(str(error)))


def _port(location: Location) -> int:
    if location.scheme in ("https", "supabase"):
        return 443
    if location.scheme == "http":
        return 80
    return 26379 if "sentinel" in location.scheme else PORTS.get(location.scheme.partition("+")[0], 0)


def _computed(work: Any) -> Plan[Any]:
    return (yield Compute(work))


def _time_round_trips(store: Store, known: Any, report: DoctorReport) -> Session[None]:
    ping = getattr(known, "ping", None)
    if ping is None:
        return
    spent = []
    for _ in range(PINGS + 1):
        began = time.perf_counter()
        yield Step(ping, bare=True)
        spent.append((time.perf_counter() - began) * 1000)
    median = statistics.median(spent[1:])  # the first one may have connected
    report.facts["round_trip_ms"] = round(median, 3)
    if median < SLOW:
        report.add("round trip", "ok", f"{median:.2f} ms, the median of {PINGS}.")
    else:
        advice = "Run the program nearer to the server: each step of a graph waits for two or three of these."
        report.add("round trip", "warning", f"{median:.0f} ms, the median of {PINGS}.", advice)


def _measure_space(store: Store, report: DoctorReport) -> Session[None]:
    try:
        space: Space = yield Step(store.backend.space, bare=True)
    except (CharmError, AttributeError):  # a schema that is not there yet; a store of another author's, of before
        return
    report.facts["space"] = space._asdict()
    if space.taken is None:
        return
    free = "" if not space.free else f", {size(space.free)} of which hold nothing"
    advice = ""
    if space.free and space.free > space.taken // 2 and space.free > LOW // 16:
        advice = "compact() gives it back."
    report.add("space", "note" if advice else "ok", f"it takes {size(space.taken)} of {space.kind}{free}.", advice)


def _tell_unfinished(store: Store, report: DoctorReport) -> Session[None]:
    """Tell of threads that copies left; in a large store, of those that are listed first."""
    if not store.keeps_checkpoints:
        return
    unfinished, after = Unfinished(), None
    try:
        for _ in range(PAGES):
            page: ThreadPage = yield Step(partial(store.backend.threads, after, PAGE), bare=True)
            unfinished.add(page.items)
            after = page.next
            if after is None:
                break
    except (CharmError, AttributeError):  # as above
        return
    if unfinished:
        report.facts["unfinished_copies"] = len(unfinished)
        report.add("copies", "note", unfinished.told(), unfinished.advice())


# ------------------------------------------------------------------------------------------ what several stores look at


def tell_clock(report: DoctorReport, server: float, began: float, ended: float) -> None:
    """Tell how far a server's clock is from this one; ``began`` and ``ended`` are when it was asked, and answered."""
    skew = server - (began + ended) / 2
    report.facts["clock_difference_s"] = round(skew, 3)
    if abs(skew) <= SKEWED + (ended - began):
        report.add("clock", "ok", f"the server's and this one are {abs(skew):.1f} s apart.")
    else:
        advice = "Nothing is lost by it: order is the store's own. Ages and retention are wrong by as much: use NTP."
        report.add("clock", "warning", f"the server's clock is {skew:+.0f} s from this one's.", advice)


def tell_tls(report: DoctorReport, is_used: bool, is_near: bool, how: str) -> None:
    """Tell whether what is sent can be read on the way."""
    report.facts["tls"] = is_used
    if is_used:
        report.add("TLS", "ok", "what is sent is encrypted.")
    elif is_near:
        report.add("TLS", "ok", "it is not used, and the server is on this machine.")
    else:
        report.add("TLS", "warning", "what is sent, passwords and states, can be read on the way.", how)
