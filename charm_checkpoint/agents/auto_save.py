"""Keeping the turns of a conversation as they were said, each under its own name."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, Final
from urllib.parse import quote

from charm_checkpoint.agents.recall_node import as_messages, text_of
from charm_checkpoint.errors import DataError, MemoryRefused, StoreError
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.noise import is_noise
from charm_checkpoint.long_term.records import MemoryEntry
from charm_checkpoint.long_term.showing import CONVERSATION

log = logging.getLogger("charm_checkpoint")

SOURCE: Final = "auto"
"""The source of what is written by itself."""
SHORTEST: Final = 20
"""Characters of a message that is kept."""

_LONGEST_PART = 80
_KEPT_PART = 40
_IMAGE = re.compile(r"data:[a-z]{1,20}/[\w.+-]{1,60}(?:;[\w=.-]{1,60}){0,4};base64,[A-Za-z0-9+/=_-]*", re.IGNORECASE)


def auto_save(
    long_term: LongTermMemory,
    message: Any,
    *,
    channel: str,
    sender: str,
    message_id: str | int,
    session: str | None = None,
    thread: str | None = None,
    scope: str = "project",
) -> MemoryEntry | None:
    """Keep what somebody said, under ``{channel}_{sender}_{message_id}``; return it, None if it is not kept.

    Not kept are messages of fewer than 20 characters, those that programs made, which
    `charm_checkpoint.long_term.noise.is_noise` tells, and, which the log tells, one that somebody forgot, or that the
    store did not take: no turn fails for it. Images inside of a text are left out. ``message`` is a text, or a message
    of LangChain's; ``thread``, where a channel has some, stands behind it in the name. Raises `DataError` for a name
    that is none.
    """
    return steps.run(_save(long_term, message, channel, sender, message_id, session, thread, scope))


async def aauto_save(
    long_term: LongTermMemory,
    message: Any,
    *,
    channel: str,
    sender: str,
    message_id: str | int,
    session: str | None = None,
    thread: str | None = None,
    scope: str = "project",
) -> MemoryEntry | None:
    """Keep what somebody said; see `auto_save`."""
    return await steps.arun(_save(long_term, message, channel, sender, message_id, session, thread, scope))


def title_of(channel: str, sender: str, message_id: str | int, thread: str | None = None) -> str:
    """Return the name under which a message is kept; no two messages have the same.

    In a part all but letters and digits of ASCII, ``.`` and ``-`` is written as in a URL; of one that is too long the
    begin stays, and a hash of it. Raises `DataError` for a part that is no text, or empty.
    """
    parts = {"channel": channel, "sender": sender, "message_id": message_id}
    if thread is not None:
        parts = {"channel": channel, "thread": thread, "sender": sender, "message_id": message_id}
    return "_".join(_part(value, name) for name, value in parts.items())


def _part(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DataError(f"it is a text that is not empty, not {value!r}", path=(name,))
    plain = str(value).encode("utf-8", "surrogatepass")
    part = quote(plain, safe="").replace("_", "%5F").replace("~", "%7E")
    if len(part) <= _LONGEST_PART:
        return part
    return f"{part[:_KEPT_PART]}~{hashlib.sha256(plain).hexdigest()[:32]}"


def _save(
    long_term: LongTermMemory,
    message: Any,
    channel: str,
    sender: str,
    message_id: str | int,
    session: str | None,
    thread: str | None,
    scope: str,
) -> Flow[MemoryEntry | None]:
    title = title_of(channel, sender, message_id, thread)
    text = message if isinstance(message, str) else text_of(as_messages([message])[0])
    text = _IMAGE.sub("", text).strip()
    if len(text) < SHORTEST or is_noise(text):
        return None
    more: dict[str, Any] = {"source": SOURCE, "category": CONVERSATION, "session": session, "citations": ()}
    try:
        entry: MemoryEntry = yield steps.call(long_term, "remember", "fact", title, text, scope, **more)
    except (MemoryRefused, StoreError) as error:
        log.warning("What was said was not kept: %s", error)
        return None
    return entry
