"""What a row of the table is: two versions of a program, and what the second finds of what the first stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent

FUTURE = "from __future__ import annotations\n"
HEAD = """
import dataclasses
from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum, IntFlag, auto
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar, Union
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, RootModel
from pydantic import v1
from charm_checkpoint import register_type
"""
"""What every module of a version begins with."""


@dataclass(frozen=True)
class Version:
    """A version of a program: its modules, by path, and how it is started."""

    files: Mapping[str, str]
    run: str
    """``app`` is imported, as by a server; ``app.py`` and ``-m app`` are what Python was started with."""


def version(source: str = "", run: str = "app", **files: str) -> Version:
    """Return a version: the source of the module that it is started with, and of others by name, ``__`` for a dot."""
    main = run.removeprefix("-m ").removesuffix(".py")
    sources = {main: source, **{name.replace("__", "."): text for name, text in files.items()}}
    return Version({name: _whole(dedent(text).strip() + "\n") for name, text in sources.items()}, run)


def _whole(text: str) -> str:
    return FUTURE + HEAD + text.removeprefix(FUTURE) if text.startswith(FUTURE) else HEAD + text


@dataclass(frozen=True)
class Row:
    """A change of a class, and what becomes of its objects.

    The first version's ``VALUE`` is stored by itself, deep in another channel, and many times in a list. The second one
    reads all, has a turn in which a node returns the value as it is and leaves the others alone, and reads all again;
    then the first one reads it once more.
    """

    change: str
    """What changed, as the manual says it."""
    before: Version
    after: Version
    reads: str = ""
    """What holds of the value, ``v``, in the second version, in its own words."""
    unknown: str = ""
    """Otherwise, why it cannot be revived: the value is an `Unknown` that says so, and with ``on_unknown="raise"`` the
    read fails and says so."""
    fails: str = ""
    """Otherwise, why the second version does not start, a `ConfigError`."""
    says: str = ""
    """What the log says while the second version reads; nothing where it is empty."""
    back: str = ""
    """What holds of the value in the first version again; empty is that it can be read. What was unknown to the second
    version is as it was."""
    everywhere: bool = False
    """Whether it is tried on every store, and not on SQLite alone."""
    right: str = ""
    """What would be right, too, where the value is unknown to us: another saver may convert it."""


def change(
    what: str,
    before: str | Version,
    after: str | Version,
    reads: str = "",
    *,
    unknown: str = "",
    fails: str = "",
    says: str = "",
    back: str = "",
    everywhere: bool = False,
    right: str = "",
) -> Row:
    """Return a row; a version that is text is the source of its module ``app``."""
    versions = [each if isinstance(each, Version) else version(each) for each in (before, after)]
    assert sum(map(bool, (reads, unknown, fails))) == 1, what
    return Row(what, *versions, reads, unknown, fails, says, back, everywhere, right)


@dataclass(frozen=True)
class Story:
    """A change of a program's graph, told in steps, each of which one of the versions does in a process of its own.

    A version's ``graph(saver)`` returns its graph. A step is code of asserts, with the names of the version, `saver`,
    `run`, `state`, `history`, `update` for the graph's calls on the thread, and `again` for those of another graph;
    what it leaves in ``found`` is shown where an assert fails.
    """

    change: str
    before: Version
    after: Version
    steps: tuple[tuple[int, str], ...]
    says: str = ""
    """What the log says meanwhile; nothing where it is empty."""
    everywhere: bool = False
    official: bool = True
    """Whether the official saver can do it, too."""


def story(
    what: str,
    before: str,
    after: str,
    *steps: tuple[int, str],
    says: str = "",
    everywhere: bool = False,
    official: bool = True,
) -> Story:
    """Return a story; a version is the source of its module ``app``."""
    told = tuple((number, dedent(code)) for number, code in steps)
    return Story(
        what, version(GRAPHS + dedent(before)), version(GRAPHS + dedent(after)), told, says, everywhere, official
    )


GRAPHS = """import operator
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt
"""
