"""Tables of what was measured: plain text that is also Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import history, imports, large, latency, messages, operations, store, tasks
from benchmarks.contender import Contender
from benchmarks.contenders import BASELINE
from benchmarks.pairs import Pairs, Ratio
from benchmarks.runner import Job, Outcome

NONE = "-"
Format = Callable[[float], str]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned Markdown table, the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(_align(row, widths)) + " |" for row in (header, rule, *rows)) + "\n"


def _align(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def seconds(value: float) -> str:
    """Write seconds to three digits or so."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def whole(value: float) -> str:
    """Write a number without decimals, or with one if it is small."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def megabytes(value: float | None) -> str:
    """Write bytes as MB, of a million bytes each."""
    return NONE if value is None else f"{value / 1e6:,.2f}"


def ratio(value: float | None, base: float | None) -> str:
    """Write how many times ``base`` a value is."""
    if value is None or not base:
        return NONE
    times = value / base
    return f"{times:.2f}" if times < 10 else f"{times:,.0f}"


def middle(outcome: Outcome, figure: str, write: Format) -> str:
    """Write a figure's median."""
    value = outcome.median(figure)
    return NONE if value is None else write(value)


def spread(outcome: Outcome, figure: str, write: Format) -> str:
    """Write the least and the greatest of a figure."""
    values = outcome.values(figure)
    return f"{write(min(values))} to {write(max(values))}" if values else NONE


def runs(job: Job, outcomes: Sequence[Outcome]) -> str:
    """Return the table of a job that measures seconds and bytes."""
    done = [outcome for outcome in outcomes if outcome.rounds]
    base = next((one.median("seconds") for one in done if one.contender == BASELINE), None)
    header = ("contender", "seconds", "least to most", f"of {BASELINE}", "MB stored", "of its text")
    rows = [
        (
            one.contender,
            middle(one, "seconds", seconds),
            spread(one, "seconds", seconds),
            ratio(one.median("seconds"), base),
            megabytes(one.median("bytes")),
            ratio(one.median("bytes"), one.median("text_bytes")),
        )
        for one in done
    ]
    return f"## {job.workload}: {_title(job, done)}\n\n" + table(header, rows) + _failures(outcomes)


def _title(job: Job, outcomes: Sequence[Outcome]) -> str:
    text = f"{megabytes(outcomes[0].median('text_bytes'))} MB of text" if outcomes else "nothing measured"
    if job.workload == "chat":
        turns = job.parameters["turns"]
        return f"{turns:,} turns, {2 * turns:,} messages, {text}"
    return f"{job.parameters['files']:,} files, {job.parameters['steps']:,} steps of one change, {text}"


TITLES = {
    "operations": "microseconds a call, median of {repeats:,} calls",
    "history": f"milliseconds for the last {history.LIMIT} checkpoints of a chat of {{turns:,}} turns",
    "messages": "microseconds a call, median of {repeats:,} calls",
    "tasks": "{tasks:,} asyncio tasks at once, each with a thread of its own; more is better",
    "store": "microseconds a call, median of {repeats:,} calls, on {items:,} items in {spaces:,} namespaces",
    "large": "milliseconds a search, median of {repeats:,} calls, in a namespace of {items:,} items",
    "latency": "a chat of {turns:,} turns, {delay:,} ms added to each round trip",
}
FIGURES = {
    "operations": (operations.OPERATIONS, "microseconds", whole),
    "history": (history.FIGURES, "milliseconds", whole),
    "messages": (messages.FIGURES, "microseconds", whole),
    "tasks": (tasks.FIGURES, "a second", whole),
    "store": (store.FIGURES, "microseconds or bytes", whole),
    "large": (large.FIGURES, "milliseconds", seconds),
    "latency": (latency.FIGURES, "a turn", seconds),
}
"""What the workloads measure that have a table for each figure: its unit, and how it is written."""


