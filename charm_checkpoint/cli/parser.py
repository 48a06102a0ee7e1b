"""The ``charm-checkpoint`` command: look into a store, tidy it, and watch the demo.

Every option can be given by an environment variable too, which its help names. What a command
needs is imported when it runs, so that help is quick and needs nothing installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from charm_checkpoint import __version__
from charm_checkpoint.cli import commands
from charm_checkpoint.cli.commands import complain
from charm_checkpoint.errors import CharmError, ConfigError
from charm_checkpoint.masking import mask

ENV_PREFIX = "CHARM_CHECKPOINT_"

STRATEGIES = ("keep_latest", "delete")

CHARM_STORES = ("sqlite", "postgres", "redis", "supabase", "local")

TRUE_WORDS = ("1", "true", "yes", "on")

Subparsers = Any
"""What argparse's ``add_subparsers`` returns; its class is private."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 is success, 1 a failure, 2 a wrong command line or configuration, 130 an interrupt.
    """
    try:
        args = build_parser().parse_args(argv)
        return _run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away, as `head` does. Python would fail again on flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(args: argparse.Namespace) -> int:
    try:
        code: int = args.command(args)
    except CharmError as error:
        if args.debug:
            raise
        complain(mask(str(error)))
        return 2 if isinstance(error, ConfigError) else 1
    return code


# ---------------------------------------------------------------------------------- parsers


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="charm-checkpoint",
        description="Look into the stores of LangGraph agents, tidy them, and watch the demo.",
        epilog="A store is named by its URL, such as sqlite:///agent.db.",
    )
    parser.add_argument("--version", action="version", version=f"charm-checkpoint {__version__}")
    add_flag(parser, "--debug", help="show the whole traceback of an error")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    configure_demo(subparsers)
    configure_stores(subparsers)
    configure_threads(subparsers)
    configure_show(subparsers)
    configure_messages(subparsers)
    configure_usage(subparsers)
    configure_delete(subparsers)
    configure_prune(subparsers)
    configure_copy(subparsers)
    configure_schema(subparsers)
    configure_import_official(subparsers)
    configure_init_charm(subparsers)
    return parser


def configure_demo(subparsers: Subparsers) -> None:
    """Add ``demo``."""
    parser = add_command(
        subparsers, "demo", commands.demo, "run an agent on two devices, kill it midway, and check the store"
    )
    add_option(parser, "--url", help="the store to run it on (default: a SQLite file of its own)")
    add_option(
        parser,
        "--store",
        metavar="{sqlite,postgres,supabase,redis}",
        help="start a store of this kind for it, and stop it in the end (needs the extra 'servers')",
    )
    add_flag(parser, "--keep", help="keep what was stored, and say where it is")
    add_option(parser, "--delay", type=_seconds, default="0.2", metavar="SECONDS", help="pause before each step")


def configure_stores(subparsers: Subparsers) -> None:
    """Add ``stores``."""
    add_command(subparsers, "stores", commands.stores, "list the kinds of stores, and how to install what they need")


def configure_threads(subparsers: Subparsers) -> None:
    """Add ``threads``."""
    parser = add_store_command(subparsers, "threads", commands.threads, "list the threads that have checkpoints")
    add_option(parser, "--limit", type=_count, metavar="N", help="list N threads at most")


def configure_show(subparsers: Subparsers) -> None:
    """Add ``show``."""
    parser = add_store_command(subparsers, "show", commands.show, "show a thread's checkpoints, latest first")
    parser.add_argument("thread", metavar="THREAD")
    add_option(parser, "--limit", type=_count, metavar="N", help="show N checkpoints at most")


def configure_messages(subparsers: Subparsers) -> None:
    """Add ``messages``."""
    parser = add_store_command(
        subparsers, "messages", commands.messages, "print a thread's message history, as JSON lines"
    )
    parser.add_argument("thread", metavar="THREAD")


def configure_usage(subparsers: Subparsers) -> None:
    """Add ``usage``."""
    parser = add_store_command(subparsers, "usage", commands.usage, "say how much is stored")
    add_option(parser, "--thread", metavar="THREAD", help="count this thread alone")


def configure_delete(subparsers: Subparsers) -> None:
    """Add ``delete``."""
    parser = add_store_command(
        subparsers, "delete", commands.delete, "delete a thread: its checkpoints and its messages"
    )
    parser.add_argument("thread", metavar="THREAD")
    add_flag(parser, "--yes", help="do not ask")


def configure_prune(subparsers: Subparsers) -> None:
    """Add ``prune``."""
    parser = add_store_command(subparsers, "prune", commands.prune, "remove old checkpoints of threads")
    parser.add_argument("threads", metavar="THREAD", nargs="+")
    add_option(
        parser,
        "--strategy",
        type=_strategy,
        default="keep_latest",
        metavar="{" + ",".join(STRATEGIES) + "}",
        help="keep the latest checkpoint of each namespace, or delete all",
    )


def configure_copy(subparsers: Subparsers) -> None:
    """Add ``copy``."""
    parser = add_store_command(
        subparsers, "copy", commands.copy, "copy a thread's checkpoints to a thread that has none"
    )
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET")


def configure_schema(subparsers: Subparsers) -> None:
    """Add ``schema``."""
    parser = add_command(
        subparsers, "schema", commands.schema, "print the SQL that sets up a Postgres database or Supabase project"
    )
    add_option(parser, "--url", help="postgresql:// or supabase://, with ?schema=NAME for other than the default")


def configure_import_official(subparsers: Subparsers) -> None:
    """Add ``import-official``."""
    parser = add_command(
        subparsers, "import-official", commands.import_official, "take over threads of a SqliteSaver or PostgresSaver"
    )
    parser.add_argument("source", metavar="URL_OR_FILE", help="a SqliteSaver's file, or postgresql://…")
    add_option(parser, "--to", metavar="URL", help="the store that gets them, such as sqlite:///agent.db")
    add_option(parser, "--thread", action=_Each, metavar="THREAD", help="take over this thread alone; may be repeated")
    add_option(parser, "--schema", metavar="NAME", help="the schema of a PostgresSaver's tables")
    add_import(parser)
    add_flag(parser, "--skip-existing", help="pass over threads that hold something else already; else an error")
    add_flag(parser, "--dry-run", help="read everything and say what would be taken over, but write nothing")


def configure_init_charm(subparsers: Subparsers) -> None:
    """Add ``init-charm``."""
    parser = add_command(
        subparsers, "init-charm", commands.init_charm, "write a small agent project for Charm that keeps its threads"
    )
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="where to (default: here)")
    stores = "{" + ",".join(CHARM_STORES) + "}"
    add_option(parser, "--store", type=_charm_store, default="sqlite", metavar=stores, help="where threads are kept")


def add_command(
    subparsers: Subparsers, name: str, command: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """Add a command; ``summary`` is its line in the list and the head of its own help."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
    parser.set_defaults(command=command)
    return parser


