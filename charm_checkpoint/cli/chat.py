"""Messages as a chat: who said what, and which tools were called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from charm_checkpoint.cli.output import one_line, paint
from charm_checkpoint.cli.terminal import put
from charm_checkpoint.cli.yamlish import Cut, scalar
from charm_checkpoint.printable import printable

if TYPE_CHECKING:
    from charm_checkpoint.inspection.conversation import ToolCall, Turn

_STYLES = {"human": "cyan", "ai": "green", "tool": "yellow", "system": "dim"}
_ROLE = 7
"""Characters of a role, with those after it."""
_MORE = 2
"""How many times as much is shown of what is said as of other texts."""


def print_chat(turns: Iterable[Turn], cut: Cut, indent: int = 0) -> None:
    """Print messages, oldest first."""
    put("".join(f"{' ' * indent}{line}\n" for line in chat_lines(turns, cut)))


def chat_lines(turns: Iterable[Turn], cut: Cut) -> Iterator[str]:
    """Yield the lines of messages, oldest first."""
    for turn in turns:
        role = one_line(turn.role) or "?"
        first, *rest = list(_said(turn, cut)) or [""]
        yield f"{paint(role.ljust(_ROLE - 1), _STYLES.get(turn.role, 'bold'))} {first}".rstrip()
        yield from (f"{' ' * _ROLE}{line}".rstrip() for line in rest)


def as_turns(value: Any) -> Sequence[Turn]:
    """Return a message, or a list of messages, as turns; nothing if it is anything else."""
    from charm_checkpoint.inspection.turns import are_messages, turns_of

    messages = value if isinstance(value, list) else [value]
    return turns_of(messages, 0) if are_messages(messages) else ()


def _said(turn: Turn, cut: Cut) -> Iterable[str]:
    """Return the lines of a message: its text, what else is in it, the tools that it calls."""
    head = []
    if turn.name:
        head.append(f"{one_line(turn.name)}:")
    if turn.status == "error":
        head.append(paint("error", "red"))
    lines = turn.text.strip("\n").split("\n") if turn.text else []
    kept = len(lines) if cut.lines is None else cut.lines
    shown = [_clipped(printable(line), cut.text) for line in lines[:kept]]
    if len(lines) > kept:
        shown.append(paint(f"… {len(lines) - kept:,} more lines", "dim"))
    if head:
        shown[:1] = [" ".join([*head, *shown[:1]])]
    if turn.parts:
        shown.append(paint(f"[{', '.join(map(one_line, turn.parts))}]", "dim"))
    shown.extend(_called(call, cut) for call in turn.tool_calls)
    if turn.note:
        shown.append(paint(f"({one_line(turn.note)})", "dim"))
    return shown


def _called(call: ToolCall, cut: Cut) -> str:
    args = call.args
    if isinstance(args, dict):
        said = ", ".join(f"{one_line(str(name))}={scalar(value, cut)}" for name, value in args.items())
    else:
        said = "" if args is None else scalar(args, cut)
    return f"{paint('calls', 'yellow')} {one_line(call.name)}({said})"


def _clipped(text: str, usual: int | None) -> str:
    most = None if usual is None else usual * _MORE
    if most is None or len(text) <= most:
        return text
    return f"{text[:most]}… {len(text) - most:,} more characters"
