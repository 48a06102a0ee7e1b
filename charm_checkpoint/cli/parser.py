"""The ``charm-checkpoint`` command: look into a store, tidy it, and watch the demo.

A setting, which holds for every command, can be given by an environment variable too, which its
help names; what is meant for one command cannot. What a command needs is imported when it runs, so
that help is quick and needs nothing installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from charm_checkpoint import __version__
from charm_checkpoint.cli import commands, deploying
from charm_checkpoint.cli.terminal import OutputLost, echo_error, finish, prepare_streams, put, swallow_output, typed
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import CharmError, ConfigError

ENV_PREFIX = "CHARM_CHECKPOINT_"

STRATEGIES = ("keep_latest", "delete")

CHARM_STORES = ("sqlite", "postgres", "redis", "supabase", "local")

WORDS = {
    "": False,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
}

Subparsers = Any
"""What argparse's ``add_subparsers`` returns; its class is private."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 is success, 1 a failure, 2 a wrong command line or configuration, 130 an interrupt.
    """
    try:
        if argv is None:
            prepare_streams()
            argv = [typed(word) for word in sys.argv[1:]]
        try:
            return _run(argv)
        finally:
            finish()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        swallow_output()
        return 1
    except OutputLost as error:
        swallow_output()
        echo_error(str(error))
        return 1


def _run(argv: Sequence[str]) -> int:
    debug = False
    words = [word for word in argv if word != "--debug"]
    try:
        if words[:1] == ["memory"]:
            from charm_checkpoint.cli.memory.app import run_memory  # typer and rich, which nothing else needs

            return run_memory(words[1:], debug=len(words) < len(argv) or _debug_wanted())
        args = build_parser().parse_args(argv)
        debug = args.debug
        code: int = args.command(args)
    except CharmError as error:
        if debug:
            raise
        echo_error(mask(str(error)))
        return 2 if isinstance(error, ConfigError) else 1
    return code


# ---------------------------------------------------------------------------------- parsers


class Parser(argparse.ArgumentParser):
    """A parser whose own output is known to be written: argparse passes over an error."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            put(message)
        else:
            super()._print_message(message, file)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="charm-checkpoint",
        description="Look into the stores of LangGraph agents, tidy them, and watch the demo.",
        epilog="A store is named by its URL, such as sqlite:///agent.db.",
    )
    parser.add_argument("--version", action="version", version=f"charm-checkpoint {__version__}")
    _add_debug(parser)
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
    configure_repair(subparsers)
    configure_check(subparsers)
    configure_migrate(subparsers)
    configure_schema(subparsers)
    configure_import_official(subparsers)
    configure_init_charm(subparsers)
    subparsers.add_parser("memory", help="durable memories: remember, recall, review, and more", add_help=False)
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
    parser = add_store_command(subparsers, "threads", commands.threads, "list the threads and how they stand")
    add_option(parser, "--limit", type=_count, metavar="N", help="list N threads at most")


def configure_show(subparsers: Subparsers) -> None:
    """Add ``show``."""
    parser = add_store_command(subparsers, "show", commands.show, "show a thread's checkpoints, latest first")
    parser.add_argument("thread", metavar="THREAD")
    add_option(parser, "--limit", type=_count, metavar="N", help="show N checkpoints at most")
    add_flag(parser, "--raw", help="show what is stored without its classes, also where it is another thread's")


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
    add_flag(parser, "--yes", help="do not ask, where all checkpoints are to go")
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


def configure_repair(subparsers: Subparsers) -> None:
    """Add ``repair``."""
    parser = add_store_command(
        subparsers, "repair", commands.repair, "cut off the damaged end of a thread's log in local files"
    )
    parser.add_argument("thread", metavar="THREAD")
    add_flag(parser, "--yes", help="do not ask")


