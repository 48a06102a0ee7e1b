"""The YAML at the head of a Markdown file: what is read of it is plain data, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from charm_checkpoint.errors import DataError

FENCE = "---"
MAX_BYTES = 1 << 16
"""How long it may be: ours are of some hundred bytes."""
MAX_DEPTH = 20

_CONFLICT = re.compile(r"^(<{7} |>{7} )", re.MULTILINE)
_BREAKS = re.compile("[\n\r\x85\u2028\u2029]")
_BLANK_HEAD = re.compile(r"\A(?:[^\S\n]*\n)*")


def decoded(data: bytes) -> str:
    """Return a file's text with lines that end in a line feed; raises `DataError` where it is not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"it is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    return lines_of_unix(text)


def lines_of_unix(text: str) -> str:
    """Return a text with a line feed alone at the end of each line, whatever git or an editor made of that."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def normal_body(text: str) -> str:
    """Return a body as a file keeps it: no blank lines before it, no white space behind it."""
    return _BLANK_HEAD.sub("", lines_of_unix(text).rstrip() + "\n").rstrip("\n")


def split(text: str) -> tuple[str | None, str]:
    """Return the YAML at the head of a text, None if there is none, and what comes behind it."""
    lines = text.split("\n")
    if lines[0].strip() != FENCE:
        return None, text
    # A long title that was wrapped may have a line of its own for a dash of three: the fence stands at the margin.
    ends = [at for at, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE]
    ends = ends or [at for at, line in enumerate(lines[1:], 1) if line.strip() == FENCE]
    if not ends:
        return None, text
    return "\n".join(lines[1 : ends[0]]), "\n".join(lines[ends[0] + 1 :])


def has_conflict(text: str) -> bool:
    """Tell whether a text has a conflict that git left: three marks, each at the begin of a line, in their order."""
    marks = iter(("<<<<<<< ", "=======", ">>>>>>> "))
    mark = next(marks)
    for line in text.split("\n"):
        if line.rstrip() == mark if mark == "=======" else line.startswith(mark):
            mark = next(marks, "")
            if not mark:
                return True
    return False


def parsed(text: str) -> dict[Any, Any]:
    """Return what the YAML at the head of a file says; raises `DataError` for what is none, or more than plain data.

    Aliases, by which a few lines become gigabytes, and tags, which ask for objects, are refused.
    """
    import yaml

    if len(text.encode()) > MAX_BYTES:
        raise DataError(f"its frontmatter is longer than {MAX_BYTES} bytes; put the text below it")
    if _CONFLICT.search(text):
        raise DataError("git left a conflict in its frontmatter; resolve that (git status names the file)")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check(yaml, text, loader)
        data = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise DataError(f"its frontmatter is no YAML: {_said(error)}") from None
    except (ValueError, OverflowError) as error:  # a date such as 2026-99-99, a number of ten thousand digits
        if isinstance(error, DataError):
            raise
        raise DataError(f"its frontmatter has a value that cannot be: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise DataError("its frontmatter is no mapping; write it as lines of `key: value`")
    return data


def _check(yaml: Any, text: str, loader: Any) -> None:
    """Refuse what plain data has no need of, before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise DataError("its frontmatter has an alias (*name); write the value out")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            raise DataError(f"its frontmatter has a tag ({event.tag}); write plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise DataError(f"its frontmatter is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _said(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem}, line {mark.line + 2}" if mark is not None else str(problem)


def rendered(values: Mapping[Any, Any]) -> str:
    """Return YAML for values, a line for each text, and the same on every machine.

    Raises `DataError` for a text that UTF-8 has no bytes for.
    """
    import yaml

    try:
        text: str = yaml.dump(
            dict(values),
            Dumper=_dumper(),
            sort_keys=False,
            allow_unicode=True,
            width=float("inf"),
            default_flow_style=False,
        )
    except yaml.YAMLError as error:
        raise DataError(f"this cannot be written as YAML: {error}") from error
    return text


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Writes no text over several lines, of which one might look like the fence, and no aliases."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = '"' if _BREAKS.search(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def joined(values: Mapping[Any, Any], body: str) -> bytes:
    """Return a file's bytes: values at its head, and a body."""
    body = normal_body(body)
    text = f"{FENCE}\n{rendered(values)}{FENCE}\n" + (f"\n{body}\n" if body else "")
    return encoded(text)


def encoded(text: str) -> bytes:
    """Return a text as UTF-8; raises `DataError` for halves of characters."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"character {error.start} is one half of a character ({text[error.start]!r}), which UTF-8 has no bytes for"
        ) from None
