"""What was typed, and what is shown: text between the command and whatever stands for a terminal.

A locale may lack the characters of an id, a stream may be closed: neither ends a command.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from io import TextIOWrapper
from typing import TextIO

from charm_checkpoint.printable import printable


class OutputLost(Exception):
    """What a command printed could not be written."""


class ReaderGone(Exception):
    """Whoever read what a command printed went away, as ``head`` does."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed amid what is done in steps; says which are."""


def prepare_streams() -> None:
    """Let every line be written, a question's too: escaped where the encoding has no such character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def typed(text: str) -> str:
    """Return what was meant by a word of the command line or the environment.

    Where the locale's encoding is not the terminal's, Python smuggles the bytes in as lone surrogates; they are
    UTF-8 nearly always, and text that is not keeps its surrogates.
    """
    try:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that are no smuggled bytes
        return text


def echo(text: str) -> None:
    """Print a line, with whatever a terminal could mistake for a command escaped."""
    _write(sys.stdout, printable(text) + "\n")


def put(text: str) -> None:
    """Print text of several lines as it is."""
    _write(sys.stdout, text)


def put_json(text: str) -> None:
    """Print JSON; what the encoding lacks, or a terminal is not to get, as JSON's own escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"

    def fits(char: str) -> bool:
        return char == "\n" or (char.isprintable() and char.encode(encoding, "ignore") != b"")

    _write(sys.stdout, "".join(char if fits(char) else json.dumps(char)[1:-1] for char in text) + "\n")


def echo_error(text: str) -> None:
    """Print an error on stderr, of more lines than one if it holds a traceback; nobody hears of it if that fails."""
    try:
        _write(sys.stderr, printable(f"charm-checkpoint: {text}", lines=True) + "\n")
    except (OutputLost, ReaderGone):
        _swallow(sys.stderr)


def echo_interrupted(error: BaseException) -> None:
    """Say that a command was interrupted, on a line of its own: a terminal's may have a question on it, and ^C."""
    begun = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
    with contextlib.suppress(OutputLost, ReaderGone):
        _write(sys.stderr, "\n" if begun else "")
    echo_error(str(error) if isinstance(error, Interrupted) else "interrupted")


def echo_note(text: str) -> None:
    """Print a remark on stderr, which is no error; nobody hears of it if that fails."""
    try:
        _write(sys.stderr, printable(text, lines=True) + "\n")
    except (OutputLost, ReaderGone):
        _swallow(sys.stderr)


def agreed(question: str, usual: bool = False) -> bool:
    """Ask for a yes; ``usual`` is what an empty line means. Where nobody can be asked, that is a no."""
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        return False
    _write(sys.stdout, printable(question) + (" [Y/n] " if usual else " [y/N] "))
    try:
        answer = sys.stdin.readline()  # empty at the end of what is typed, which is no answer
        if not answer:
            _write(sys.stdout, "\n")
        return answer.strip().lower() in (("y", "yes", "") if usual and answer else ("y", "yes"))
    except (OSError, UnicodeError):  # the terminal went away, or what was typed is no text
        return False


def swallow_output() -> None:
    """Let nothing more be written: the reader went away, as `head` does, and Python would fail again at exit."""
    _swallow(sys.stdout)


def _swallow(stream: TextIO | None) -> None:
    # A stream may not be there, or not be a file.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None or stream.closed:  # by whoever started the program
        return
    encoding = stream.encoding or "utf-8"
    try:
        if text:
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise OutputLost(f"the output cannot be written: {error.strerror}") from None
