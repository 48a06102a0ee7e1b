"""What chats leave behind that no model learns anything from: what programs said, and copies of turns; pure."""

from __future__ import annotations

from typing import Final

_BEGINS: Final = ("[cron:", "[heartbeat task", "[distilled_", "[memory context]")
_INSIDE: Final = "distilled_index_sig:"
_TITLES: Final = ("user_msg", "assistant_resp")
_MARKUP: Final = ("[IMAGE:", "<tool_result")


def is_noise(text: str) -> bool:
    """Tell whether a message was made by a program, by a timer or from memories; or says nothing."""
    plain = text.strip().casefold()
    return not plain or plain.startswith(_BEGINS) or _INSIDE in plain


def is_copy(title: str, body: str) -> bool:
    """Tell whether a memory is a copy of a turn or of a history, as its title tells, or has a chat's markup in it."""
    return title.startswith(_TITLES) or title.endswith("_history") or any(mark in body for mark in _MARKUP)
