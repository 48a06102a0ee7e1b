"""What runs in the process of one version: it stores, reads, has turns, and tells what it found.

Each job is for one version. What it found goes to ``ack``, a line of JSON for each look.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import operator
import os
import re
import select
import sqlite3
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from langchain_core.tracers import context, run_collector, stdout  # noqa: F401 - or each process would import them
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from charm_checkpoint import open_memory
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode
from charm_checkpoint.values.serde import Serializer

Ack = Callable[[str], None]
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Values(TypedDict, total=False):
    """A value that is written anew in each turn, and others that are left alone."""

    value: Any
    held: Any
    turns: Annotated[int, operator.add]


def _turn(state: Values) -> Any:
    return {"value": state["value"], "turns": 1}


def _graph(saver: Any) -> Any:
    return StateGraph(Values).add_node("turn", _turn).add_edge(START, "turn").compile(checkpointer=saver)


# ----------------------------------------------------------------------------------- a version


def load(folder: str, run: str) -> dict[str, Any]:
    """Start a version as Python would, and return the names of its first module."""
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    name = run.removeprefix("-m ").removesuffix(".py")
    if run == name:
        return vars(importlib.import_module(name))
    main = types.ModuleType("__main__")
    spec = importlib.util.find_spec(name)
    assert spec and spec.origin
    main.__file__ = spec.origin
    main.__spec__ = spec if run.startswith("-m") else None
    sys.modules["__main__"] = main
    exec(compile(Path(spec.origin).read_text(encoding="utf-8"), spec.origin, "exec", dont_inherit=True), vars(main))
    return vars(main)


class Logged(logging.Handler):
    """What was logged as a warning, or worse, but for what the official saver says of every class."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        line = record.getMessage()
        if not line.startswith("Deserializing unregistered type"):
            self.lines.append(line)


class Telling:
    """Says what was found, with what was logged since."""

    def __init__(self, ack: Ack) -> None:
        self.ack = ack
        self.logged = Logged()
        for name in ("charm_checkpoint", "langgraph"):
            logging.getLogger(name).addHandler(self.logged)

    def tell(self, who: str, step: str, **found: Any) -> None:
        """Say what was found."""
        lines, self.logged.lines = self.logged.lines, []
        self.ack(json.dumps({"who": who, "step": step, "logged": lines, **found}))

    @contextmanager
    def told(self, who: str, step: str) -> Iterator[None]:
        """Say it of an error."""
        try:
            yield
        except Exception as error:
            self.tell(who, step, error=f"{type(error).__name__}: {error}")


# ------------------------------------------------------------------------------------- savers


@contextmanager
def charm(url: str, mode: CallMode, **options: Any) -> Iterator[Any]:
    """Open Charm's saver, with nothing in mind of what it held."""
    memory = open_memory(url, **options)
    try:
        yield memory.get_langgraph_checkpointer()
    finally:
        InMode(memory, mode).close()


@contextmanager
def official(file: str, mode: CallMode, **options: Any) -> Iterator[Any]:
    """Open LangGraph's own saver."""
    with closing(sqlite3.connect(file, check_same_thread=False)) as connection:
        yield SqliteSaver(connection)


def savers(url: str, file: str) -> Iterator[tuple[str, str, Callable[..., Any], str, CallMode]]:
    """Yield who saves, the thread, what opens the saver, its place, and the way to call; the official one is last.

    It imports what is stored, which would be there for the others.
    """
    for name, make in CALL_MODES.items():
        with closing(make()) as mode:
            yield f"charm {name}", name, charm, url, mode
    if file:
        with closing(CALL_MODES["blocking"]()) as mode:
            yield "official", "official", official, file, mode


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


# --------------------------------------------------------------------------------------- jobs


def write(ack: Ack, folder: str, run: str, url: str, file: str) -> None:
    """Store the first version's value: by itself, deep in another channel, and many times."""
    telling, value = Telling(ack), load(folder, run)["VALUE"]
    for who, thread, opened, place, mode in savers(url, file):
        with telling.told(who, "write"), opened(place, mode) as saver:
            held = {"deep": [value, {"n": 1}], "many": [value] * 40}
            InMode(_graph(saver), mode).invoke({"value": value, "held": held, "turns": 0}, _config(thread))


def look(names: dict[str, Any], state: dict[str, Any], reads: str) -> dict[str, Any]:
    """Tell what came of the values, the worst first."""
    found = [state["value"], state["held"]["deep"][0], state["held"]["many"][0], state["held"]["many"][-1]]
    looks = [_look(names, value, reads) for value in found]
    return next((each for each in looks if not each["holds"] and not each["unknown"]), looks[0])


