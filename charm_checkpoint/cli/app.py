"""The ``charm-checkpoint`` command: look into a store, tidy it, move it, check it.

Its parts are modules that add their commands. What a command needs is imported when it runs, so that help is quick
and needs nothing installed. A setting, which holds for every command, can be given by an environment variable too,
which its help names; what is meant for one command cannot.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer

from charm_checkpoint import __version__
from charm_checkpoint.cli import checking, looking, moving, serving, store, tidying
from charm_checkpoint.cli.groups import Group, put_help
from charm_checkpoint.cli.items import app as items
from charm_checkpoint.cli.memory import app as memory
from charm_checkpoint.cli.options import Debug, Import, Url, debug_wanted, without_debug
from charm_checkpoint.cli.terminal import (
    OutputLost,
    ReaderGone,
    echo_error,
    echo_interrupted,
    prepare_streams,
    put,
    swallow_output,
    typed,
)
from charm_checkpoint.cli.wrong_words import what_is_wrong
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import CharmError, ConfigError

NAME = "charm-checkpoint"
_COMPLETING = "_CHARM_CHECKPOINT_COMPLETE"
_EXAMPLES = """
charm-checkpoint threads --url sqlite:///agent.db
charm-checkpoint show 42 --url sqlite:///agent.db
charm-checkpoint demo
"""

app = typer.Typer(
    name=NAME,
    cls=Group,
    help="Look into the stores of LangGraph agents, tidy them, move them, check them.\n\n"
    "A store is named by its URL, such as sqlite:///agent.db, with --url or CHARM_CHECKPOINT_URL. "
    "Exit codes: 0 done, 1 not done, not there, or something found, 2 a wrong command line or setting, "
    "130 interrupted.",
    epilog=_EXAMPLES,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
# click's own class, wherever it is: some versions of typer bring a click of their own.
_ClickException: Any = typer.BadParameter.__mro__[2]


def _say_version(wanted: bool) -> None:
    if wanted:
        put(f"{NAME} {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    url: Url = None,
    modules: Import = None,
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        put_help(context)
        raise typer.Exit(2)


for part in (looking, tidying, moving, checking, serving, store):
    part.add_commands(app)
for group in (items, memory):
    group.add_commands(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 is success, 1 a failure, 2 a wrong command line or configuration, 130 an interrupt.
    """
    try:
        if argv is None:
            prepare_streams()
            argv = [typed(word) for word in sys.argv[1:]]
            if os.environ.get(_COMPLETING):
                app(prog_name=NAME)  # which ends the process
        return _run(argv)
    except (KeyboardInterrupt, typer.Abort) as error:
        echo_interrupted(error)
        return 130
    except ReaderGone:
        swallow_output()
        return 1
    except OutputLost as error:
        swallow_output()
        echo_error(str(error))
        return 1


def _run(argv: Sequence[str]) -> int:
    debug = False
    try:
        words = without_debug(argv)
        debug = len(words) < len(argv) or debug_wanted()
        return _called(words)
    except CharmError as error:
        if debug:
            raise
        echo_error(mask(str(error)))
        return 2 if isinstance(error, ConfigError) else 1
    except _ClickException as error:
        echo_error(what_is_wrong(error, argv))
        return int(error.exit_code)
    except OSError as error:  # of a file that was named: those of stores are errors of their own
        if debug:
            raise
        about = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        echo_error(about)
        return 1
    except UnicodeError as error:
        if debug:
            raise
        echo_error(f"what was typed or read is no text: {error}")
        return 2


def _called(words: Sequence[str]) -> int:
    """Run a command, without what click does where it runs as a program: it would end the process."""
    try:
        with command().make_context(NAME, list(words)) as context:
            code = context.command.invoke(context)
    except typer.Exit as end:
        code = end.exit_code
    return code if isinstance(code, int) else 0


@cache
def command() -> Any:
    """Return the whole command line as click has it."""
    return typer.main.get_command(app)
