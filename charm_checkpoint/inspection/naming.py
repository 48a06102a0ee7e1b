"""Which checkpoint is meant by the beginning or the end of its id, or by how far it is behind the head."""

from __future__ import annotations

from typing import Any

from charm_checkpoint.contract import Backend, Query
from charm_checkpoint.errors import CheckpointNotFound, ConfigError, id_text
from charm_checkpoint.inspection.history import require
from charm_checkpoint.plan import Plan

PAGE = 200
"""Checkpoints that are looked through at a time."""
SHORTEST = 4
"""Characters of an id that are enough to look for it."""


def checkpoint_id(backend: Backend, thread: str, ns: str, name: Any) -> Plan[str | None]:
    """Return the id of the checkpoint that is meant, that of the head if none is named.

    None if the thread holds messages only. Raises `ThreadNotFound`, and `CheckpointNotFound` for what is no checkpoint
    or several.
    """
    back = _back(name)
    if back is not None:
        return (yield from _behind(backend, thread, ns, back))
    page = yield from backend.page(Query(thread, ns, name), None, 1, writes=False)
    if page.items:
        return str(name)
    yield from require(backend, thread)
    return (yield from _alike(backend, thread, ns, name))


def _back(name: Any) -> int | None:
    """Return how many checkpoints behind the head are meant, None for an id."""
    if name is None:
        return 0
    if type(name) is str and name[:1] == "-" and name[1:].isdecimal():
        name = int(name)
    if type(name) is int:
        if name > 0:
            raise ConfigError(
                f"a checkpoint is named by its id, or by a number below 0: -1 is the one before the head, not {name}"
            )
        return -name
    if type(name) is not str or not name:
        said = "by an empty text" if name == "" else f"by {type(name).__name__}"
        raise ConfigError(f"a checkpoint is named by its id, or by a number below 0, not {said}")
    return None


def _behind(backend: Backend, thread: str, ns: str, back: int) -> Plan[str | None]:
    page = yield from backend.page(Query(thread, ns), None, 1, writes=False)
    rows = [item.row for item in page.items if item.row is not None]
    if not rows:
        yield from require(backend, thread, ns)
        if back or ns:
            raise CheckpointNotFound(f"Thread {thread!r} has no checkpoints.")
        return None
    if not back:
        return rows[0].id
    line = yield from backend.ancestors(thread, ns, rows[0].id, back + 1)
    if not line:
        raise removed_meanwhile(thread, rows[0].id)
    if len(line) <= back:
        raise CheckpointNotFound(f"Thread {thread!r} has only {len(line) - 1} checkpoints before its head, not {back}.")
    found = line[back].row
    assert found is not None
    return found.id


def removed_meanwhile(thread: str, id: str) -> CheckpointNotFound:
    """Return the error for a checkpoint that was there a moment ago."""
    return CheckpointNotFound(f"Thread {thread!r}: the checkpoint {id_text(id)} was removed meanwhile.")


def _alike(backend: Backend, thread: str, ns: str, part: str) -> Plan[str]:
    """Return the only id that begins or ends like this."""
    found: list[str] = []
    after: Any = None
    while len(part) >= SHORTEST:
        page = yield from backend.page(Query(thread, ns), after, PAGE, writes=False)
        ids = [item.row.id for item in page.items if item.row is not None]
        found += [id for id in ids if id.startswith(part) or id.endswith(part)]
        after = page.next
        if after is None or len(found) > 1:
            break
    if len(found) == 1:
        return found[0]
    where = f"Thread {thread!r}" + (f", namespace {ns!r}" if ns else "")
    if found:
        raise CheckpointNotFound(
            f"{where}: several checkpoints begin or end with {part!r}, as {id_text(found[0])} and {id_text(found[1])}; "
            "give more of the id."
        )
    raise CheckpointNotFound(f"{where} has no checkpoint {id_text(part)}; history({thread!r}) lists those it has.")