def _look(names: dict[str, Any], v: Any, reads: str) -> dict[str, Any]:
    if type(v).__name__ == "Unknown":
        return {"holds": False, "unknown": v.reason, "use": _use(v), "shown": repr(v)}
    try:
        holds = bool(reads) and bool(eval(reads, {**names, "v": v}))
        shown = _ADDRESS.sub("", repr(v))
    except Exception as error:
        holds, shown = False, f"{type(error).__name__}: {error}"
    return {"holds": holds, "unknown": "", "use": "", "shown": shown}


def _use(value: Any) -> str:
    """Return what a node is told that uses a value that could not be revived."""
    try:
        return repr(value.id)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def read(ack: Ack, folder: str, run: str, url: str, file: str, reads: str, raises: bool) -> None:
    """Read, have a turn, and read again, as the second version."""
    telling = Telling(ack)
    try:
        names = load(folder, run)
    except Exception as error:
        telling.tell("version 2", "start", error=f"{type(error).__name__}: {error}")
        return
    for who, thread, opened, place, mode in savers(url, file):
        if raises and opened is charm:
            with telling.told(who, "raise"), opened(place, mode, serde=Serializer(on_unknown="raise")) as saver:
                telling.tell(who, "raise", **look(names, _state(saver, mode, thread), reads))
        with telling.told(who, "read"), opened(place, mode) as saver:
            graph = InMode(_graph(saver), mode)
            first, second = (look(names, graph.get_state(_config(thread)).values, reads) for _ in range(2))
            telling.tell(who, "read", **first, twice=second["shown"])
            graph.invoke({}, _config(thread))
        with telling.told(who, "turn"), opened(place, mode) as saver:
            telling.tell(who, "turn", **look(names, _state(saver, mode, thread), reads))


def _state(saver: Any, mode: CallMode, thread: str) -> dict[str, Any]:
    """Return the values of a thread as a saver that has just opened finds them, not as it remembers them."""
    found: dict[str, Any] = InMode(_graph(saver), mode).get_state(_config(thread)).values
    return found


def back(ack: Ack, folder: str, run: str, url: str, file: str, reads: str) -> None:
    """Read as the first version again."""
    telling = Telling(ack)
    names = load(folder, run)
    for who, thread, opened, place, mode in savers(url, file):
        with telling.told(who, "back"), opened(place, mode) as saver:
            telling.tell(who, "back", **look(names, _state(saver, mode, thread), reads))


def step(ack: Ack, folder: str, run: str, url: str, file: str, number: int, code: str) -> None:
    """Do a step of a story: what it finds wrong is an error."""
    telling, names = Telling(ack), load(folder, run)
    for who, thread, opened, place, mode in savers(url, file):
        with telling.told(who, str(number)), opened(place, mode) as saver:
            calls = _calls(names["graph"](saver), mode, thread)
            again = partial(_again, mode=mode, thread=thread)
            space = {**names, **calls, "saver": InMode(saver, mode), "again": again}
            try:
                exec(code, space)
            except AssertionError:
                telling.tell(who, str(number), wrong=_ADDRESS.sub("", repr(space.get("found"))))
            else:
                telling.tell(who, str(number), wrong="")


def _again(graph: Any, mode: CallMode, thread: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(**_calls(graph, mode, thread))


def _calls(graph: Any, mode: CallMode, thread: str) -> dict[str, Any]:
    called, config = InMode(graph, mode), _config(thread)
    return {
        "run": lambda given=None, **more: called.invoke(given, {**config, **more}),
        "state": lambda **how: called.get_state(config, **how),
        "history": lambda: called.get_state_history(config),
        "update": lambda values, at=None, **how: called.update_state(at or config, values, **how),
    }


def alternate(ack: Ack, folder: str, run: str, url: str, way: str, turns: int, hears: str, tells: str) -> None:
    """Have turns on one thread, each when the other version has said that its own is over."""
    names, at = load(folder, run), [0]
    node = partial(_counted, names["turn"], at)
    made = StateGraph(names["State"]).add_node("turn", node).add_edge(START, "turn")
    inbox, outbox = os.open(hears, os.O_RDWR), os.open(tells, os.O_RDWR)
    said = b"x"
    try:
        with closing(CALL_MODES[way]()) as mode, charm(url, mode) as saver:
            graph = InMode(made.compile(checkpointer=saver), mode)
            for number in range(turns):
                assert select.select([inbox], [], [], 60)[0] and os.read(inbox, 1) == b".", "the other one is gone"
                at[0] = number
                graph.invoke({"turns": number} if not number and way == "blocking" else {}, _config("shared"))
                os.write(outbox, b".")
        said = b""
    finally:
        os.write(outbox, said)


def _counted(turn: Callable[[Any, int], Any], at: list[int], state: Any) -> Any:
    return turn(state, at[0])


JOBS: dict[str, Callable[..., None]] = {
    "write": write, "read": read, "back": back, "step": step, "alternate": alternate,
}  # fmt: skip
