"""What happened in a turn of a conversation: what was said, done, corrected, and which files were changed; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from charm_checkpoint.agents.recall_node import as_messages, last_of_user, text_of
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.long_term.plain_text import cut

CORRECTION: Final = "correction"
RETRY: Final = "retry"
TASK: Final = "task"
TRIGGERS: Final = (CORRECTION, RETRY, TASK)
"""When a turn may be worth a memory: the user corrected what was done; a tool failed, then did it; a task was done."""

EDITING_TOOLS: Final = frozenset({
    "write_file", "edit_file", "multi_edit", "create_file", "append_file", "replace_in_file", "update_file",
    "write", "edit", "multiedit", "str_replace", "str_replace_editor", "str_replace_based_edit_tool", "insert_lines",
    "insert", "apply_edit", "notebook_edit", "file_write", "file_edit",
})  # fmt: skip
"""The names, in lower case with ``_``, of tools that change files; those that only read are none."""

LONG_TASK: Final = 5
"""How many calls of tools make a turn a task."""

_PATHS = ("path", "file_path", "filepath", "filename", "file", "target_file", "target_path", "notebook_path")
_LISTS = ("edits", "files", "changes")
_READS = frozenset({"view", "read", "list", "cat"})
_FAILED = re.compile(r"\s*(?:error|traceback|exception|failed|fatal|command failed|exit (?:code|status) [1-9])", re.I)

_SAID, _TOLD, _ARGUMENTS, _RESULT, _ACTIONS = 2_000, 1_000, 300, 500, 8


@dataclass(frozen=True)
class Event:
    """A turn that may be worth a memory.

    ``said`` is the user's message, ``before`` what the agent did and told before it: of a correction, that is what was
    corrected. ``done`` is what it did after it, ``told`` its answer, ``changed`` the files that its tools changed.
    """

    trigger: str
    said: str
    before: tuple[str, ...]
    done: tuple[str, ...]
    told: str
    changed: tuple[str, ...]


def event_of(
    messages: Iterable[Any],
    *,
    triggers: Sequence[str],
    is_correction: Callable[[str], bool],
    editing_tools: Iterable[str] = EDITING_TOOLS,
) -> Event | None:
    """Return what makes the last turn of a conversation worth a question, by the first trigger that holds; or None.

    A turn begins with the last message of the user's. A command, which begins with ``/``, is no correction.
    """
    every = as_messages(messages)
    begin = last_of_user(every)
    if begin is None:
        return None
    said, turn = text_of(every[begin]), every[begin + 1 :]
    found = next((each for each in triggers if _holds(each, said, turn, is_correction)), None)
    if found is None:
        return None
    return Event(
        trigger=found,
        said=cut(said, _SAID),
        before=tuple(_actions(_turn_before(every, begin))),
        done=tuple(_actions(turn, with_text=False)),
        told=cut(_last_answer(turn), _TOLD),
        changed=tuple(changed_files(turn, editing_tools)),
    )


def checked_triggers(triggers: Any) -> tuple[str, ...]:
    """Return triggers; raises `ConfigError` for what is none."""
    given = (triggers,) if isinstance(triggers, str) else tuple(triggers)
    for each in given:
        if each not in TRIGGERS:
            raise ConfigError(f"triggers: there is no {each!r}; known: {', '.join(TRIGGERS)}")
    return given


def has_failed(result: ToolMessage) -> bool:
    """Tell whether a tool's result is an error: by its status, or by how it begins."""
    return result.status == "error" or _FAILED.match(text_of(result)) is not None


def _holds(trigger: str, said: str, turn: Sequence[BaseMessage], is_correction: Callable[[str], bool]) -> bool:
    if trigger == CORRECTION:
        return not said.lstrip().startswith("/") and is_correction(said)
    if trigger == RETRY:
        return _was_retried(turn)
    return len(list(_calls(turn))) >= LONG_TASK and bool(_last_answer(turn))


def _was_retried(turn: Sequence[BaseMessage]) -> bool:
    """Tell whether a tool failed, and then did it."""
    names = {call["id"]: call["name"] for call in _calls(turn)}
    failed = set()
    for message in turn:
        if isinstance(message, ToolMessage):
            name = message.name or names.get(message.tool_call_id)
            if has_failed(message):
                failed.add(name)
            elif name in failed:
                return True
    return False


def _turn_before(messages: Sequence[BaseMessage], begin: int) -> Sequence[BaseMessage]:
    before = last_of_user(messages[:begin])
    return messages[:begin] if before is None else messages[before + 1 : begin]


def _calls(messages: Iterable[BaseMessage]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        if isinstance(message, AIMessage):
            yield from message.tool_calls


def _last_answer(messages: Sequence[BaseMessage]) -> str:
    """Return what an agent told last, nothing if a tool has the last word."""
    last = messages[-1] if messages else None
    return text_of(last).strip() if isinstance(last, AIMessage) else ""


def _actions(messages: Sequence[BaseMessage], *, with_text: bool = True) -> Iterator[str]:
    """Yield the last things that an agent told and did, one text for each."""
    found: list[str] = []
    results = [message for message in messages if isinstance(message, ToolMessage)]
    failed = {result.tool_call_id: text_of(result) for result in results if has_failed(result)}
    for message in messages:
        if not isinstance(message, AIMessage):
            continue
        if with_text and (told := text_of(message).strip()):
            found.append(f"said: {cut(told, _TOLD)}")
        for call in message.tool_calls:
            line = f"called {call['name']}({cut(_as_json(call['args']), _ARGUMENTS)})"
            why = failed.get(call["id"] or "")
            found.append(line if why is None else f"{line}, which failed: {cut(why, _RESULT)}")
    yield from found[-_ACTIONS:]


def changed_files(messages: Sequence[BaseMessage], editing_tools: Iterable[str] = EDITING_TOOLS) -> Iterator[str]:
    """Yield the paths that tools changed, as these were given them, each once; not those of calls that failed."""
    names = {_tool(name) for name in editing_tools}
    results = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    seen = set()
    for call in _calls(messages):
        result = results.get(call["id"] or "")
        if _tool(call["name"]) not in names or result is None or has_failed(result):
            continue
        if str(call["args"].get("command")) in _READS:  # of a tool that reads and edits
            continue
        for path in _paths(call["args"]):
            if path not in seen:
                seen.add(path)
                yield path


def _tool(name: str) -> str:
    return name.lower().replace("-", "_")


def _paths(arguments: Mapping[str, Any], nested: bool = False) -> Iterator[str]:
    yield from (value for name in _PATHS if isinstance(value := arguments.get(name), str) and value.strip())
    if not nested:
        for name in _LISTS:
            some = arguments.get(name)
            for each in some if isinstance(some, list) else ():
                if isinstance(each, Mapping):
                    yield from _paths(each, nested=True)


def _as_json(arguments: Any) -> str:
    return json.dumps(arguments, ensure_ascii=False, default=str)
