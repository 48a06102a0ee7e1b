"""The commands of ``charm-checkpoint items``."""

from __future__ import annotations

import typer

from charm_checkpoint.cli.groups import Group, Part, put_help
from charm_checkpoint.cli.items import changing, files, finding

app = typer.Typer(
    name="items",
    cls=Group,
    help="Items of LangGraph's store: what programs put into namespaces, for all threads.\n\n"
    "A namespace is written with dots, as users.7, or as a JSON list; it stands for those below it, too, where items "
    "are looked for. No item's end is put off by looking at it.",
    epilog="charm-checkpoint items list users --url sqlite:///agent.db\n"
    "charm-checkpoint items search users.7 'which seat on the train?' --url sqlite:///agent.db",
    rich_markup_mode=None,
)


def add_commands(whole: typer.Typer) -> None:
    """Add the group of these commands."""
    whole.add_typer(app, rich_help_panel="Memories and items")


@app.callback(invoke_without_command=True)
def _without_a_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        put_help(context)
        raise typer.Exit(2)


_part = Part(app)
for _module in (finding, changing, files):
    _module.add_commands(_part)
