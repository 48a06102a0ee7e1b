"""What is said of a command line that cannot be taken: what is wrong with which word, and what is meant, maybe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charm_checkpoint.cli.groups import did_you_mean
from charm_checkpoint.cli.typing_again import as_word

_NUMBERS = {
    "unable to parse string as an integer": "a whole number",
    "unable to parse string as a number": "a number",
}
"""How messages about numbers end, and what was wanted."""


def what_is_wrong(error: Any, words: Sequence[str]) -> str:
    """Return what a line says of an error of click's, and where to read on; ``words`` are those that were typed."""
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    said = _told(error, words)
    if hasattr(error, "possibilities"):  # an option that there is none of
        said = _no_option(error.option_name, words, context)
    return f"{said}{hint}"


def _told(error: Any, words: Sequence[str]) -> str:
    """Return what is wrong, with the value: typer tells of numbers only that they are none, or too small."""
    said = str(error.format_message())
    param = getattr(error, "param", None)
    if param is None:
        return said
    if said.startswith("Missing argument"):
        return f"{said.rstrip('.')}: {param.help}" if getattr(param, "help", None) else said
    wanted = next((noun for end, noun in _NUMBERS.items() if said.endswith(end)), None)
    bound = said.partition("Input should be ")[2]
    if wanted is None and not bound:
        return said
    given = _given(param.opts, words)
    option = max(param.opts, key=len)
    return f"{option} is {wanted or f'a number {bound}'}, not {given!r}" if given is not None else said


def _given(names: Sequence[str], words: Sequence[str]) -> str | None:
    """Return what was given as an option, the last time that it was."""
    for at in reversed(range(len(words))):
        name, equals, value = words[at].partition("=")
        if name in names and (equals or at + 1 < len(words)):
            return value if equals else words[at + 1]
    return None


def _no_option(name: str, words: Sequence[str], context: Any) -> str:
    """Say what comes nearest to an option, or how a word is given that is none: click tells but its first letter."""
    if not name.startswith("--"):
        name = next((word for word in words if word.startswith(name)), name)
    params = [] if context is None else context.command.get_params(context)
    hint = did_you_mean(name, [each for param in params for each in param.opts if each.startswith("-")])
    if not hint and any(param.param_type_name == "argument" for param in params):
        hint = f"; if it is an id or the like, it stands last, after two hyphens: -- {as_word(name)}"
    return f"there is no option {name}{hint}"
