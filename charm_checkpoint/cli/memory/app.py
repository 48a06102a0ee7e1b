"""The commands of ``charm-checkpoint memory``, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from charm_checkpoint.cli.memory import files, finding, upkeep, wizard, writing
from charm_checkpoint.cli.terminal import echo_error, put
from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import CharmError, ConfigError

NAME = "charm-checkpoint memory"

app = typer.Typer(
    name="memory",
    help="Durable memories of agents: facts, rules and lessons that outlast a thread.",
    epilog="Exit codes: 0 done, 1 not done or not there, 2 a wrong command line or setting, 130 interrupted.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# click's own class, wherever it is: some versions of typer bring a click of their own.
_ClickException: Any = typer.BadParameter.__mro__[2]

for part in (writing, finding, files, upkeep, wizard):
    part.add_commands(app)


@app.callback(invoke_without_command=True)
def _without_a_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        put(context.get_help() + "\n")
        raise typer.Exit(2)


def run_memory(words: Sequence[str], debug: bool = False) -> int:
    """Run a command and return its exit code; errors of the store and of the command line are told in one line."""
    debug = debug or "--debug" in words
    try:
        code = app(args=[word for word in words if word != "--debug"], prog_name=NAME, standalone_mode=False)
    except CharmError as error:
        if debug:
            raise
        echo_error(mask(str(error)))
        return 2 if isinstance(error, ConfigError) else 1
    except typer.Abort:
        return 130
    except _ClickException as error:
        echo_error(_usage(error))
        return int(error.exit_code)
    except UnicodeError as error:
        echo_error(f"what was typed or read is no text: {error}")
        return 2
    return code if isinstance(code, int) else 0


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return f"{error.format_message()}{hint}"
