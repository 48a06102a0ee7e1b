"""Text for logs and terminals: one line, without what steers a terminal or changes how the rest of the line is read.

Errors and log lines quote names that others chose: of threads, channels, classes, files. A newline in one would begin a
line of a log that nobody wrote, an escape sequence would be obeyed by the terminal that shows it, and a mark of
direction would show the words in another order. So all that this package says goes through here: errors when they are
turned into text, log records by a filter of each of the package's loggers.
"""

from __future__ import annotations

import logging

LOGGER = "charm_checkpoint"
"""The logger of the package, for what somebody should hear of."""
CALLS = "charm_checkpoint.operations"
"""The logger of each call at the level DEBUG: one of its own, so that it can be turned on with no others."""
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
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


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it: 1.2 MB is 1,200,000 bytes."""
    value, unit = float(count), 0
    while abs(value) >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    digits = 1 if unit and abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {_SIZES[unit]}"


class _PrintableRecords(logging.Filter):
    """Lets every record through, and those that are not printable with their escapes."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if len(said) > LONGEST or not said.isprintable():
            record.msg, record.args = printable(clipped(said)), ()
        return True


def keep_logs_printable() -> None:
    """Put the filter on the package's loggers, once: the records of one below another are not shown to the other's."""
    for name in (LOGGER, CALLS):
        logger = logging.getLogger(name)
        if not any(isinstance(known, _PrintableRecords) for known in logger.filters):
            logger.addFilter(_PrintableRecords())