def figures(job: Job, outcomes: Sequence[Outcome], contenders: Mapping[str, Contender]) -> str:
    """Return a table for each figure of a job, each contender against its rival."""
    done = {outcome.contender: outcome for outcome in outcomes if outcome.rounds}
    labels, unit, write = FIGURES[job.workload]
    text = f"## {job.workload}: {TITLES[job.workload].format(**job.parameters)}\n"
    for label in labels:
        header = (label, "mode", unit, "least to most", "of its rival", "rival")
        measured = [outcome for outcome in done.values() if outcome.values(label)]
        rows = [_against_rival(label, write, outcome, done, contenders[outcome.contender]) for outcome in measured]
        text += "\n" + table(header, rows)
    return text + _failures(outcomes)


def _against_rival(
    label: str, write: Format, outcome: Outcome, done: Mapping[str, Outcome], contender: Contender
) -> tuple[str, ...]:
    rival = done.get(contender.rival or "")
    return (
        outcome.contender,
        contender.call_mode,
        middle(outcome, label, write),
        spread(outcome, label, write),
        ratio(outcome.median(label), rival.median(label) if rival else None),
        contender.rival or NONE,
    )


def growth(job: Job, outcomes: Sequence[Outcome]) -> str:
    """Return the table of MB stored after so many turns."""
    done = [outcome for outcome in outcomes if outcome.rounds]
    turns = list(done[0].rounds[0]) if done else []
    rows = [(point, *(megabytes(one.median(point)) for one in done)) for point in turns]
    header = ("turns", *(one.contender for one in done))
    return f"## growth: MB stored after so many of {job.parameters['turns']:,} turns\n\n{table(header, rows)}" + (
        _failures(outcomes)
    )


def pairs(job: Job, found: Sequence[Pairs]) -> str:
    """Return the table of a job's figures in two versions, and how many times the old one the new one is."""
    header = ("contender", "figure", "before", "now", "now / before", "95 %", "middle half", "pairs")
    rows = [
        (
            one.contender,
            figure,
            *(whole(value) if value >= 1 else f"{value:.3f}" for value in one.medians(figure)),
            *_ratio(one.ratio(figure)),
            str(len(one.now)),
        )
        for one in found
        for figure in one.figures
    ]
    unit = FIGURES[job.workload][1] if job.workload in FIGURES else "seconds and bytes"
    return f"## {job}: {unit}, before and now\n\n" + table(header, rows) + _failures(found)


def _ratio(found: Ratio) -> tuple[str, str, str]:
    between = [f"{low:.3f} to {high:.3f}" for low, high in ((found.least, found.most), (found.low, found.high))]
    return f"{found.median:.3f}", between[0], between[1]


def opening(outcomes: Sequence[Outcome]) -> str:
    """Return the table of import times."""
    done = [outcome for outcome in outcomes if outcome.rounds]
    base = next((one.median("milliseconds") for one in done if one.contender == imports.BASE), None)
    rows = [
        (
            f"import {one.contender}",
            middle(one, "milliseconds", whole),
            spread(one, "milliseconds", whole),
            NONE if base is None else f"{(one.median('milliseconds') or 0) - base:+,.0f}",
        )
        for one in done
    ]
    header = ("a fresh process", "milliseconds", "least to most", f"more than {imports.BASE}")
    return "## open: importing the package\n\n" + table(header, rows) + _failures(outcomes)


def _failures(outcomes: Sequence[Outcome | Pairs]) -> str:
    lines = [f"\n- {one.contender} failed: {one.failed}" for one in outcomes if one.failed]
    return "".join(lines) + "\n" if lines else ""


def tables(outcomes: Sequence[Outcome | Pairs], contenders: Mapping[str, Contender]) -> list[str]:
    """Return a table for each job, in the order they were run."""
    jobs = {str(outcome.job): outcome.job for outcome in outcomes}
    return [_job(job, [one for one in outcomes if one.job == job], contenders) for job in jobs.values()]


def _job(job: Job, measured: Sequence[Outcome | Pairs], contenders: Mapping[str, Contender]) -> str:
    if compared := [one for one in measured if isinstance(one, Pairs)]:
        return pairs(job, compared)
    outcomes = [one for one in measured if isinstance(one, Outcome)]
    if job.workload in FIGURES:
        return figures(job, outcomes, contenders)
    if job.workload == "growth":
        return growth(job, outcomes)
    return opening(outcomes) if job.workload == "open" else runs(job, outcomes)
