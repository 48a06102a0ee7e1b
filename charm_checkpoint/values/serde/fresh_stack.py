"""Room for deep recursion, however deep the caller is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class _Fresh(threading.Thread):
    """A thread of `on_a_fresh_stack`."""


def is_fresh() -> bool:
    """Say whether there is no more room to be had than this thread has."""
    return isinstance(threading.current_thread(), _Fresh)


def on_a_fresh_stack(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, called in a thread of its own, which has its whole recursion limit left.

    For what failed with RecursionError, which is raised where there is no thread to be had: with it, what one caller
    could write every other can read.
    """
    done: list[T] = []
    failed: list[BaseException] = []
    context: Any = copy_context()

    def run() -> None:
        try:
            done.append(context.run(work))
        except BaseException as exc:
            failed.append(exc)

    thread = _Fresh(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError as exc:
        raise RecursionError(str(exc)) from exc
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
