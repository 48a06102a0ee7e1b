"""Groups of commands, and single ones: how their help looks, and what is said where a name is wrong."""

from __future__ import annotations

import difflib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from charm_checkpoint.cli.output import paint
from charm_checkpoint.cli.terminal import put
from charm_checkpoint.cli.typing_again import as_word

_SENTENCE = 1000
"""Characters of a first sentence, which is never as long."""


def did_you_mean(word: str, known: list[str]) -> str:
    """Return a sentence that names what comes nearest to a wrong word, with a space before it, or nothing."""
    begun = [name for name in known if word and name.startswith(word)]
    near = [*begun, *(name for name in difflib.get_close_matches(word, known, n=2, cutoff=0.7) if name not in begun)]
    return f". Did you mean {' or '.join(map(as_word, near[:2]))}?" if near else ""


def _show_help(context: Any, option: Any, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        put_help(context)
        raise typer.Exit


def put_help(context: Any) -> None:
    """Print the help of a command, its headings bold in a terminal."""
    lines = context.get_help().split("\n")
    put("".join(f"{paint(line, 'bold') if line[:1].isalpha() and line.endswith(':') else line}\n" for line in lines))


def _write_examples(epilog: str | None, formatter: Any) -> None:
    """Write the lines of an epilog as they are: they are commands."""
    if epilog:
        formatter.write_paragraph()
        formatter.write("Examples:\n" + "".join(f"  {line}\n" for line in epilog.strip().splitlines()))


class Command(TyperCommand):
    """A command whose help is known to be written, and ends with examples."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option, which writes as all else is written."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """A group whose help lists its commands by what they are for."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option, which writes as all else is written."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that a word names; where there is none, say which comes nearest."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            shown = [known for known, command in self.commands.items() if not command.hidden]
            ctx.fail(f"there is no command {name!r}{did_you_mean(name, shown)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, divided by what they are for."""
        sections: dict[str, list[tuple[str, str]]] = {}
        longest = max(map(len, self.commands), default=0)
        for name, command in self.commands.items():
            if not command.hidden:
                rows = sections.setdefault(getattr(command, "rich_help_panel", None) or "Commands", [])
                rows.append((name.ljust(longest), command.get_short_help_str(_SENTENCE)))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands before the options: they are what is looked for."""
        self.format_commands(ctx, formatter)
        records = [record for param in self.get_params(ctx) if (record := param.get_help_record(ctx)) is not None]
        if records:
            with formatter.section("Options"):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(self.epilog, formatter)


class Part:
    """A part of the command line: commands that are for the same, and are listed together."""

    def __init__(self, app: typer.Typer, title: str | None = None) -> None:
        self._app = app
        self._title = title

    def add(self, function: Any, name: str | None = None, *, examples: str | None = None, hidden: bool = False) -> None:
        """Add a command, which is called as its function is, with hyphens; ``examples``: a command line each."""
        self._app.command(
            name or function.__name__.rstrip("_").replace("_", "-"),
            cls=Command,
            epilog=examples,
            hidden=hidden,
            rich_help_panel=self._title,
        )(function)
