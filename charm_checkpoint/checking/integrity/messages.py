"""A thread's message list, and the batches that were appended behind it."""

from __future__ import annotations

from functools import partial

from charm_checkpoint.checking.integrity.blame import RESTORE, damaged_roots, said
from charm_checkpoint.checking.integrity.chunks import Reached
from charm_checkpoint.checking.integrity.places import place_in
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.integrity.tools import Tools
from charm_checkpoint.contract import MessagesRow
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.values.decoder import split
from charm_checkpoint.values.packing import unpack_value
from charm_checkpoint.values.sealing import opened

ADVICE = f"{RESTORE}; delete_messages removes its messages alone."


class MessagesLook:
    """What one look at a message list found."""

    def __init__(self, tools: Tools, thread: str) -> None:
        self._tools = tools
        self.thread = thread
        self.findings: list[IntegrityFinding] = []
        self.reached = Reached(tools, thread, messages=True)
        self.row: MessagesRow | None = None
        self.is_there = False
        self.batches = self.size = 0

    def look(self) -> Session[None]:
        """Look at the list, its chunks and its batches."""
        if self._tools.store.history is not None:
            yield from self._look_at_files()  # beside which a thread may have a list of the usual kind
        try:
            row = yield Step(partial(self._tools.backend.messages, self.thread), self.thread)
        except StoreCorrupt as error:
            self._add(f"its message list cannot be read: {error}")
            return
        self.row, self.batches = row, len(row.batches)
        self.is_there = self.is_there or row.body is not None or bool(row.batches)
        self.size = len(row.body or b"") + sum(map(len, row.batches))
        for why in (yield Step(partial(self._read, row), self.thread)):
            self._add(why)
        roots = split(row.roots)
        yield from self.reached.walk(roots, row.chunks)
        for root, bad in damaged_roots(self.reached, roots) if self.reached.bad else ():
            place = yield from place_in(self._tools, self.reached, root, self.reached.tainted())
            why = said(bad, self.reached.bad[bad])
            self._add(f"a chunk of the message list is damaged: {why}.", path=f"messages{place}")

    def _look_at_files(self) -> Session[None]:
        """Read the messages of a store that keeps them in a way of its own."""
        assert self._tools.store.history is not None
        try:
            found = yield Step(partial(self._tools.store.history.load, self.thread), self.thread)
            self.is_there = bool(found)
        except StoreCorrupt as error:
            self._add(f"its messages cannot be read: {error}")

    def _read(self, row: MessagesRow) -> Plan[list[str]]:
        failed: list[str] = yield Compute(partial(self._failures, row))
        return failed

    def _failures(self, row: MessagesRow) -> list[str]:
        failed = []
        tools, identities = self._tools, self._tools.message_identities
        if row.body is None and row.roots:
            failed.append("its message list is lost, and chunks of it are named.")
        if row.body is not None:
            try:
                body = opened(identities.messages(self.thread, row.roots), row.body)
                if not row.roots:
                    self._check(unpack_value(body, tools.limits))
                elif body:  # all of it is in chunks
                    raise StoreCorrupt("It is in chunks, and there is something beside them.")
            except StoreCorrupt as error:
                failed.append(f"its message list cannot be read: {error}")
        for number, batch in enumerate(row.batches, 1):
            try:
                self._check(unpack_value(opened(identities.batch(self.thread), batch), tools.limits))
            except StoreCorrupt as error:
                of = f"{number:,} of {len(row.batches):,}"
                failed.append(f"batch {of} behind its message list cannot be read: {error}")
        return failed

    def _check(self, payload: bytes) -> None:
        value = self._tools.serde.loads_plain(payload)
        if type(value) is not list or not all(type(message) is dict for message in value):
            raise StoreCorrupt("The stored messages are no list of dicts.")

    def _add(self, message: str, path: str | None = None) -> None:
        self.findings.append(IntegrityFinding("messages", message, thread=self.thread, path=path, advice=ADVICE))
