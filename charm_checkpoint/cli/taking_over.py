"""Threads of LangGraph's own savers, taken over by ``copy`` and ``import-official``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.progress import progress
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import TypeNotLoaded

if TYPE_CHECKING:
    from charm_checkpoint.importers import ImportReport


def take_over(
    source: str,
    target: str | None,
    *,
    threads: Iterable[str] | None,
    schema: str | None,
    prefix: str | None,
    skip_existing: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Take over threads of a saver of LangGraph's, and say what became of them."""
    from charm_checkpoint import importers, open_memory

    place = "memory://" if dry_run or target is None else target
    with open_memory(place) as memory, progress("reading", "threads") as tell:
        report = importers.import_official(
            source,
            memory,
            threads=threads,
            schema=schema,
            prefix=prefix,
            skip_existing=skip_existing,
            dry_run=dry_run,
            on_progress=lambda at: tell(at.threads, None, f"{at.thread!r}: {at.checkpoints} of {at.total} checkpoints"),
        )
    for said in report.complaints():
        echo_error(mask(said))
    if any(isinstance(error, TypeNotLoaded) for _, error in report.failed):
        echo_error("to load the module of a class that the state holds, add --import MODULE")
    if json:
        print_json(_as_dict(report, dry_run))
    else:
        _say(report, "would be taken over" if dry_run else "taken over")
    return 1 if report.failed or report.losses else 0


def _as_dict(report: ImportReport, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "threads": report.threads,
        "unchanged": report.unchanged,
        "skipped": report.skipped,
        "checkpoints": report.checkpoints,
        "writes": report.writes,
        "source_bytes": report.source_bytes,
        "stored_bytes": report.stored_bytes,
        "failed": [{"thread": thread, "message": mask(str(error))} for thread, error in report.failed],
        "losses": [finding.message for finding in report.losses],
        "complete": not (report.failed or report.losses),
    }


def _say(report: ImportReport, done: str) -> None:
    echo(f"{report.threads} threads {done}: {report.checkpoints:,} checkpoints, {report.writes:,} pending writes")
    echo(f"{report.source_bytes:,} bytes read, {report.stored_bytes:,} stored")
    for count, what in (
        (report.unchanged, "were here already"),
        (len(report.skipped), "hold something else here, and were skipped"),
        (len(report.failed), "were left alone"),
    ):
        if count:
            echo(f"{count} threads {what}")
