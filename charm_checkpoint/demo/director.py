"""The main job, to be watched: one conversation on two devices, and a process that is killed.

An agent starts on the phone, is killed in the middle of a run, goes on on the laptop, whose
clock is an hour slow, stops for approval, is approved on the phone and finishes. Nothing may
be lost and nothing done twice, or `run_demo` says what was.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO
from urllib.parse import quote

from charm_checkpoint import open_memory
from charm_checkpoint.config.masking import mask
from charm_checkpoint.config.url import parse_url
from charm_checkpoint.demo.device import Device, Job
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.runtime.packed_program import need_interpreter
from charm_checkpoint.stores.files.place import folder_of

if TYPE_CHECKING:
    from charm_checkpoint.demo.check import Check, Outcome
    from charm_checkpoint.memory import Memory

TIME_LIMIT = 90.0
"""Seconds after which the demo gives up, pauses not counted."""

SLOW_CLOCK = -3600.0
"""How many seconds the laptop's clock is off."""

ROOM_TAKES = 600.0
"""Seconds that reserving a room takes on the phone: longer than the phone lives."""

SEAT_WAIT = 5.0
"""Seconds within which a finished tool call must be in the store."""

KILLED = "KILLED by SIGKILL" if os.name == "posix" else "KILLED by TerminateProcess"

COLOURS = {"phone": "36", "laptop": "35", "demo": "33", "ok": "32", "WRONG": "31;1"}
"""ANSI codes by who speaks."""


class Screen:
    """Prints what happens as it happens, with the time since the start and who it was."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.started = time.monotonic()
        self.colour = self.stream.isatty() and not os.environ.get("NO_COLOR")

    def line(self, text: str = "") -> None:
        """Print a line as it is."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def event(self, who: str, text: str) -> None:
        """Print a line with the time and who it is about."""
        self.line(f"{time.monotonic() - self.started:6.2f} s  {self._paint(who, f'{who:<7}')} {text}")

    def verdict(self, word: Literal["ok", "WRONG"], claim: str) -> None:
        """Print whether a claim holds."""
        self.line(f"{self._paint(word, f'{word:<5}')}  {claim}")

    def _paint(self, name: str, text: str) -> str:
        return f"\x1b[{COLOURS[name]}m{text}\x1b[0m" if self.colour else text


