"""The pictures of docs/page.md: a trip that waits for an answer, on the page of ``charm-checkpoint ui``.

``python docs/pictures.py`` has an agent plan the trip, opens the page in a headless Chromium, and writes the pictures
anew. It needs what the tests need.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tests"))

from chromium import Tab, chromium  # noqa: E402
from langchain_core.messages import AIMessage, ToolMessage  # noqa: E402
from langgraph.graph import START, MessagesState, StateGraph  # noqa: E402
from langgraph.types import Command, interrupt  # noqa: E402

from charm_checkpoint import Memory, open_memory  # noqa: E402
from charm_checkpoint.ui.access import Access  # noqa: E402
from charm_checkpoint.ui.application import application  # noqa: E402
from charm_checkpoint.ui.page import Page  # noqa: E402
from charm_checkpoint.ui.serving import listen, server  # noqa: E402

SIZE = 1180, 700
ASKED = (
    "What is the weather in Basel?",
    "Summarise the meeting of Monday",
    "Translate the menu",
    "Find a hotel near the lake",
)
TRAINS = {"from": "Brussels", "to": "Ghent", "after": "10:00"}


class State(MessagesState):
    """A trip, and what is said about it."""

    trip: dict[str, Any]


def plan(state: State) -> Any:
    """Look for a train."""
    return {"messages": [AIMessage("I look for a train.", tool_calls=[{"name": "trains", "args": TRAINS, "id": "c1"}])]}


def trains(state: State) -> Any:
    """Find one."""
    found = ToolMessage("10:04, platform 5, 31 minutes", tool_call_id="c1", name="trains")
    return {"messages": [found, AIMessage("There is a train at 10:04.")], "trip": {"to": "Ghent", "at": "10:04"}}


def book(state: State) -> Any:
    """Book it, once somebody says so."""
    return {"messages": [AIMessage(f"Booked: {interrupt({'question': 'Book the 10:04?', 'price': 12.5})}.")]}


def config(thread: str) -> Any:
    """Name a thread as LangGraph has it."""
    return {"configurable": {"thread_id": thread}}


def fill(memory: Memory) -> None:
    """Store some chats, and a trip with a branch that waits."""
    saver = memory.get_langgraph_checkpointer()
    chat = StateGraph(MessagesState).add_node("answer", lambda state: {"messages": [AIMessage("Here it is.")]})
    talk = chat.add_edge(START, "answer").compile(checkpointer=saver)
    for number, question in enumerate(ASKED):
        talk.invoke({"messages": [("user", question)]}, config(f"chat-{number}"))
    memory.pin("chat-1")
    builder = StateGraph(State).add_node(plan).add_node(trains).add_node(book)
    graph = builder.add_edge(START, "plan").add_edge("plan", "trains").add_edge("trains", "book").compile(saver)
    graph.invoke({"messages": [("user", "I want to go to Ghent tomorrow morning.")]}, config("trip"))
    graph.invoke(Command(resume="no, too early"), config("trip"))
    before = next(state for state in graph.get_state_history(config("trip")) if state.next == ("trains",))
    graph.invoke(None, before.config)


def take(tab: Tab, link: str) -> None:
    """Look at the trip, by day and by night."""
    tab.resize(*SIZE)
    tab.prefer("light")
    tab.go(link)
    tab.click(".list a.thread", "Ghent")
    tab.has("book waits", ".notices")
    tab.has("There is a train", ".turns")
    tab.screenshot(FOLDER / "page.png")
    tab.prefer("dark")
    tab.press("3")
    tab.has("added", ".diff")
    tab.screenshot(FOLDER / "page-changes.png")


def main() -> None:
    """Write the pictures."""
    with TemporaryDirectory() as folder, listen(0) as listening:
        os.chdir(folder)  # so that the page shows a name as anybody's
        with open_memory("sqlite:///agent.db") as memory:
            fill(memory)
        access = Access(listening.getsockname()[1])
        page = Page(open_memory("sqlite:///agent.db"), writes=True)
        running = server(application(page, access))
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            with chromium(Path(folder) / "chromium") as browser:
                take(browser.tab(), access.link)
        finally:
            running.should_exit = True
            thread.join()
            os.chdir(FOLDER)


if __name__ == "__main__":
    main()
