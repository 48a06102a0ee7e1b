"""One thread's own record, whether or not its store has a way of its own to find it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from charm_checkpoint.contract import Backend, ThreadPage, ThreadRow
from charm_checkpoint.errors import ThreadNotFound
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step

PAGE = 200
"""Threads that are listed at a time where a store finds none by its name."""


def the_row(backend: Backend, thread: str) -> Session[ThreadRow]:
    """Return what a thread's own record says; raises `ThreadNotFound`."""
    row = yield from row_of(backend, thread)
    if row is None:
        raise ThreadNotFound(f"The store holds no thread {thread!r}.")
    return row


def row_of(backend: Backend, thread: str, pages: int | None = None) -> Session[ThreadRow | None]:
    """Return what a thread's own record says, None if it is not there, or not on so many pages of a listing."""
    one: Callable[[str], Plan[ThreadRow | None]] | None = getattr(backend, "thread_row", None)
    if one is not None:
        found: ThreadRow | None = yield Step(partial(one, thread), thread)
        return found
    after = None
    while pages is None or pages > 0:
        page: ThreadPage = yield Step(partial(backend.threads, after, PAGE))
        row = next((row for row in page.items if row.thread == thread), None)
        if row is not None or page.next is None:
            return row
        after, pages = page.next, None if pages is None else pages - 1
    return None
