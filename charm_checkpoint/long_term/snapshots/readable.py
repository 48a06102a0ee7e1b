"""A snapshot as Markdown: for people, and never read back; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from charm_checkpoint.items.results import time_of
from charm_checkpoint.long_term.plain_text import fence_around
from charm_checkpoint.long_term.shown import markdown
from charm_checkpoint.long_term.snapshots.records import ACCESS, NOTES, Record


def readable(records: Iterable[Record], project: str, taken: datetime) -> str:
    """Return the records as a page of Markdown."""
    given = list(records)
    used = {(each.scope, each.key): each.value for each in given if each.part == ACCESS}
    lines = [
        f"# Memories of {markdown(project)}",
        "",
        f"Taken {_date(taken)}. This page is for people to read, and no program reads it: the file beside it, which",
        "ends in .jsonl, has all there is, and what is changed here changes nothing.",
    ]
    scope = None
    for each in given:
        if each.scope != scope:
            scope = each.scope
            lines += ["", f"## {markdown(scope)}"]
        if each.part == NOTES:
            lines += _memory(each, used.get((each.scope, each.key)))
        elif each.part != ACCESS:
            forgotten = _date(time_of(each.value["forgotten"]))
            lines += ["", f"- forgotten {forgotten}: {markdown(each.key)}"]
    return "\n".join(lines) + "\n"


def _memory(record: Record, use: dict[str, int] | None) -> list[str]:
    value = record.value
    told = [value["kind"], value["status"], f"source {value['source']}"]
    told += [f"{name} {value[name]}" for name in ("importance", "category", "session") if value[name] is not None]
    if value["tags"]:
        told.append(f"tags {', '.join(value['tags'])}")
    if value["reason"]:
        told.append(f"because {value['reason']}")
    dates = [f"{name} {_date(time_of(value[name]))}" for name in ("created", "updated", "validated", "archived")
             if value[name] is not None]  # fmt: skip
    if use is not None:
        dates.append(f"used {use['uses']} times, last {_date(time_of(use['used']))}")
    cited = [f"- cites {markdown(each['path'])}" for each in value["citations"]]
    body = value["body"]
    # A fence longer than any in the body, so that nothing of it can end it.
    fence = fence_around([body])
    about = [markdown(text, 500) for text in ("; ".join(told), "; ".join(dates))]
    title = markdown(record.key)
    return ["", f"### {title}", "", f"{about[0]}  ", about[1], *(["", *cited] if cited else []), "", fence, body, fence]


def _date(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")
