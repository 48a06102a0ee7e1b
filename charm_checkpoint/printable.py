"""Text for logs and terminals: one line, without what steers a terminal or changes how the rest of the line is read.

Errors and log lines quote names that others chose: of threads, channels, classes, files. A newline in one would begin a
line of a log that nobody wrote, an escape sequence would be obeyed by the terminal that shows it, and a mark of
direction would show the words in another order. So all that this package says goes through here: errors when they are
turned into text, log records by a filter of the package's logger.
"""

from __future__ import annotations

import logging

LOGGER = "charm_checkpoint"
"""The one logger of the package."""
LONGEST = 4000
"""Characters of an error or a log line, or of a part of one, that are shown."""


def printable(text: str, lines: bool = False) -> str:
    """Return text with every character that is not printable written as its escape; ``lines`` keeps its lines."""
    if text.isprintable():
        return text
    if lines:
        return "\n".join(map(printable, text.split("\n")))
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def clipped(text: str) -> str:
    """Return text that may quote what is stored, cut where that is longer than anybody would read."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


class _PrintableRecords(logging.Filter):
    """Lets every record through, and those that are not printable with their escapes."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if len(said) > LONGEST or not said.isprintable():
            record.msg, record.args = printable(clipped(said)), ()
        return True


def keep_logs_printable() -> None:
    """Put the filter on the package's logger, once."""
    logger = logging.getLogger(LOGGER)
    if not any(isinstance(known, _PrintableRecords) for known in logger.filters):
        logger.addFilter(_PrintableRecords())
