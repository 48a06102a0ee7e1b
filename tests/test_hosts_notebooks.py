"""Agents in a notebook's kernel, and in Streamlit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import or_skip
from hosting import environment
from stores import tenant_url
from workers import CHILDREN

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def urls(tmp_path: Path) -> dict[str, str]:
    """Return a store that is embedded, and one with a server."""
    return {"sqlite": f"sqlite:///{tmp_path}/a.db", "postgres": or_skip(tenant_url)}


# ------------------------------------------------------------------------------------ Jupyter


class Kernel:
    """A notebook's kernel; a cell is run to its end."""

    def __init__(self, manager: Any, client: Any) -> None:
        self._manager = manager
        self._client = client

    def run(self, code: str, *, interrupt_at: str = "") -> tuple[str, str]:
        """Return what a cell printed, and its error's name; interrupt it once it has printed that."""
        printed: list[str] = []

        def hear(message: Any) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
                if interrupt_at and interrupt_at in message["content"]["text"]:
                    self._manager.interrupt_kernel()

        reply = self._client.execute_interactive(code, output_hook=hear, timeout=60)["content"]
        return "".join(printed), reply.get("ename", "")


@pytest.fixture
def kernel(urls: dict[str, str]) -> Iterator[Kernel]:
    manager_module = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    with environment(urls) as env:
        manager, client = manager_module.start_new_kernel(kernel_name="python3", env=env)
        try:
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


TOP = """
from dataclasses import dataclass
import operator
from typing import Annotated, Any, TypedDict
from langgraph.graph import START, StateGraph
from host_app import config, open_all
memories = open_all()
"""

CELL = """
@dataclass
class Note:
    text: str

class Log(TypedDict):
    log: Annotated[list[Any], operator.add]

def answer(state: Log) -> Any:
    return {"log": [Note(str(len(state["log"])))]}

graphs = {
    name: StateGraph(Log).add_node(answer).add_edge(START, "answer").compile(
        checkpointer=memory.get_langgraph_checkpointer()
    )
    for name, memory in memories.items()
}
"""

TURN = """
for name, graph in graphs.items():
    graph.invoke({"log": ["blocking"]}, config("t"))
    log = (await graph.ainvoke({"log": ["async"]}, config("t")))["log"]
    assert all(type(note) is Note for note in log[1::2]), log
    print(len(log))
"""

BUSY = """
import itertools
for count in itertools.count():
    for graph in graphs.values():
        {call}
    print("busy" if count else "", flush=True)
"""


def test_cells_run_again_and_an_interrupted_one_leaves_all_usable(kernel: Kernel) -> None:
    assert kernel.run(TOP) == ("", "")
    for turn in range(1, 4):  # the class of the state's values is another one each time
        assert kernel.run(CELL) == ("", "")
        assert kernel.run(TURN) == (f"{4 * turn}\n" * 2, "")
    calls = ('graph.invoke({"log": ["again"]}, config("u"))', 'await graph.ainvoke({"log": ["again"]}, config("u"))')
    for call in calls * 2:
        _, error = kernel.run(BUSY.format(call=call), interrupt_at="busy")
        assert error in ("KeyboardInterrupt", "CancelledError")
        assert kernel.run(TURN)[1] == ""
    assert kernel.run("for memory in memories.values(): memory.close()") == ("", "")


# ---------------------------------------------------------------------------------- Streamlit


def test_streamlit_runs_its_script_again(urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("streamlit.testing.v1")
    monkeypatch.setenv("HOST_URLS", json.dumps(urls))
    monkeypatch.syspath_prepend(str(CHILDREN))
    monkeypatch.chdir(tmp_path)
    app = testing.AppTest.from_file(str(CHILDREN / "host_streamlit.py"), default_timeout=60).run()
    for turn in range(1, 4):
        app.text_input[0].set_value(f"message {turn}").run()
        assert not app.exception
        shown = [json.loads(text.value) for text in app.markdown]
        assert [len(turns) for turns in shown] == [2 * turn, 2 * turn]
        assert shown[0][-1] == shown[1][-1] == f"heard message {turn}"
    assert os.environ["HOST_URLS"]