@dataclass
class Story:
    """One run of the demo: where it runs, and what the parts found out on the way.

    ``delay`` is the pause in seconds before each deed.
    """

    url: str
    memory: Memory
    folder: Path
    thread: str
    delay: float
    screen: Screen
    deadline: float
    phone: str = field(default="", init=False)
    laptop: str = field(default="", init=False)

    @property
    def ledger(self) -> Path:
        """The file that stands for the outside world."""
        return self.folder / "ledger.jsonl"

    def tell(self) -> Outcome:
        """Let it all happen, and return what it came to."""
        self.start_on_phone()
        self.go_on_on_laptop()
        self.approve_on_phone()
        return self.look()

    def start_on_phone(self) -> None:
        """Start the agent, and kill its process while it reserves the room."""
        self.screen.event("demo", "the phone starts the agent, in a process and a folder of its own")
        seen = set()
        with self.device("phone", "ask", room_takes=ROOM_TAKES) as device:
            for event in device.events():
                self.show(device, event)
                seen.add((event["event"], event.get("deed")))
                if not device.killed and seen >= {("started", "reserve_room"), ("did", "reserve_seat")}:
                    self.wait_for_seat()
                    device.kill()
                    self.screen.event("phone", f"{KILLED}: process {device.process.pid}, while it reserves the room")

    def go_on_on_laptop(self) -> None:
        """Resume on another device, whose clock is slow, until the agent asks for approval."""
        self.screen.event("demo", "the laptop goes on: another process, another folder, its clock an hour slow")
        self.laptop = self.run("laptop", "go on", clock=SLOW_CLOCK)

    def approve_on_phone(self) -> None:
        """Give the approval on the phone, and let the agent finish there."""
        self.screen.event("demo", "the phone again: the traveller approves")
        self.run("phone", "approve")

    def run(self, device: str, task: Literal["go on", "approve"], clock: float = 0.0) -> str:
        """Do a job to its end; return the id of the checkpoint it left."""
        checkpoint = ""
        with self.device(device, task, clock=clock) as running:
            for event in running.events():
                self.show(running, event)
                checkpoint = event.get("checkpoint", checkpoint)
        return checkpoint

    def device(self, name: str, task: Literal["ask", "go on", "approve"], **times: float) -> Device:
        """Start a device's process."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        job = Job(task, name, self.url, self.thread, str(self.ledger), pause=self.delay, **times)
        return Device(job, folder, self.deadline)

    def show(self, device: Device, event: dict[str, Any]) -> None:
        """Print what a device reported."""
        self.screen.event(device.job.device, describe(event))

    def wait_for_seat(self) -> None:
        """Wait until the store holds the finished reservation of the seat, as a pending write.

        LangGraph hands a finished task to the saver at once, but on a thread of its own.
        """
        saver = self.memory.get_langgraph_checkpointer()
        end = time.monotonic() + SEAT_WAIT
        while time.monotonic() < end:
            found = saver.get_tuple({"configurable": {"thread_id": self.thread}})
            if found:
                self.phone = found.checkpoint["id"]
            if found and any(_is_seat(value) for _, _, value in found.pending_writes or ()):
                self.screen.event("demo", "the seat is in the store; the room is not yet reserved")
                return
            time.sleep(0.02)
        self.screen.event("WRONG", f"the reserved seat is not in the store after {SEAT_WAIT:.0f} s")

    def look(self) -> Outcome:
        """Read everything back in this process."""
        from charm_checkpoint.demo.agent import World, build_graph
        from charm_checkpoint.demo.check import Outcome

        saver = self.memory.get_langgraph_checkpointer()
        nobody = Job("go on", "demo", self.url, self.thread, str(self.ledger))
        graph = build_graph(World(nobody), saver)
        config: Any = {"configurable": {"thread_id": self.thread}}
        state = graph.get_state(config)
        return Outcome(
            waiting=state.next,
            messages=[message.name or str(message.text) for message in state.values.get("messages", ())],
            deeds=[json.loads(line)["deed"] for line in self.ledger.read_text("utf-8").splitlines()],
            history=[str(message["content"]) for message in self.memory.load_messages(self.thread)],
            steps=[found.metadata["step"] for found in saver.list(config)],
            phone=self.phone,
            laptop=self.laptop,
        )


def describe(event: dict[str, Any]) -> str:
    """Say in a line what a device reported."""
    if event["event"] == "started":
        return f"{event['deed']}: {event['detail']} ..."
    if event["event"] == "did":
        who = "the model says" if event["deed"].startswith("think") else event["deed"]
        return f"{who}: {event['detail']}"
    where = f"checkpoint {event['checkpoint']}, its clock says {event['clock']}"
    if event["asks"]:
        return f"stopped for approval: {' '.join(event['asks'])} ({where})"
    return f"stopped before {', '.join(event['next'])} ({where})" if event["next"] else f"finished ({where})"


def run_demo(url: str | None = None, *, keep: bool = False, delay: float = 0.2, stream: TextIO | None = None) -> int:
    """Run the demo on the store at ``url``; without one, on a SQLite file of its own.

    Return 0 if everything held and 1 if anything was lost or done twice. ``delay`` is the
    pause before each deed, in seconds. What was stored is deleted afterwards unless ``keep``.
    Raises `ConfigError` for a store that processes cannot share, `MissingExtra` without
    LangGraph, and `DemoFailed` if a process of the demo broke.
    """
    _require_langgraph()
    screen = Screen(stream)
    with _folder(keep) as folder:
        store = _absolute(url) if url else _sqlite_url(folder / "agent.db")
        with _thread(store, keep=keep or not url) as thread:
            screen.line(f"store   {mask(store)}\nthread  {thread}\n")
            checks = _run(store, folder, thread, delay, screen)
        if keep:
            screen.line(f"kept in {folder}; see: charm-checkpoint show {thread} --url '{mask(store)}'")
    return _verdict(checks, screen)


def _run(url: str, folder: Path, thread: str, delay: float, screen: Screen) -> list[Check]:
    from charm_checkpoint.demo.check import check

    with open_memory(url) as memory:
        if not memory.store.backend.capabilities.processes:
            raise ConfigError(f"the demo needs a store that several processes can share; {mask(url)} is not one")
        deadline = time.monotonic() + TIME_LIMIT + 30 * delay
        outcome = Story(url, memory, folder, thread, delay, screen, deadline).tell()
        usage = memory.usage(thread)
    kinds = f"{usage.checkpoints} checkpoints, {usage.writes} pending writes, {usage.chunks} chunks"
    # Only now that it is closed has the file all that its write-ahead log held.
    screen.line(f"\nstored  {kinds}: {usage.payload_bytes:,} bytes{_file_size(url)}")
    return check(outcome)


def _verdict(checks: list[Check], screen: Screen) -> int:
    screen.line()
    for claim in checks:
        screen.verdict("WRONG" if claim.problems else "ok", claim.claim)
        for problem in claim.problems:
            screen.line(f"       {problem}")
    failed = any(claim.problems for claim in checks)
    screen.line("\nSomething was lost or done twice." if failed else "\nNothing was lost, and nothing was done twice.")
    return int(failed)


def _require_langgraph() -> None:
    need_interpreter("the demo")
    try:
        importlib.import_module("langgraph.graph")
    except ImportError as error:
        raise MissingExtra(f"the demo needs LangGraph: pip install 'charm-checkpoint[demo]' ({error})") from error


@contextlib.contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    """Make a folder for the demo's files, and remove it in the end unless it is kept."""
    folder = Path(tempfile.mkdtemp(prefix="charm-checkpoint-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder)


@contextlib.contextmanager
def _thread(url: str, *, keep: bool) -> Iterator[str]:
    """Choose a thread id that nobody has, and delete the thread in the end unless it is kept."""
    thread = f"demo-{secrets.token_hex(8)}"
    try:
        yield thread
    finally:
        if not keep:
            with open_memory(url) as memory:
                memory.delete_thread(thread)


def _sqlite_url(path: Path) -> str:
    return "sqlite:///" + quote(path.as_posix(), safe="/:")


def _absolute(url: str) -> str:
    """Return a URL that means the same from any folder."""
    location = parse_url(url)
    _, mark, options = url.partition("?")
    if location.scheme == "file":
        return "file://" + quote(_rooted(folder_of(location)), safe="/:") + mark + options
    if location.scheme != "sqlite" or location.path == ":memory:":
        return url
    return _sqlite_url(Path(location.path).absolute()) + mark + options


def _rooted(folder: Path) -> str:
    """Return an absolute path with a slash in front, as URLs have it on Windows too."""
    return "/" + folder.as_posix().removeprefix("/")


def _file_size(url: str) -> str:
    """Say how large a SQLite store's file is, and nothing for other stores."""
    location = parse_url(url)
    if location.scheme != "sqlite":
        return ""
    return f"; the whole file: {Path(location.path).stat().st_size:,}"


def _is_seat(value: Any) -> bool:
    return isinstance(value, list) and any(getattr(message, "name", None) == "reserve_seat" for message in value)
