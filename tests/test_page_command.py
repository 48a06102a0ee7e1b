"""``charm-checkpoint ui`` as a program: what it says, and how it begins and ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_page import waiting

from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.ui import serving
from charm_checkpoint.ui.access import KEY_HEADER, Access
from charm_checkpoint.ui.guard import Guard
from charm_checkpoint.ui.serving import has_windows, lines, listen, server


@pytest.fixture
def url(tmp_path: Path) -> str:
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        waiting(memory, "t")
    return f"sqlite:///{tmp_path}/charm.db"


def test_the_command_serves_until_ctrl_c(url: str) -> None:
    command = [sys.executable, "-m", "charm_checkpoint", "ui", "--no-open", "--url", url]
    env = {**os.environ, "SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as program:
        assert program.stdout is not None
        assert "read-only" in program.stdout.readline()
        link = program.stdout.readline().split()[-1]
        port = httpx.URL(link).port
        assert f"ssh -L {port}:127.0.0.1:{port} 10.0.0.2" in program.stdout.readline()
        with httpx.Client(base_url=link.partition("/?")[0]) as http:
            key = re.findall(r'name="key" content="([^"]+)"', http.get(link).text)[0]
            found = http.get("/api/threads", headers={KEY_HEADER: key}).json()
            assert [each["thread_id"] for each in found["threads"]] == ["t"]
            assert http.post("/api/delete", json={"thread": "t"}, headers={KEY_HEADER: key}).status_code == 403
        assert httpx.get(link).status_code == 401
        # A request that never ends keeps nobody from ending it.
        with socket.create_connection(("127.0.0.1", port or 0)) as half:
            half.sendall(b"GET / HTTP/1.1\r\nHost: ")
            program.send_signal(signal.SIGINT)
            _, said = program.communicate(timeout=60)
        assert (program.returncode, said) == (0, "charm-checkpoint: ended\n")


def test_a_request_that_waits_for_a_store_at_the_end_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            begun.set()
            await asyncio.Event().wait()
        while scope["type"] == "lifespan":
            message = (await receive())["type"]
            await send({"type": f"{message}.complete"})

    with listen(0) as listening:
        access = Access(listening.getsockname()[1])
        running = server(Guard(waits, access))
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        with ThreadPoolExecutor(1) as pool:
            headers = {"cookie": access.set_cookie().partition(";")[0]}
            reply = pool.submit(httpx.get, f"http://{access.hosts[0]}/", headers=headers, timeout=60)
            assert begun.wait(60)
            running.should_exit = True
            thread.join()
            assert (reply.result().status_code, reply.result().text) == (503, "The command has ended.")
    assert caplog.text == ""


def test_a_port_that_is_taken_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["ui", "--no-open", "--port", port, "--url", url]) == 2
    assert f"the port {port} cannot be had" in capsys.readouterr().err


def test_a_graph_is_for_who_may_write(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--no-open", "--graph", "app:graph", "--url", url]) == 2
    assert "it needs --write" in capsys.readouterr().err
    assert main(["ui", "--no-open", "--write", "--graph", "json:loads", "--url", url]) == 2
    assert "--graph json:loads" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["starlette", "uvicorn"])
def test_what_is_not_installed_is_named(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [each for each in sys.modules if each.startswith("charm_checkpoint.ui")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    for module in [each for each in sys.modules if each.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["ui", "--no-open", "--url", url]) == 2
    assert "pip install 'charm-checkpoint[ui]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "runs", "told"),
    [(False, False, "read-only"), (True, False, "stored for the program"), (True, True, "has the graph go on")],
)
def test_what_may_be_done_is_said(write: bool, runs: bool, told: str) -> None:
    access = Access(8765)
    said = list(lines(access, write, runs, "sqlite:///x.db", {}))
    assert told in " ".join(said)
    assert f"open once: http://127.0.0.1:8765/?ticket={access.ticket}" in said
    assert "ssh" not in " ".join(said)
    assert access.cookie not in f"{said}{access!r}"
    assert access.ticket not in repr(access)


def test_a_browser_opens_where_there_are_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.sys, "platform", "linux")
    assert not has_windows({})
    assert has_windows({"DISPLAY": ":0"})
    assert has_windows({"WAYLAND_DISPLAY": "wayland-0"})
    monkeypatch.setattr(serving.sys, "platform", "darwin")
    assert has_windows({})
    assert not has_windows({"SSH_CONNECTION": "a b c d"})


def test_the_browser_is_given_the_link(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Ended:
        def run(self, sockets: Any) -> None:
            while not opened:
                pass

    monkeypatch.setattr(serving, "server", lambda app: Ended())
    monkeypatch.setattr(serving, "has_windows", lambda environ: True)
    monkeypatch.setattr(serving.webbrowser, "open", opened.append)
    said: list[str] = []
    with open_memory(url) as memory:
        serving.serve(memory, say=said.append)
    assert f"open once: {opened[0]}" in said
