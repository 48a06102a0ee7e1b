"""The page in a browser while a thread goes on: what one typed, opened and reads stays; and with keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser, Tab
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.serde.types import RESUME
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from page_served import a_browser, a_tab, open_page, served
from test_page import config, waiting

from charm_checkpoint import Memory
from charm_checkpoint.inspection.outlines import NO_TASK


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with a_browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    with a_tab(browser) as opened:
        yield opened


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/charm.db"


def has_focus(tab: Tab, selector: str) -> bool:
    return bool(tab.js(f"document.activeElement.matches({selector!r})"))


def store_an_answer(memory: Memory, answer: str) -> None:
    """Answer as another program does, so that what the page tells of the question changes."""
    saver = memory.get_langgraph_checkpointer()
    head = saver.get_tuple(config("t"))
    assert head is not None
    saver.put_writes(head.config, [("messages", [AIMessage("beside it")])], "another task")
    saver.put_writes(head.config, [(RESUME, answer)], NO_TASK)


def test_what_is_typed_and_opened_stays_when_a_thread_goes_on(url: str, tab: Tab) -> None:
    with served(url, write=True) as (memory, access):
        waiting(memory, "t")
        open_page(tab, access)
        tab.resize(1300, 480)
        tab.click(".list a.thread")
        tab.type("textarea.answer", "no, not be")
        tab.wait("panel.scrollTop > 0 && panel.scrollHeight - panel.scrollTop - panel.clientHeight < 2")
        tab.resize(1300, 850)
        tab.click("#tab-state")
        tab.click(".state button.branch", "messages")
        tab.click(".state summary", "Metadata")
        tab.has("hello", ".children")
        assert has_focus(tab, "textarea.answer")
        store_an_answer(memory, "yes")
        tab.has("An answer is stored", ".notices")
        tab.has("Written by tasks at this checkpoint 1", ".state")
        tab.call("Input.insertText", text="fore ten")
        assert tab.js("document.querySelector('textarea.answer').value") == "no, not before ten"
        tab.has("hello", ".children")
        tab.has("source", ".state details[open]")
        tab.click(".timeline a.moment", "start")
        tab.has("step 0", ".point")
        tab.press("h")
        tab.wait("document.querySelector('textarea.answer')?.value === 'no, not before ten'")
        assert tab.complaints == []


def test_what_is_read_stays_when_a_conversation_goes_on(url: str, tab: Tab) -> None:
    with served(url) as (memory, access):
        builder = StateGraph(MessagesState).add_node("n", lambda state: {}).add_edge(START, "n")
        graph: Any = builder.compile(checkpointer=memory.get_langgraph_checkpointer())
        said = [HumanMessage(f"question {number}", id=f"m{number}") for number in range(120)]
        graph.update_state(config("t"), {"messages": said}, as_node="n")
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.has("question 119", ".turns")
        tab.click(".earlier button")
        tab.has("question 20", ".turns")
        tab.js("{ window.read = document.querySelectorAll('.turn')[3]; panel.scrollTop = 200; }")
        graph.update_state(config("t"), {"messages": [AIMessage("here it is")]}, as_node="n")
        tab.has("here it is", ".turns")
        assert tab.js("read.isConnected && document.querySelectorAll('.turn').length") == 101
        assert tab.js("panel.scrollTop") == 200
        gone = [RemoveMessage(id=f"m{number}") for number in range(119)]
        graph.update_state(config("t"), {"messages": gone}, as_node="n")
        tab.wait("document.querySelectorAll('.turn').length === 2")
        assert tab.complaints == []


def test_keys_alone_lead_everywhere_and_lose_no_place(url: str, tab: Tab) -> None:
    with served(url, write=True) as (memory, access):
        waiting(memory, "t")
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.has("hello", ".turns")
        assert tab.js("document.title") == "hi · charm-checkpoint"
        tab.js("document.querySelector('.list .skip').focus()")
        tab.press("Enter")
        assert has_focus(tab, ".thread-head h1")
        tab.js("document.querySelector('.time-column .skip').focus()")
        tab.press("Enter")
        assert has_focus(tab, "#panel")
        tab.press("ArrowDown")  # it scrolls
        assert has_focus(tab, "#panel")
        tab.js("document.querySelector('[role=tab][aria-selected=true]').focus()")
        for key, name in (("ArrowRight", "state"), ("End", "size"), ("ArrowRight", "conversation"), ("End", "size")):
            tab.press(key)
            tab.wait(f"document.querySelector('#tab-{name}').getAttribute('aria-selected') === 'true'")
            assert has_focus(tab, f"#tab-{name}[tabindex='0']")
        assert tab.js("document.querySelectorAll('[role=tab][tabindex=\"0\"]').length") == 1
        tab.js("document.querySelector('[data-place=pin]').focus()")
        tab.press("Enter")
        tab.click("dialog .is-primary", "Pin")
        tab.has("Unpin", ".thread-head")
        tab.wait("!document.querySelector('dialog')")
        assert has_focus(tab, "[data-place=pin]")
        assert tab.complaints == []


def test_what_is_chosen_is_seen_in_colours_of_the_system(url: str, tab: Tab) -> None:
    with served(url) as (memory, access):
        waiting(memory, "a")
        waiting(memory, "t")
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.has("hello", ".turns")
        for chosen, other in (
            (".thread[aria-current='true']", ".thread:not([aria-current])"),
            (".moment[aria-current='true']", ".moment:not([aria-current])"),
            (".tab[aria-selected='true']", ".tab[aria-selected='false']"),
            (".nav a[aria-current]", ".nav a:not([aria-current])"),
        ):
            colours = "(s => getComputedStyle(document.querySelector(s)).backgroundColor)"
            assert tab.js(f"{colours}({chosen!r})") != tab.js(f"{colours}({other!r})"), chosen


def test_a_narrow_window_leaves_room_for_values(url: str, tab: Tab) -> None:
    with served(url) as (memory, access):
        waiting(memory, "t")
        tab.resize(400, 800)
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.has("hello", ".turns")
        tab.press("2")
        tab.wait("!!document.querySelector('.state .node .act')")
        assert tab.js("document.querySelector('.state .branch').getBoundingClientRect().width") > 320
        assert tab.js("document.documentElement.scrollWidth") <= 400


def test_what_is_not_like_that_any_more_leaves_the_list(url: str, tab: Tab) -> None:
    with served(f"{url}?synchronous=normal") as (memory, access):
        for number in range(35):
            graph = waiting(memory, f"t{number}")
        open_page(tab, access)
        tab.has("35 threads", ".list")
        choose = "e => { e.value = 'waits'; e.dispatchEvent(new Event('change')); }"
        tab.js(f"({choose})(document.querySelector('[aria-label=State]'))")
        tab.wait("[...document.querySelectorAll('.list .pill')].length === 35")
        graph.invoke(Command(resume="yes"), config("t34"))
        tab.has("34 threads", ".list")
        memory.delete_thread("t0")
        tab.has("33 threads", ".list")
        assert tab.complaints == []


HELD = """{ const ask = fetch; window.fetch = async (address, options) => {
  const reply = await ask(address, options);
  if (!address.includes("WHAT")) return reply;
  window.isHeld = true;
  while (!window.goesOn) await new Promise((on) => setTimeout(on, 5));
  return reply;
}; }"""


def test_what_changes_while_it_is_read_is_shown(url: str, tab: Tab) -> None:
    with served(url) as (memory, access):
        graph = waiting(memory, "t")
        open_page(tab, access)
        tab.has("1 thread", ".list")
        tab.js(HELD.replace("WHAT", "/api/history"))
        tab.click(".list a.thread")
        tab.wait("window.isHeld")
        graph.invoke({"messages": [HumanMessage("are you still there?", id="m3")]}, config("t"))
        tab.js("window.goesOn = true")
        tab.has("are you still there?", ".turns")
        tab.js("window.goesOn = window.isHeld = false")
        tab.js(HELD.replace("WHAT", "order=id"))
        choose = "e => { e.value = 'id'; e.dispatchEvent(new Event('change')); }"
        tab.js(f"({choose})(document.querySelector('[aria-label=Order]'))")
        tab.wait("window.isHeld")
        waiting(memory, "another")
        tab.js("window.goesOn = true")
        tab.has("2 threads", ".list")
        assert tab.complaints == []
