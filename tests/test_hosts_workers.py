"""Agents in worker processes: Celery's prefork, pools of every start method, and children that never use a store."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import or_skip
from hosting import environment
from stores import tenant_url, valkey_url
from workers import CHILDREN, child

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="forks"), pytest.mark.timeout(200)]


@pytest.fixture
def urls(tmp_path: Path) -> dict[str, str]:
    """Return a store that is embedded, and one with a server."""
    return {"sqlite": f"sqlite:///{tmp_path}/a.db", "postgres": or_skip(tenant_url)}


def test_process_pools(urls: dict[str, str]) -> None:
    methods = multiprocessing.get_all_start_methods()
    command = [sys.executable, str(CHILDREN / "host_pool.py"), *methods]
    with environment(urls, HOST_USES_IT="1") as env:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found) == sorted(methods) == ["fork", "forkserver", "spawn"]
    for method, results in found.items():
        assert "open it in the worker, with open_memory(url)" in results.pop("refused")
        for thread in range(3):
            said = [f"{method} {thread} says", f"heard {method} {thread} says"] * 6
            assert {name: results.pop(f"{name} {thread}") for name in urls} == dict.fromkeys(urls, said)
        assert not results
    assert "Traceback" not in done.stderr


def test_celery_prefork(urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("celery")
    monkeypatch.setenv("HOST_FOLDER", str(tmp_path))
    monkeypatch.syspath_prepend(str(CHILDREN))
    from host_tasks import app, turn

    words = ["-A", "host_tasks", "worker", "--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle"]
    with environment(urls, HOST_USES_IT="1") as env, (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", *words], env=env, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            for round in range(1, 4):
                calls = {(name, thread): turn.delay(name, thread, round % 2 == 0) for name in urls for thread in "abcd"}
                for (_, thread), call in calls.items():
                    turns = call.get(timeout=60, interval=0.02)["turns"]
                    assert turns == [f"{thread} says", f"heard {thread} says"] * round
            worker.terminate()
            assert worker.wait(60) == 0
        finally:
            worker.kill()
            worker.wait()
            app.close()
    assert "Traceback" not in (tmp_path / "log").read_text()


STORES: dict[str, Callable[[Path], str]] = {
    "sqlite": "sqlite:///{}/a.db".format,
    "files": "file://{}".format,
    "postgres": lambda folder: or_skip(tenant_url),
    "valkey": lambda folder: or_skip(valkey_url),
}


@pytest.mark.parametrize("store", STORES)
def test_a_child_of_a_host_in_c_that_never_used_its_store_ends(store: str, tmp_path: Path) -> None:
    with child("leave_forked.py", STORES[store](tmp_path)) as process:
        assert process.wait(30) == 0
