"""That a new store is filled once: by one program, while others wait, and never again."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import Any, Final

from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow, Work
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.snapshots.records import NOTES
from charm_checkpoint.long_term.steps import call
from charm_checkpoint.long_term.tombstones import SIDE as TOMBSTONES

SIDE: Final = "snapshots"
KEY: Final = "filled"

LEASE: Final = 60_000_000
"""Microseconds after which a program that began is taken to have died: another one begins anew, which loses nothing."""
_PAUSE: Final = 0.05


def is_new(scope: Scope) -> Flow[bool]:
    """Tell whether a scope never had a memory, as far as its store knows."""
    item = yield call(scope.store, "get", scope.side(SIDE), KEY)
    if item is not None and item.value["done"]:
        return False
    if item is not None:
        return True  # somebody began
    yield from scope.refresh()
    for side in (NOTES, TOMBSTONES):
        if (yield call(scope.store, "count", scope.side(side))):
            yield from settle(scope)
            return False
    return True


def claim(scope: Scope) -> Flow[str | None]:
    """Wait until it is this program's turn to fill a scope; return what to release, None if another one has done it."""
    token = secrets.token_hex(8)
    while True:
        item = yield call(scope.store, "update", scope.side(SIDE), KEY, partial(_claimed, token))
        if item.value["done"]:
            return None
        if item.value["by"] == token:
            return token
        yield Work(partial(time.sleep, _PAUSE), partial(asyncio.sleep, _PAUSE))


def _claimed(token: str, old: dict[str, Any] | None) -> dict[str, Any] | None:
    now = clock.now()
    if old is not None and (old["done"] or now < old["until"] <= now + LEASE):
        return None
    return {"done": False, "by": token, "until": now + LEASE}


def release(scope: Scope, token: str) -> Flow[None]:
    """Have another program try, at once."""

    def released(old: dict[str, Any] | None) -> dict[str, Any] | None:
        return {**old, "until": 0} if old is not None and not old["done"] and old["by"] == token else None

    yield call(scope.store, "update", scope.side(SIDE), KEY, released)


def settle(scope: Scope) -> Flow[None]:
    """Note that a scope is in use: it is not filled by itself any more."""

    def settled(old: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if old is not None and old["done"] else {"done": True, "by": None, "until": 0}

    yield call(scope.store, "update", scope.side(SIDE), KEY, settled)