def configure_check(subparsers: Subparsers) -> None:
    """Add ``check``."""
    parser = add_store_command(
        subparsers, "check", deploying.check, "tell what new code would make of the threads, before it is deployed"
    )
    add_option(parser, "--graph", metavar="MODULE:NAME", help="compare with this graph, too, as in app:graph")
    add_option(parser, "--sample", type=_count, metavar="N", help="look at N threads, the same ones each time")
    add_option(parser, "--thread", action=_Each, metavar="THREAD", help="look at this thread alone; may be repeated")
    add_flag(parser, "--history", help="read older checkpoints, too")
    accept = "let this pass, as in lost:app:Order.note or node:ask*; may be repeated"
    add_option(parser, "--accept", action=_Each, metavar="KIND:WHAT", help=accept)
    add_flag(parser, "--json", help="print the report as JSON")


def configure_migrate(subparsers: Subparsers) -> None:
    """Add ``migrate``."""
    parser = add_store_command(
        subparsers, "migrate", deploying.migrate, "store the heads of threads anew, as the classes are now"
    )
    add_flag(parser, "--dry-run", help="say what would be stored anew, but write nothing")
    add_option(parser, "--thread", action=_Each, metavar="THREAD", help="take this thread alone; may be repeated")
    add_flag(parser, "--json", help="print the report as JSON")


def configure_schema(subparsers: Subparsers) -> None:
    """Add ``schema``."""
    parser = add_command(
        subparsers, "schema", commands.schema, "print the SQL that sets up a Postgres database or Supabase project"
    )
    add_setting(parser, "--url", help="postgresql:// or supabase://, with ?schema=NAME for other than the default")
    add_flag(parser, "--tenant-roles", help="print what gives each role the tenant of its own name, and no other")


def configure_import_official(subparsers: Subparsers) -> None:
    """Add ``import-official``."""
    parser = add_command(
        subparsers, "import-official", commands.import_official, "take over threads of a SqliteSaver or PostgresSaver"
    )
    parser.add_argument("source", metavar="URL_OR_FILE", help="a SqliteSaver's file, or postgresql://user@host/db")
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
    add_setting(parser, "--url", help="the store, such as sqlite:///agent.db")
    add_import(parser)
    return parser


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add ``--import``."""
    add_setting(
        parser,
        "--import",
        dest="modules",
        metavar="MODULE",
        help="import modules (divided by commas) that define classes kept in the state; data alone never imports any",
    )


def add_option(
    parser: argparse.ArgumentParser, name: str, *, help: str, default: str | None = None, **more: Any
) -> None:
    """Add an option of one command, which no variable stands for."""
    shown = f" [default {default}]" if default else ""
    parser.add_argument(name, default=default, help=f"{help}{shown}", **more)


def add_flag(parser: argparse.ArgumentParser, name: str, *, help: str) -> None:
    """Add a switch of one command, which no variable stands for."""
    parser.add_argument(name, action="store_true", help=help)


class Given(str):
    """A setting's text from the environment; ``variable`` is to be named by an error about it."""

    variable = ""


def add_setting(parser: argparse.ArgumentParser, name: str, *, help: str, **more: Any) -> None:
    """Add an option that its environment variable stands for, in every command that has it."""
    variable = _variable(name)
    default = None
    if os.environ.get(variable):
        default = Given(typed(os.environ[variable]))
        default.variable = variable
    parser.add_argument(name, default=default, help=f"{help} [{variable}]", **more)


def _add_debug(parser: argparse.ArgumentParser) -> None:
    help = f"show the whole traceback of an error [{_variable('--debug')}]"
    parser.add_argument("--debug", action="store_true", default=_debug_wanted(), help=help)


def _debug_wanted() -> bool:
    variable = _variable("--debug")
    wanted = WORDS.get(os.environ.get(variable, "").strip().lower())
    if wanted is None:
        raise ConfigError(f"{variable} is set to something else than 1 or 0")
    return wanted


def _variable(option: str) -> str:
    return ENV_PREFIX + option.removeprefix("--").replace("-", "_").upper()


class _Each(argparse.Action):
    """Collects an option that may be repeated."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), values])


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
