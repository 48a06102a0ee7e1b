"""Tracebacks that hold no secret: tools print the locals of every frame, and a driver's hold the password."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from charm_checkpoint.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")


def handled() -> BaseException | None:
    """Return the error that whoever calls is dealing with at this moment; see `drop_frames`."""
    return sys.exc_info()[1]


def drop_frames(error: BaseException, outer: BaseException | None, *kinds: type[Exception]) -> None:
    """Take the frames off an error and off all that it came of; types, messages and attributes stay.

    An `Exception` that is of none of the ``kinds`` given is left alone: it is of a function that
    the user passed, who will want to see it. ``outer`` is what was `handled` before the call that
    failed: that error is somebody else's, and is left as it is. To be raised as ``raise error``:
    a bare ``raise`` of Python 3.10 puts the frames back.
    """
    if kinds and isinstance(error, Exception) and not isinstance(error, kinds):
        return
    for found in chain(error, outer):
        found.__traceback__ = None


def chain(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it came of, but for ``outer``."""
    seen = {id(outer)}
    left: list[BaseException | None] = [error]
    while left:
        found = left.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        left += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]
        yield found


def unseen(call: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function that is given secrets: of a `ConfigError` none of its frames is shown, its message says all."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = handled()
        try:
            return call(*args, **kwargs)
        except ConfigError as error:
            found = error
        del args, kwargs
        drop_frames(found, outer)
        try:
            raise found
        finally:
            del found, outer  # or this frame would keep them, and they this frame

    return wrapper
