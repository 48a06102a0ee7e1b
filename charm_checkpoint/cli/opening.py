"""How the store that a command line names is opened, and how a thread in it is found."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from charm_checkpoint.cli.groups import did_you_mean
from charm_checkpoint.cli.options import URL_VARIABLE
from charm_checkpoint.cli.output import one_line
from charm_checkpoint.cli.terminal import echo_error
from charm_checkpoint.cli.typing_again import as_word
from charm_checkpoint.config.url import as_url, parse_url
from charm_checkpoint.errors import CheckpointNotFound, ConfigError, StoreCorrupt, ThreadExists, ThreadNotFound
from charm_checkpoint.printable import printable

if TYPE_CHECKING:
    from charm_checkpoint.config.url import Location
    from charm_checkpoint.memory import Memory

KNOWN = 1000
"""Threads, those changed last, among which the one is looked for that was meant."""
_IN_PYTHON = re.compile(r"history\(.*\)(?= (?:lists|shows) those it has)", re.DOTALL)
"""What an error proposes to who writes Python."""
NO_STORE = f"name the store: --url sqlite:///agent.db, or set {URL_VARIABLE}"


@contextlib.contextmanager
def open_store(url: str | None, modules: str | None = None) -> Iterator[Memory]:
    """Open the store that ``--url`` names, once the modules of ``--import`` are loaded.

    Raises `ConfigError` without a URL, and for a SQLite file or a folder that is not there: a
    mistyped name must not make a new one, or pass for one that is empty.
    """
    from charm_checkpoint import open_memory

    if not url:
        raise ConfigError(NO_STORE)
    if "://" not in as_url(url) and os.path.isdir(url):
        raise is_folder(url)
    with named(url):
        check_there(parse_url(as_url(url)))
    import_modules(modules)
    with named(url):
        memory = open_memory(url)
    with memory:
        yield memory


def check_there(location: Location, hint: str = "") -> None:
    """Raise `ConfigError` for a SQLite file or a folder that is not there, and for a store that keeps nothing.

    ``hint``: what makes one that is not there.
    """
    from charm_checkpoint.stores.files.place import folder_of

    if location.scheme == "sqlite" and location.path != ":memory:" and not Path(location.path).exists():
        raise ConfigError(f"there is no file {location.path}{hint}")
    if location.scheme == "sqlite" and Path(location.path).is_dir():
        raise is_folder(location.path)
    if location.scheme == "file" and not folder_of(location).is_dir():
        raise ConfigError(f"there is no folder {folder_of(location)}{hint}")
    if location.scheme == "none":
        raise ConfigError("none:// keeps nothing; name a store that does")


def is_folder(path: str) -> ConfigError:
    """Return what says how a folder is named as a store."""
    return ConfigError(f"{path} is a folder; as a store of local files it is file://{os.path.join('.', path)}")


@contextlib.contextmanager
def named(setting: str | None) -> Iterator[None]:
    """Let an error name the variable that a setting came from."""
    try:
        yield
    except ConfigError as error:
        variable = getattr(setting, "variable", "")
        if not variable:
            raise
        raise type(error)(f"{variable}: {error}") from error


def import_modules(names: str | None) -> None:
    """Import the modules of ``--import``; raises `ConfigError` for one that fails."""
    if not names:
        return
    sys.path.insert(0, os.getcwd())  # as `python -m` does, which a console script does not
    source = getattr(names, "variable", "--import")
    for name in filter(None, map(str.strip, names.split(","))):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a module may raise anything, or be a program that ends
            raise ConfigError(f"{source} {name}: {what(error)}") from error


def what(error: BaseException) -> str:
    """Return what an error of another program says, with its kind unless it says that itself."""
    return str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"


def _nearest(memory: Memory, thread: str) -> str:
    known = [info.thread_id for info in memory.threads(KNOWN) if info.thread_id is not None]
    shown = next((id for id in known if not id.isprintable() and thread in (printable(id), one_line(id))), None)
    if shown is not None:  # typed as it is shown
        return f". Did you mean {as_word(shown)}?"
    return did_you_mean(thread, known) or "; charm-checkpoint threads lists those that there are"


@contextlib.contextmanager
def knowing(memory: Memory, *threads: str | None) -> Iterator[None]:
    """Have the error that a thread is not there say which one comes nearest."""
    try:
        yield
    except CheckpointNotFound as error:
        raise CheckpointNotFound(_IN_PYTHON.sub("charm-checkpoint history", str(error))) from error
    except ThreadNotFound as error:
        wrong = next((thread for thread in threads if thread is not None and repr(thread) in str(error)), None)
        if wrong is None:
            raise
        raise ThreadNotFound(f"there is no thread {wrong!r}{_nearest(memory, wrong)}") from error


def check_new(memory: Memory, thread: str) -> None:
    """Raise `ThreadExists` for a thread that has checkpoints, as what would write there does."""
    if memory.usage(thread).checkpoints:
        raise ThreadExists(f"There is a thread {thread!r} already; give another name.")


def is_there(memory: Memory, thread: str) -> bool:
    """Tell whether a store holds anything of a thread, damaged or not, and say so if it does not."""
    try:
        found = memory.usage(thread)
    except StoreCorrupt:
        return True
    if found.threads or found.damaged:
        return True
    echo_error(f"there is no thread {thread!r}{_nearest(memory, thread)}")
    return False
