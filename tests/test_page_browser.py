"""The page in a browser: looked at, followed, attacked, with changes, in a narrow window."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from chromium import Browser, Tab
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from page_served import a_browser, a_tab, open_page, served
from stores import have, tenant_url
from test_page import HOSTILE, build, config, waiting

ROWS = ("sqlite", "postgres")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return the browser of this module."""
    with a_browser(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """Return a tab of its own."""
    with a_tab(browser) as opened:
        yield opened


@pytest.fixture(params=ROWS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return have(tenant_url) if request.param == "postgres" else f"sqlite:///{tmp_path}/charm.db"


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/charm.db"


def test_a_thread_is_looked_at(url: str, tab: Tab) -> None:
    with served(url) as (memory, access):
        waiting(memory, "t")
        open_page(tab, access)
        assert "ticket" not in tab.js("location.href")
        tab.has("read-only", "#header")
        tab.has("hi", ".list")
        tab.press("j")
        tab.press("Enter")
        tab.has("ask waits for an answer", ".notices")
        tab.has("really?", ".notices")
        tab.has("hello", ".turn.is-ai")
        tab.press("2")
        tab.click(".state button.branch", "messages")
        tab.click(".children button.branch", "hello")
        tab.has("m2", ".children")
        tab.press("3")
        tab.has("1 added", ".diff")
        tab.press("]")
        tab.has("human hi", ".diff")
        tab.press("h")
        tab.press("?")
        tab.has("an earlier checkpoint", "dialog")
        tab.press("Escape")
        tab.wait("!document.querySelector('dialog')")
        assert tab.js("document.querySelectorAll('textarea, .is-danger').length") == 0  # nothing to change
        assert tab.complaints == []


def test_what_others_wrote_stays_text(url: str, tab: Tab) -> None:
    with served(url, write=True) as (memory, access):
        graph = waiting(memory, HOSTILE)
        name = HOSTILE.replace("\x00", "").replace("\ud800", "")
        said = [
            AIMessage(HOSTILE, tool_calls=[{"name": name, "args": {name: HOSTILE}, "id": name}]),
            ToolMessage(HOSTILE, tool_call_id=name, name=name),
        ]
        graph.update_state(config(HOSTILE), {"messages": said}, as_node="speak")
        memory.get_langgraph_store().put((name.replace(".", ""),), HOSTILE, {HOSTILE: HOSTILE})
        open_page(tab, access)
        tab.click(".list a.thread")
        for key, shown in (("1", ".turn.is-tool"), ("2", ".state"), ("3", ".diff"), ("4", ".sizes")):
            tab.press(key)
            tab.wait(f"!!document.querySelector({shown!r})")
        tab.has("</script><img src=x onerror=alert(1)>\\u0000\\u202e\\ud800", ".thread-head")
        tab.press("2")
        tab.click(".state button.branch", "messages")
        tab.click(".children button.branch", "[3]" if "[3]" in tab.text(".children") else "3")
        tab.press("m")
        tab.has("onerror=alert(1)", ".cards")
        tab.click(".cards button.branch")
        tab.has("onerror=alert(1)", ".children")
        assert tab.js("document.querySelectorAll('img:not(.brand img), main script, iframe').length") == 0
        assert tab.js("window.hit") == 0
        assert tab.complaints == []
        assert (
            tab.js("try { document.body.innerHTML = '<b>x</b>'; 'parsed' } catch (error) { error.name }") == "TypeError"
        )


def test_a_running_thread_is_followed(url: str, tab: Tab) -> None:
    with served(url) as (memory, access):
        graph = waiting(memory, "t")
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.has("hello", ".turns")
        graph.invoke({"messages": [HumanMessage("are you still there?", id="m3")]}, config("t"))
        tab.has("are you still there?", ".turns")
        tab.wait("document.querySelectorAll('.timeline a.moment').length === 6")
        waiting(memory, "another")
        tab.wait("document.querySelectorAll('.list a.thread').length === 2")
        assert tab.complaints == []


def test_changes_are_asked_for_and_made(url: str, tab: Tab) -> None:
    with served(url, write=True) as (memory, access):
        graph = waiting(memory, "t")
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.has("hello", ".turns")
        tab.type("textarea.answer", '{"yes": true}')
        tab.click(".answering button", "Answer")
        tab.click("dialog button", "Cancel")
        assert memory.state("t").answers == ()
        tab.click(".answering button", "Answer")
        tab.click("dialog .is-primary", "Answer")
        tab.has("An answer is stored", ".notices")
        assert graph.invoke(None, config("t"))["answer"] == {"yes": True}
        tab.wait("document.querySelectorAll('.timeline a.moment').length === 4")
        tab.click(".timeline a.moment", "start")
        tab.has("next: speak", ".point")
        tab.click(".point button", "Fork")
        tab.type("dialog input", "a new thread")
        tab.click("dialog .is-primary", "Fork")
        tab.has("a new thread", ".thread-head")
        assert [info.next for info in memory.history("a new thread")] == [("speak",), ("__start__",)]
        tab.click(".thread-head button", "Delete")
        tab.click("dialog .is-danger", "Delete")
        tab.has("Choose a thread", "main")
        assert [info.thread_id for info in memory.threads()] == ["t"]
        # A look at the thread that was under way when it was deleted may find it gone.
        assert [complaint for complaint in tab.complaints if "404" not in complaint] == []


def test_an_answer_has_the_graph_go_on(file_url: str, tab: Tab) -> None:
    with served(file_url, write=True, graph=build().compile()) as (memory, access):
        waiting(memory, "t")
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.type("textarea.answer", "go on")
        tab.click(".answering button", "Answer")
        tab.click("dialog .is-primary", "Answer")
        tab.has("ask", ".timeline a[aria-current]")
        tab.wait("!document.querySelector('.notice.is-waits')")
        assert memory.state("t").values["answer"] == "go on"


def test_a_narrow_window_a_dark_one_and_an_empty_store(file_url: str, tab: Tab) -> None:
    with served(file_url) as (memory, access):
        memory.setup()
        tab.resize(360, 780)
        open_page(tab, access)
        tab.has("holds no threads yet", ".list")
        waiting(memory, HOSTILE + "x" * 300)
        memory.get_langgraph_store().put(("x" * 200,), "y" * 300, {"z" * 300: "w" * 3000})
        tab.press("r")
        tab.click(".list a.thread")
        shown = {"1": ".turns", "2": ".state", "3": ".diff", "4": ".sizes", "m": ".cards", "s": ".page .sizes"}
        for key, view in shown.items():
            tab.press(key)
            tab.wait(f"!!document.querySelector({view!r})")
            tab.wait("!document.querySelector('.busy, [aria-busy]')")
            assert tab.js("document.documentElement.scrollWidth") <= 360, key
        tab.prefer("light")
        light = tab.js("getComputedStyle(document.body).backgroundColor")
        tab.prefer("dark")
        dark = tab.js("getComputedStyle(document.body).backgroundColor")
        assert light != dark
        tab.press("l")
        assert tab.js("getComputedStyle(document.body).backgroundColor") == light
        tab.press("l")
        tab.prefer("light")
        assert tab.js("getComputedStyle(document.body).backgroundColor") == dark
        tab.press("t")
        tab.wait("!!document.querySelector('.list a.thread')?.getClientRects().length")
        tab.press("j")
        assert tab.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert tab.complaints == []


def test_a_thread_that_is_deleted_meanwhile_is_told_of(url: str, tab: Tab) -> None:
    with served(url, write=True) as (memory, access):
        waiting(memory, "t")
        open_page(tab, access)
        tab.click(".list a.thread")
        tab.has("really?", ".notices")
        memory.delete_thread("t")
        tab.has("This thread is not there", ".notices")
        tab.wait("!document.querySelector('.timeline a, .thread-head .button, .turn, .list a.thread')")
        waiting(memory, "t")
        tab.click(".notices button", "Try again")
        tab.has("really?", ".notices")
        tab.has("Delete", ".thread-head")


def test_what_a_listing_has_not_come_to_is_shown_as_all_else_is(file_url: str, tab: Tab) -> None:
    with served(f"{file_url}?synchronous=normal", write=True) as (memory, access):
        graph = StateGraph(MessagesState).add_node("n", lambda state: {"messages": [("ai", "ok")]})
        compiled = graph.add_edge(START, "n").compile(checkpointer=memory.get_langgraph_checkpointer())
        for step in range(68):
            compiled.invoke({"messages": [("user", f"question {step}")]}, config("t"))
        for number in range(51):
            memory.save_messages(f"m{number}", [{"role": "user", "content": "hi"}])
        first, *_, old = [info for info in memory.history("t") if info.nodes == ("n",)][:-1]
        open_page(tab, access)
        tab.js(f"location.hash = '#/thread/t?tab=changes&at={old.checkpoint_id}'")
        tab.has("question 0", ".thread-head")
        tab.has("idle", ".thread-head")
        tab.has(f"step {old.step}", ".point")
        tab.has("Fork", ".point")
        tab.has("1 added", ".diff")
        tab.click(".thread-head button", "Pin")
        tab.click("dialog .is-primary", "Pin")
        tab.has("Unpin", ".thread-head")
        assert memory.pins() == ["t"]
        tab.click(".time-column button", "Earlier")
        tab.wait(f"!!document.querySelector('.timeline a[aria-current][href*=\"{old.checkpoint_id}\"]')")
        tab.js(f"document.querySelector('.timeline a[href*=\"{first.checkpoint_id}\"]').click()")
        tab.has(f"step {first.step}", ".point")
        assert tab.js("document.querySelectorAll('.timeline a[aria-current]').length") == 1
        assert tab.complaints == []


def test_an_address_that_names_nothing_is_told(file_url: str, tab: Tab) -> None:
    with served(file_url) as (memory, access):
        waiting(memory, "t")
        open_page(tab, access)
        for address, told in {
            "#/memories/nonsense": "no such namespace", "#/memories/%5B1%5D": "no such namespace",
            "#/thread/gone": "not there", "#/thread/t?at=gone": "checkpoint is not there", "#/else": "nothing at this",
        }.items():  # fmt: skip
            tab.js(f"location.hash = {address!r}")
            tab.has(told, "main")
        assert [each for each in tab.complaints if "404" not in each] == []


def test_the_end_of_the_command_is_told(file_url: str, tab: Tab) -> None:
    with served(file_url) as (memory, access):
        waiting(memory, "t")
        open_page(tab, access)
        tab.has("hi", ".list")
    tab.click(".list a.thread")
    tab.has("does not answer", "#banner")


# ---------------------------------------------------------------------------------- another program of this machine


class Listener(BaseHTTPRequestHandler):
    """Another site, on another port of this machine: it keeps the headers that browsers send it."""

    heard: list[Any] = []

    def do_GET(self) -> None:
        self.heard.append(self.headers)
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title><body></body>")

    def log_message(self, format: str, *values: Any) -> None:
        pass


ATTACKS = """(async () => {
  const page = %r, told = {};
  for (const mode of ["cors", "no-cors", "same-origin"])
    told[mode] = await fetch(page + "/api/threads", {mode, credentials: "include"}).then(
      async (reply) => reply.type === "opaque" ? "opaque" : (await reply.text()), (error) => error.name);
  told.change = await fetch(page + "/api/delete", {mode: "no-cors", method: "POST", credentials: "include",
    body: JSON.stringify({thread: "t"})}).then((reply) => reply.type, (error) => error.name);
  told.header = await fetch(page + "/api/threads", {credentials: "include", headers: {"x-charm-checkpoint-key": "x"}})
    .then((reply) => reply.text(), (error) => error.name);
  told.script = await new Promise((done) => {
    const script = document.createElement("script");
    Object.assign(script, {src: page + "/static/enter.js", onload: () => done("ran"), onerror: () => done("refused")});
    document.head.append(script);
  });
  told.frame = await new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.src = page + "/";
    frame.onload = () => { try { done(frame.contentDocument ? "read" : "closed") } catch { done("closed") } };
    document.body.append(frame);
  });
  return told;
})()"""


def test_another_port_of_this_machine_gets_the_cookie_and_nothing_else(file_url: str, tab: Tab) -> None:
    with served(file_url, write=True) as (memory, access), HTTPServer(("127.0.0.1", 0), Listener) as other:
        threading.Thread(target=other.serve_forever).start()
        try:
            waiting(memory, "t")
            open_page(tab, access)
            tab.has("hi", ".list")
            tab.go(f"http://127.0.0.1:{other.server_port}/")
            tab.wait("document.title === 'another site'")
            told = tab.js(ATTACKS % f"http://127.0.0.1:{access.port}")
        finally:
            other.shutdown()
        assert told == {
            "cors": "TypeError", "no-cors": "TypeError", "same-origin": "TypeError", "change": "TypeError",
            "header": "TypeError", "script": "refused", "frame": "closed",
        }  # fmt: skip
        cookie = Listener.heard[0]["cookie"]
        assert access.cookie in cookie
        for path in ("/", "/api/threads", "/api/session", access.link.partition(f":{access.port}")[2]):
            reply = httpx.get(f"http://127.0.0.1:{access.port}{path}", headers={"cookie": cookie})
            assert access.key not in reply.text
            assert '"t"' not in reply.text
        assert [info.thread_id for info in memory.threads()] == ["t"]
