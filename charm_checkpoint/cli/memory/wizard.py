"""``init``: asks where memories are to be kept, tries it, and writes the settings down."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.memory.output import print_table
from charm_checkpoint.cli.terminal import agreed, echo, echo_error, put
from charm_checkpoint.config.masking import mask
from charm_checkpoint.config.url import as_url
from charm_checkpoint.errors import CharmError, ConfigError


class Choice(NamedTuple):
    """A kind of store: its usual URL, what it is for, and what it does not do."""

    url: str
    good: str
    lacks: str


CHOICES: dict[str, Choice] = {
    "sqlite": Choice(
        "sqlite:///agent.db", "one file, nothing to install; several programs of one machine", "other machines"
    ),
    "postgres": Choice(
        "postgresql://user@host/db", "a server for many machines, row-level security", "work without a server"
    ),
    "redis": Choice(
        "redis://localhost:6379/0",
        "Redis or Valkey, one or a cluster; quickest",
        "last longer than the server is set to",
    ),
    "supabase": Choice("supabase://project", "a Supabase project, with its rules for users", "work without a network"),
    "file": Choice("file://./memories", "plain files in a folder, one an item; can be synced", "many writers at once"),
    "none": Choice("none://", "keeps nothing: for tests and for privacy", "remember"),
}


def add_commands(app: typer.Typer) -> None:
    """Add this command."""
    part = Part(app)
    part.add(init)


def init(
    store: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(CHOICES)}; asked for if left out.", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="The store's URL.", envvar="CHARM_CHECKPOINT_URL", show_default=False),
    ] = None,
    project: Annotated[str | None, typer.Option(help="The project's folder or name.", show_default=False)] = None,
    write: Annotated[
        Path | None,
        typer.Option(help="The file to write: charm.yaml, a .toml, or .env. - prints it.", show_default=False),
    ] = None,
    try_it: Annotated[bool, typer.Option("--try/--no-try", help="Write and read a memory there first.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; what is not given is as usual.")] = False,
) -> int:
    """Set up durable memories: choose a store, and try it.

    Writes the settings down. Asks for what is not given; with --yes, or where nobody can be asked, it takes the usual,
    and prints the settings, unless --write names a file.
    """
    from charm_checkpoint.cli.memory.settings_files import FORMS, form_of, write_settings

    asks = not yes and _is_terminal()
    address, tried = _chosen(store, url, asks, try_it)
    target = write
    if target is None and asks:
        target = Path(_asked("Write the settings to (charm.yaml, config.toml, .env, - to print)", ".env"))
    prints = target is None or str(target) == "-"
    if tried:  # what is printed may be put into a file, and is settings alone then
        (echo_error if prints else echo)(tried)
    target = target or Path("-")
    form = form_of(target)
    if not prints and target.exists() and form != "env":
        echo_error(f"{target} is there already, and is left as it is; add to it:")
        put(FORMS[form](address, project))
        return 1
    if asks and not prints and not agreed(f"Write {target}?", usual=True):
        echo_error("nothing was written")
        return 1
    for line in write_settings(target, form, address, project):
        echo(line)
    if write is None and not asks:
        echo_error("no file was written: --write .env writes one")
    return 0


def _chosen(store: str | None, url: str | None, asks: bool, try_it: bool) -> tuple[str, str]:
    """Return the URL of a store, and what there is to say of a trial; asks until it works, if it may ask."""
    if store is not None and store not in CHOICES:
        raise ConfigError(f"--store {store}: there are {', '.join(CHOICES)}")
    if store is None and url is None and asks:
        store = _asked_store()
    name = store or "sqlite"
    may_ask = asks and url is None and name != "none"
    while True:
        given = url or (_asked("Its URL", CHOICES[name].url) if may_ask else CHOICES[name].url)
        try:
            return as_url(given), _tried(as_url(given)) if try_it else ""
        except CharmError as error:
            if not may_ask:
                raise
            echo_error(mask(str(error)))


def _asked_store() -> str:
    """Ask for a kind of store, by name or number, until it is one."""
    names = list(CHOICES)
    rows = [[str(number + 1), name, CHOICES[name].good, CHOICES[name].lacks] for number, name in enumerate(names)]
    print_table(["", "store", "is", "does not"], rows)
    while True:
        answer = _asked("Store, by name or number", "sqlite").lower()
        if answer in CHOICES:
            return answer
        if answer.isdecimal() and 0 < int(answer) <= len(names):
            return names[int(answer) - 1]
        echo_error(f"there is no store {answer!r}; there are {', '.join(CHOICES)}")


def _tried(url: str) -> str:
    """Try a store, unless it keeps nothing; return what there is to say of it."""
    if url.startswith("none:"):
        return ""
    _try(url)
    return f"tried: {mask(url)} keeps a memory and finds it again"


def _try(url: str) -> None:
    """Keep a memory, find it, and forget it; raises what the store says if that fails."""
    from charm_checkpoint import open_memory

    trial: dict[str, Any] = {
        "global": False,
        "shared": False,
        "project": ("charm-checkpoint", "trial", str(os.getpid())),
    }
    with open_memory(url) as memory, memory.long_term(None, trial) as memories:
        memories.remember("fact", "trial", "This store keeps what is remembered.")
        found = memories.recall("what does this store keep?")
        memories.scopes["project"].store.delete_namespace(memories.scopes["project"].side("notes")[:-1])
        if not found:
            raise ConfigError(f"{mask(url)} took a memory, and did not find it again")


def _asked(question: str, usual: str) -> str:
    answer: str = typer.prompt(question, default=usual)
    return answer.strip()


def _is_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