def add_store_command(
    subparsers: Subparsers, name: str, command: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """Add a command that opens a store which is there already."""
    parser = add_command(subparsers, name, command, summary)
    add_option(parser, "--url", help="the store, such as sqlite:///agent.db")
    add_import(parser)
    return parser


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add ``--import``."""
    add_option(
        parser,
        "--import",
        dest="modules",
        metavar="MODULE",
        help="import modules (divided by commas) that define classes kept in the state; data alone never imports any",
    )


def add_option(
    parser: argparse.ArgumentParser, name: str, *, help: str, default: str | None = None, **more: Any
) -> None:
    """Add an option whose environment twin takes the place of its default."""
    variable = _variable(name)
    shown = f"; default {default}" if default else ""
    parser.add_argument(name, default=os.environ.get(variable, default), help=f"{help} [{variable}{shown}]", **more)


def add_flag(parser: argparse.ArgumentParser, name: str, *, help: str) -> None:
    """Add a switch whose environment twin, set to 1, true, yes or on, turns it on."""
    variable = _variable(name)
    default = os.environ.get(variable, "").lower() in TRUE_WORDS
    parser.add_argument(name, action="store_true", default=default, help=f"{help} [{variable}]")


def _variable(option: str) -> str:
    return ENV_PREFIX + option.removeprefix("--").replace("-", "_").upper()


class _Each(argparse.Action):
    """Collects an option that may be repeated; given at all, it takes the place of its environment twin."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        so_far = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(so_far if isinstance(so_far, list) else ()), values])


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 60:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 60")


def _strategy(text: str) -> str:
    return _one_of(text, STRATEGIES)


def _charm_store(text: str) -> str:
    return _one_of(text, CHARM_STORES)


def _one_of(text: str, names: tuple[str, ...]) -> str:
    # Not argparse's `choices`: those are not checked on a default, which the environment may give.
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(names)}")
    return text
