"""The bridge itself: when the command is asked and told, and when it is left alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from charm_checkpoint.errors import CharmError, StoreUnavailable
from charm_checkpoint.items import clock
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.lucid.outbox import FORGOTTEN, Entry, Outbox
from charm_checkpoint.long_term.lucid.output import (
    LucidLine,
    new_lines,
    parse,
    recall_arguments,
    store_arguments,
    type_of,
)
from charm_checkpoint.long_term.lucid.process import call_program
from charm_checkpoint.long_term.lucid.settings import LucidSettings
from charm_checkpoint.runtime import forks
from charm_checkpoint.runtime.clock import monotonic

log = logging.getLogger("charm_checkpoint")

TRIES: Final = 5
"""Failures of one entry after which it no longer holds up those behind it; if they get through, it is given up."""

LOOK_AGAIN: Final = 60.0
"""Seconds after which a process looks for entries that others have left."""

Read = Callable[[str, str], Flow[Mapping[str, Any] | None]]
"""Returns what is stored of a memory, by its scope and title."""


class Cooldown:
    """Leaves alone for a while what has failed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    def is_over(self) -> bool:
        """Tell whether it may be tried."""
        return monotonic() >= self._until

    def failed(self) -> None:
        """Note a failure."""
        self._until = monotonic() + self._seconds

    def worked(self) -> None:
        """Note a success."""
        self._until = 0.0


class LucidBridge:
    """Asks the command for what the local memories do not know, and tells it what they are told.

    ``project`` is what it is given as ``--project``. What is to be stored waits in the ``outbox``; a thread sends it,
    so no caller waits for the command. ``read`` returns the memory that an entry names.
    """

    def __init__(self, settings: LucidSettings, project: Path, outbox: Outbox, read: Read) -> None:
        self.settings = settings
        self.outbox = outbox
        self._project = str(project)
        self._read = read
        self._recalls = Cooldown(settings.cooldown)
        self._stores = Cooldown(settings.cooldown)
        self._look_at = 0.0
        self._again = False
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------------------------------------- recall

    def asks(self, hits: int, limit: int) -> bool:
        """Tell whether the command is asked, with so many local hits of so many that are wanted."""
        enough = min(limit, self.settings.local_hit_threshold)
        return limit > 0 and hits < enough and self._recalls.is_over()

    def recall(self, query: str, local: Sequence[tuple[str, str]], limit: int) -> Flow[list[LucidLine]]:
        """Return what the command knows beside the local hits, titles and bodies; nothing if it is left alone."""
        self.send_what_waits()
        if not query.strip() or not self.asks(len(local), limit):
            return []
        settings = self.settings
        arguments = recall_arguments(query, settings.budget, self._project)
        try:
            output = yield call_program(settings.command, arguments, settings.recall_timeout)
        except StoreUnavailable as error:
            self._recalls.failed()
            log.warning("lucid: %s; it is not asked for %g s", error, settings.cooldown)
            return []
        self._recalls.worked()
        return new_lines(parse(output), local)[: limit - len(local)]

    # -------------------------------------------------------------------------------------------------------- store

    def announce(self, scope: str, title: str) -> Flow[Entry]:
        """Note that a memory is about to be written; to be followed by `confirm` once it was."""
        return self.outbox.add(scope, title)

    def confirm(self, entry: Entry) -> Flow[None]:
        """Note that the memory was written, and have it sent."""
        yield from self.outbox.ready(entry)
        self._look_at = 0.0
        self.send_what_waits()

    def send(self) -> Flow[int]:
        """Send what waits, in order, as long as the command takes it; return how many were sent.

        Nothing is done while another process does it, or after a failure.
        """
        if not self._stores.is_over() or not (yield from self.outbox.count()):
            return 0
        if not (yield from self.outbox.take()):
            self._look_at = min(self._look_at, monotonic() + self.settings.lease)  # should that process die
            return 0
        sent, stuck = 0, None
        due = yield from self.outbox.due()
        last = {(entry.scope, entry.title): entry.key for entry in due}
        for entry in due:
            if last[entry.scope, entry.title] != entry.key:  # what the memory says now is sent once, by the last
                yield from self.outbox.remove(entry)
                continue
            if not (yield from self.outbox.take()):
                return sent  # it took too long, and another process has gone on
            outcome = yield from self._send(entry)
            if outcome == "failed" and (stuck is not None or entry.attempts + 1 < TRIES):
                break
            if outcome == "sent" and stuck is not None:
                log.warning("lucid: the command refuses %r, which is kept here alone", stuck.title)
                yield from self.outbox.remove(stuck)
            stuck = {"failed": entry, "sent": None}.get(outcome, stuck)
            sent += outcome == "sent"
        yield from self.outbox.release()
        return sent

    def _send(self, entry: Entry) -> Flow[Literal["sent", "failed", "gone"]]:
        memory = yield from self._read(entry.scope, entry.title)
        if memory is None:
            if entry.ready or entry.added < clock.now() - FORGOTTEN:
                yield from self.outbox.remove(entry)
            return "gone"
        type_ = type_of(memory.get("category"), memory["kind"])
        arguments = store_arguments(entry.title, memory["body"], type_, self._project)
        try:
            yield call_program(self.settings.command, arguments, self.settings.store_timeout)
        except StoreUnavailable as error:
            self._stores.failed()
            self._look_at = 0.0
            log.warning("lucid: %s; what is stored waits for %g s at least", error, self.settings.cooldown)
            yield from self.outbox.failed(entry)
            return "failed"
        self._stores.worked()
        yield from self.outbox.remove(entry)
        return "sent"

    # --------------------------------------------------------------------------------------------------- the thread

    def send_what_waits(self) -> None:
        """Have a thread send what waits, if anything may; nobody waits for it."""
        if monotonic() < self._look_at or not self._stores.is_over():
            return
        with forks.lock(__name__):
            self._look_at = monotonic() + LOOK_AGAIN
            self._again = True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="charm-lucid", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            with forks.lock(__name__):
                if not self._again:
                    self._thread = None
                    return
                self._again = False
            try:
                steps.run(self.send())
            except CharmError as error:  # the entries are still there: whoever comes next sends them
                self._look_at = monotonic() + self.settings.cooldown
                log.info("lucid: what waits was not sent: %s", error)

    def wait(self, timeout: float) -> bool:
        """Wait until what waits was sent, or could not be; tell whether the thread is done."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()
