"""Listings: how many are shown, how many there are beside, and since when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Annotated, Generic, NamedTuple, TypeAlias, TypeVar

import typer

from charm_checkpoint.cli.output import is_terminal
from charm_checkpoint.cli.terminal import echo_note
from charm_checkpoint.cli.values import plural
from charm_checkpoint.errors import CharmError

T = TypeVar("T")

COUNTED = 2000
"""How many that are not shown are counted."""
MOST = 10**12
"""What no listing has more of."""

ListingLimit: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        min=1,
        metavar="N",
        help="N at most; by default as many as are read at a glance in a terminal, else all.",
        show_default=False,
    ),
]


class Counted(NamedTuple, Generic[T]):
    """What is shown of a listing; ``more`` are there beside, or at least so many if not ``exact``."""

    shown: list[T]
    more: int
    exact: bool = True


def shown_limit(limit: int | None, every: bool, as_json: bool, usual: int) -> int | None:
    """Return how many are to be shown: what was asked for, or in a terminal the usual number, else all."""
    if limit is not None or every or as_json or not is_terminal():
        return limit
    return usual


def counted(read: Callable[[int | None], Iterator[T]], limit: int | None) -> Counted[T]:
    """Read a listing, which takes its own limit, and count what is behind that limit."""
    if limit is None:
        return Counted(list(read(None)), 0)
    limit = min(limit, MOST)
    found = read(limit + COUNTED + 1)
    shown = list(islice(found, limit))
    more = sum(1 for _ in found)
    return Counted(shown, min(more, COUNTED), more <= COUNTED)


def say_more(found: Counted[T], noun: str) -> None:
    """Say on stderr how many there are beside those shown."""
    if found.more:
        echo_note(f"and {'' if found.exact else 'more than '}{plural(found.more, f'more {noun}')}; --all shows them")


def when(option: str, text: str | None) -> datetime | None:
    """Read a moment: an age such as 2d or 1h30m, or a date or time in ISO's form, of this machine's zone."""
    if text is None:
        return None
    with suppress(ValueError):
        return _in_utc(datetime.fromisoformat(text.replace("Z", "+00:00")))
    from charm_checkpoint.config.options import duration

    try:
        return datetime.now(timezone.utc) - timedelta(seconds=duration(text))
    except (CharmError, ValueError, OverflowError) as error:
        hint = f"{text!r} is no age, such as 2d, 12h or 1h30m, and no date, such as 2026-03-01"
        raise typer.BadParameter(hint, param_hint=f"'{option}'") from error


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):  # at an end of what a datetime can tell, where hours matter to nobody
        return moment.replace(tzinfo=timezone.utc)
