"""A check as it is asked for: of the program's classes, of all that is stored, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from charm_checkpoint.checking.checking import check
from charm_checkpoint.checking.heads import sampled
from charm_checkpoint.checking.integrity.report import IntegrityProgress
from charm_checkpoint.checking.integrity.session import look
from charm_checkpoint.checking.report import CheckReport
from charm_checkpoint.session import Session
from charm_checkpoint.store import Store
from charm_checkpoint.values.serde import Serializer


@dataclass(frozen=True)
class Wanted:
    """What to look at; see `charm_checkpoint.checking.methods.Checks.check`."""

    integrity: bool | Literal["only"]
    repair: bool
    graph: Any
    sample: int | None
    threads: Iterable[str] | None
    history: bool
    on_progress: Callable[[IntegrityProgress], object] | None


def check_both(store: Store, serde: Serializer, wanted: Wanted) -> Session[CheckReport]:
    """Look at what is wanted; what is stored comes first, as it may be repaired."""
    integrity = None
    threads = wanted.threads
    if wanted.integrity or wanted.repair:
        if threads is None and wanted.sample is not None:
            threads = yield from sampled(store.backend, wanted.sample, every=True)
        integrity = yield from look(store, threads, wanted.repair, wanted.on_progress)
    if wanted.integrity == "only":
        is_sample = threads is not None
        return CheckReport(
            integrity.threads if integrity else 0, integrity.checkpoints if integrity else 0, 0, is_sample,
            integrity=integrity, is_integrity_only=True,
        )  # fmt: skip
    report = yield from check(store, serde, wanted.graph, wanted.sample, wanted.threads, wanted.history)
    report.integrity = integrity
    return report
