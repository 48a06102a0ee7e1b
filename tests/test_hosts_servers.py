"""Agents in servers that fork: gunicorn and uWSGI; and in uvicorn."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from conftest import or_skip
from hosting import Host, crowd, host
from stores import tenant_url, valkey_url

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="forks and Unix sockets"),
    pytest.mark.timeout(200),
]


@pytest.fixture
def urls(tmp_path: Path) -> dict[str, str]:
    """Return a store that is embedded, and one with a server."""
    return {"sqlite": f"sqlite:///{tmp_path}/a.db", "postgres": or_skip(tenant_url)}


def check(server: Host, names: list[str] | dict[str, str], processes: int) -> None:
    """Let a crowd use each store, blocking and async, and the server end well."""
    for name in names:
        found: set[int] = set()
        for crowds in range(100):  # one process of several may be up long before the others
            found |= crowd(server, name, f"crowd{crowds}", tail="/async")
            if len(found) > 1:
                break
        assert 1 < len(found) <= processes
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("preload", [True, False], ids=["preload", "plain"])
def test_gunicorn(urls: dict[str, str], preload: bool) -> None:
    pytest.importorskip("gunicorn")
    command = ["gunicorn", "--workers=2", "--bind=unix:SOCKET", "--worker-tmp-dir=/tmp"]
    more = ["--preload"] if preload else []
    with host(sys.executable, "-m", *command, *more, "host_app:wsgi", urls=urls, HOST_USES_IT="1") as server:
        check(server, urls, processes=2)


# -------------------------------------------------------------------------------------- uWSGI

UWSGI = (
    *(sys.executable, "-c", "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])"),
    *("--http-socket=SOCKET", "--master", "--processes=3", "--die-on-term", "--need-app", "--enable-threads"),
    # A worker may miss the signal to end while it waits for a request: it is not waited for as long as by default.
    *("--module=host_app:wsgi", "--worker-reload-mercy=4"),
)
"""It forks in C, and by default tells Python nothing of it."""


def uwsgi(*more: str, urls: dict[str, str]) -> object:
    pytest.importorskip("pyuwsgi")
    return host(*UWSGI, *more, urls=urls, HOST_USES_IT="1")


def test_uwsgi_with_a_store_that_has_a_server(urls: dict[str, str]) -> None:
    urls = {"postgres": urls["postgres"], "valkey": or_skip(valkey_url)}
    with uwsgi(urls=urls) as server:
        check(server, urls, processes=3)


def test_uwsgi_is_told_of_its_setting_where_a_file_is_used_before_the_fork(urls: dict[str, str]) -> None:
    with uwsgi(urls={"sqlite": urls["sqlite"]}) as server:
        status, text = server.get("/sqlite/t")
        assert status == 500
        assert "`lazy-apps = true`" in json.loads(text)["error"]
        status, text = server.get("/sqlite/t/async")
        assert "`lazy-apps = true`" in json.loads(text)["error"]
        assert server.stop() == 0


@pytest.mark.parametrize("setting", ["--lazy-apps", "--py-call-uwsgi-fork-hooks"])
def test_uwsgi_with_that_setting(urls: dict[str, str], setting: str) -> None:
    with uwsgi(setting, "--processes=2", urls={"sqlite": urls["sqlite"]}) as server:
        check(server, ["sqlite"], processes=2)


# ------------------------------------------------------------------------------------ uvicorn


def test_uvicorn_with_a_lifespan_and_streams(urls: dict[str, str]) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    command = ["uvicorn", "--factory", "--uds=SOCKET", "host_app:asgi"]
    with host(sys.executable, "-m", *command, urls=urls) as server:
        for name in urls:
            assert len(crowd(server, name)) == 1
            for turn in range(1, 4):
                status, text = server.get(f"/{name}/streamed/stream")
                assert status == 200
                steps = [json.loads(line)["turns"] for line in text.splitlines()]
                assert [len(step) for step in steps] == [2 * turn - 1, 2 * turn]
            # A reader that goes away cancels its run; the thread goes on all the same.
            server.begin(f"/{name}/streamed/stream")
            # Until it is, the next run of the thread may meet it, which is told.
            while (found := server.get(f"/{name}/streamed"))[0] == 409:
                assert "another writer's checkpoint" in found[1]
            assert json.loads(found[1])["turns"][-2:] == ["streamed says", "heard streamed says"]
        assert server.stop(signal.SIGINT) in (0, -signal.SIGINT)
        assert "Traceback" not in server.log
