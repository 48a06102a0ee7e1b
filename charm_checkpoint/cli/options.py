"""The options that several commands have, each with the same name, help and variable everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import typer

from charm_checkpoint.cli.completing import complete_thread
from charm_checkpoint.cli.terminal import typed
from charm_checkpoint.errors import ConfigError

ENV_PREFIX = "CHARM_CHECKPOINT_"
URL_VARIABLE = f"{ENV_PREFIX}URL"
IMPORT_VARIABLE = f"{ENV_PREFIX}IMPORT"
PROJECT_VARIABLE = f"{ENV_PREFIX}PROJECT"
DEBUG_VARIABLE = f"{ENV_PREFIX}DEBUG"

_WORDS = {
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
    **dict.fromkeys(("1", "true", "yes", "on"), True),
}


class Given(str):
    """A setting's text from the environment; ``variable`` is to be named by an error about it."""

    variable = ""


def _setting(context: typer.Context, param: typer.CallbackParam, value: str | None) -> str | None:
    """Return what was given: after the command, else before it, else by the variable."""
    name = str(param.name)
    source = getattr(context.get_parameter_source(name), "name", "")
    if source == "COMMANDLINE":
        return value
    root: Any = context.find_root()
    if root is not context and root.params.get(name) is not None:
        before: str = root.params[name]
        return before
    if value is not None and source == "ENVIRONMENT":
        value = Given(typed(value))
        value.variable = str(param.envvar)
    return value


Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The store, such as sqlite:///agent.db.",
        envvar=URL_VARIABLE,
        show_default=False,
        callback=_setting,
    ),
]
Import: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import modules (divided by commas) that define classes kept in the state; data alone never imports any.",
        envvar=IMPORT_VARIABLE,
        show_default=False,
        callback=_setting,
    ),
]
Project: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="PROJECT",
        help="The project: its folder, such as . (which can be cited, and has shared memories), or its name.",
        envvar=PROJECT_VARIABLE,
        show_default=False,
        callback=_setting,
    ),
]
Debug: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--debug", help=f"Anywhere in a command: show the whole traceback of an error  [env var: {DEBUG_VARIABLE}]."
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Every: TypeAlias = Annotated[bool, typer.Option("--all", "-a", help="All of them.")]
After: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--after", metavar="CURSOR", help="Those behind this one: the cursor that --json tells.", show_default=False
    ),
]
Thread: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="THREAD", help="The thread's id.", show_default=False, autocompletion=complete_thread),
]
Threads: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--thread",
        metavar="THREAD",
        help="This thread alone; may be repeated.",
        show_default=False,
        autocompletion=complete_thread,
    ),
]
At: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[CHECKPOINT]",
        help="The beginning of its id, head, or head~N for the Nth before it; default: head.",
        show_default=False,
    ),
]


def checkpoint_of(text: str | None) -> str | int | None:
    """Return a checkpoint as `Memory.state` takes it; raises what ends a wrong command line."""
    if text is None or text == "head":
        return None
    if not text.startswith("head~"):
        return text
    count = text.removeprefix("head~")
    if not (count.isascii() and count.isdecimal()):
        raise typer.BadParameter(f"{text!r}: head~N has a number, as in head~1")
    return -int(count) or None


def one_of(option: str, text: str, names: Sequence[str]) -> str:
    """Return a word that must be one of some; raises what ends a wrong command line."""
    if text not in names:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(names)}", param_hint=f"'{option}'")
    return text


def without_debug(words: Sequence[str]) -> list[str]:
    """Return a command line without ``--debug``, which may stand anywhere before ``--``."""
    end = words.index("--") if "--" in words else len(words)
    return [*(word for word in words[:end] if word != "--debug"), *words[end:]]


def debug_wanted() -> bool:
    """Tell whether the environment asks for tracebacks; raises `ConfigError` where it says neither yes nor no."""
    wanted = _WORDS.get(os.environ.get(DEBUG_VARIABLE, "").strip().lower())
    if wanted is None:
        raise ConfigError(f"{DEBUG_VARIABLE} is set to something else than 1 or 0")
    return wanted
