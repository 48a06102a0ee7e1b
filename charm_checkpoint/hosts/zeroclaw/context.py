"""What ZeroClaw puts before a message, ``[Memory context]``: which memories, and how they are written; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from charm_checkpoint.long_term.noise import is_copy, is_noise
from charm_checkpoint.long_term.plain_text import one_line
from charm_checkpoint.long_term.prompt_block import DEFAULT_BUDGET, TITLE, Budget, defused, may_be_shown
from charm_checkpoint.long_term.records import MemoryEntry

HEADING: Final = "[Memory context]"


def memory_context(
    entries: Iterable[MemoryEntry], message: str = "", key: str | None = None, budget: Budget = DEFAULT_BUDGET
) -> tuple[str, list[MemoryEntry]]:
    """Return the block, "" if there is nothing for it, and the memories that are in it.

    Each is one line, in which nothing looks like the end of the block. Left out are the ``message`` itself and what
    was stored under its ``key``, what ZeroClaw skips, and what nobody has looked at who should have.
    """
    lines: list[str] = []
    shown: list[MemoryEntry] = []
    for entry in _worth_it(entries, message, key):
        if len(shown) == budget.entries:
            break
        title, body = one_line(entry.title, TITLE), one_line(entry.body, budget.characters)
        line = f"- {defused(title)}: {defused(body)}\n"
        if len(HEADING) + 2 + sum(map(len, lines)) + len(line) > budget.total:
            break
        lines.append(line)
        shown.append(entry)
    return (f"{HEADING}\n{''.join(lines)}\n" if lines else ""), shown


def _worth_it(entries: Iterable[MemoryEntry], message: str, key: str | None) -> Iterator[MemoryEntry]:
    said = " ".join(message.split())
    for entry in entries:
        echo = entry.title == key or " ".join(entry.body.split()) == said
        if may_be_shown(entry) and not echo and not is_skipped(entry.title, entry.body):
            yield entry


def is_skipped(key: str, content: str) -> bool:
    """Tell whether ZeroClaw leaves a memory out: histories, answers, echoes of messages, markup, noise."""
    return is_copy(key, content) or is_noise(content)


def conversation_memory_key(channel: str, sender: str, message_id: str, thread: str | None = None) -> str:
    """Return the key under which a message of a channel is kept: ``{channel}_{sender}_{message_id}``."""
    return "_".join([channel, *([thread] if thread else []), sender, message_id])
