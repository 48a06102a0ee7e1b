"""Attributes that are made when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from charm_checkpoint.runtime import forks

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - a decorator, as property is
    """An attribute that a method makes, once, whichever thread asks for it first; until then nothing is imported."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> once[T]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object | None, kind: type) -> once[T] | T:
        if owner is None:
            return self
        with forks.lock(__name__):
            made = vars(owner)
            if self._name not in made:
                made[self._name] = self._make(owner)
            found: T = made[self._name]
            return found
