"""Items of long-term memory: their values, what they are found by, and the list of namespaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from charm_checkpoint.checking.integrity.report import Findings, IntegrityFinding
from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.contract import tenant_of
from charm_checkpoint.contract_items import Entry, ItemBackend, ItemKey, ItemQuery, ItemRow
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.items.bounded import unseal
from charm_checkpoint.items.namespaces import CACHE, OWN, namespace_of
from charm_checkpoint.items.ranking.entries import Parsed, read_entry
from charm_checkpoint.items.values import stored
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.sealing import Identities, opened

PAGE = 100
"""Items that are read at a time."""
ATTEMPTS = 3
"""How often items are counted anew because some came or went meanwhile."""

MADE_ANEW = "Nothing is lost: whoever needs it makes it anew."
AGAIN = "Put the item again, or delete it."
RESTORE = "Restore it from a backup, or erase the namespace."


def look_at_items(tools: Tools, findings: Findings, tell: Callable[[], object]) -> Session[None]:
    """Look at all items of a store, and at what searches go by."""
    backend = tools.store.items
    if backend is not None:
        yield from _ItemsLook(tools, backend, findings, tell).look()


class _ItemsLook:
    def __init__(self, tools: Tools, backend: ItemBackend, findings: Findings, tell: Callable[[], object]) -> None:
        self._backend = backend
        self._identities = Identities(tenant_of(backend))
        self._findings = findings
        self._tell = tell
        self._listed_counts: dict[bytes, int] = {}

    def look(self) -> Session[None]:
        self._findings.begin()
        now = _now()
        try:
            spaces = yield Step(partial(self._backend.spaces, b"", now))
        except StoreCorrupt as error:
            self._add("item", f"the namespaces of long-term memory cannot be listed: {error}")
            return
        for space in spaces:
            self._findings.begin()
            yield from self._space(space)
            self._tell()
        yield from self._check_counts([space for space in spaces if not _is_own(space)])

    def _space(self, space: bytes) -> Session[None]:
        try:
            reply = yield Step(partial(self._backend.entries, space))
        except StoreCorrupt as error:
            self._add("entry", f"{_named(space)} cannot be searched: {error}")
            return
        entries = next((found.entries for found in reply.spaces if found.space == space), ())
        ends = {entry.key: entry for entry in entries}
        names = [ItemKey(space, key) for key in ends]
        for start in range(0, len(names), PAGE):
            yield from self._items(names[start : start + PAGE], ends)
        yield from self._check_listing(space, ends)

    def _check_counts(self, spaces: Sequence[bytes]) -> Session[None]:
        """Compare how many items a namespace, with those below it, says that it holds with how many are listed."""
        top: bytes | None = None
        for space in spaces:
            if top is not None and space.startswith(top):
                continue
            top = space
            below = [each for each in spaces if each.startswith(space)]
            try:
                yield from self._check_count(space, below)
            except StoreCorrupt:  # which was told
                continue

    def _check_count(self, top: bytes, below: Sequence[bytes]) -> Session[None]:
        there = sum(self._listed_counts.get(space, 0) for space in below)
        for _ in range(ATTEMPTS):
            now = _now()
            told = yield Step(partial(self._backend.count, top, now))
            if told == there:
                return
            there = 0
            for space in below:
                there += len((yield from self._listed(space, now)))
            if told == there or told != (yield Step(partial(self._backend.count, top, now))):
                continue  # it came or went meanwhile
            message = f"{_named(top)}, with those below it, counts {told:,} items, and there are {there:,}."
            self._findings.add(IntegrityFinding("item", message, count=abs(told - there), advice=RESTORE))
            return

    def _items(self, names: list[ItemKey], entries: dict[bytes, Entry]) -> Session[None]:
        rows = yield from self._fetched(names)
        parsed = {}
        for name in names:
            row = rows.get(name)
            if row is None:
                if not _is_own(name.space):  # what programs keep for themselves comes and goes at any time
                    self._add("item", f"{_item(name)}: its value is missing.", AGAIN)
                continue
            self._findings.report.items += not _is_own(name.space)
            self._findings.report.payload_bytes += len(row.value)
        for name, why in (yield Step(partial(self._read, [rows[name] for name in names if name in rows]))):
            self._add_value(name, why)
        for name in names:
            try:
                entry = read_entry(entries[name.key].entry)
            except StoreCorrupt as error:
                self._add("entry", f"{_item(name)} is not found as it should be: {error}", AGAIN)
            else:
                if entry is not None and entry.vectors:
                    parsed[name] = entry
        yield from self._vectors(parsed)

    def _fetched(self, names: list[ItemKey], vectors: bool = False) -> Session[dict[ItemKey, ItemRow]]:
        try:
            return dict((yield Step(partial(self._backend.fetch, names, vectors))))
        except StoreCorrupt as error:
            if len(names) == 1:
                self._add("item", f"{_item(names[0])} cannot be read: {error}", AGAIN)
                return {}
        found: dict[ItemKey, ItemRow] = {}
        for name in names:
            found.update((yield from self._fetched([name], vectors)))
        return found

    def _read(self, rows: Sequence[ItemRow]) -> Plan[list[tuple[ItemKey, str]]]:
        failed: list[tuple[ItemKey, str]] = yield Compute(partial(self._failures, rows))
        return failed

    def _failures(self, rows: Sequence[ItemRow]) -> list[tuple[ItemKey, str]]:
        failed = []
        for row in rows:
            if _is_own(row.space):
                # A cache's leases are of no form, and it asks itself for the checksums of all else that it reads.
                if not row.space.startswith(CACHE) and unseal(row) is None:
                    failed.append((row.item, "its checksum is not right."))
                continue
            try:
                stored(opened(self._identities.item(row.space, row.key), row.value))
            except StoreCorrupt as error:
                failed.append((row.item, str(error)))
        return failed

    def _vectors(self, parsed: dict[ItemKey, Parsed]) -> Session[None]:
        if not parsed:
            return
        rows = yield from self._fetched(list(parsed), vectors=True)
        for name, entry in parsed.items():
            held = len(rows[name].value or b"") if name in rows else 0  # a store may have none of them
            if held != entry.vector_bytes:
                said = f"{held:,} bytes of vectors are stored, and its entry is of {entry.vector_bytes:,}."
                self._add("entry", f"{_item(name)}: {said}", AGAIN)

    def _check_listing(self, space: bytes, entries: dict[bytes, Entry]) -> Session[None]:
        """Compare what searches go by with what listings show."""
        now = _now()
        try:
            listed = yield from self._listed(space, now)
        except StoreCorrupt as error:
            self._add("item", f"{_named(space)} cannot be listed: {error}")
            return
        self._listed_counts[space] = len(listed)
        living = {key for key, entry in entries.items() if entry.expires is None or entry.expires > now}
        if not living <= listed:
            yield from self._again(space, living - listed, "are found, and not listed")
        if not listed <= entries.keys():
            yield from self._again(space, listed - entries.keys(), "are listed, and not found")

    def _listed(self, space: bytes, now: int) -> Session[set[bytes]]:
        found: set[bytes] = set()
        after = None
        while True:
            rows = yield Step(partial(self._backend.page, ItemQuery(space, now, PAGE, after=after)))
            found.update(row.key for row in rows if row.space == space)
            if len(rows) < PAGE:
                return found
            after = (rows[-1].updated, rows[-1].space, rows[-1].key)

    def _again(self, space: bytes, keys: set[bytes], what: str) -> Session[None]:
        """Tell of items that stand in one list alone, unless they came or went meanwhile."""
        reply = yield Step(partial(self._backend.entries, space))
        now = {entry.key for found in reply.spaces if found.space == space for entry in found.entries}
        listed = yield from self._listed(space, _now())
        left = keys & (now ^ listed)
        if left:
            some = ", ".join(map(repr, sorted(map(_text, left))[:3]))
            self._add("entry", f"{_named(space)}: {len(left):,} items {what}: {some}", AGAIN)

    def _add_value(self, name: ItemKey, why: str) -> None:
        if _is_own(name.space):
            said = f"what the store keeps for itself is damaged, {_item(name)}: {why}"
            self._findings.add(IntegrityFinding("item", said, "note", advice=MADE_ANEW))
        else:
            self._add("item", f"{_item(name)}: {why}", AGAIN)

    def _add(self, kind: str, message: str, advice: str = RESTORE) -> None:
        self._findings.add(IntegrityFinding(kind, message, advice=advice))


def _now() -> int:
    return time.time_ns() // 1000


def _named(space: bytes) -> str:
    return f"the namespace {_path(space)} of items"


def _item(name: ItemKey) -> str:
    return f"item {_text(name.key)!r} in {_path(name.space)}"


def _is_own(space: bytes) -> bool:
    """Tell whether programs keep this for themselves: it is sealed in another way than items of users'."""
    return space.startswith(OWN)


def _path(space: bytes) -> str:
    if _is_own(space):
        return repr(space)
    try:
        return repr(namespace_of(space))
    except ValueError:
        return repr(space)


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")
