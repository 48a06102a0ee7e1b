"""The commands of ``charm-checkpoint memory``."""

from __future__ import annotations

import typer

from charm_checkpoint.cli.groups import Group, put_help
from charm_checkpoint.cli.memory import files, finding, upkeep, wizard, writing

app = typer.Typer(
    name="memory",
    cls=Group,
    help="Durable memories of agents: facts, rules and lessons that outlast a thread.",
    epilog="charm-checkpoint memory init\ncharm-checkpoint memory recall 'may I force push?' --project .",
    rich_markup_mode=None,
)

for part in (writing, finding, files, upkeep, wizard):
    part.add_commands(app)


def add_commands(whole: typer.Typer) -> None:
    """Add the group of these commands."""
    whole.add_typer(app, rich_help_panel="Memories and items")


@app.callback(invoke_without_command=True)
def _without_a_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        put_help(context)
        raise typer.Exit(2)
