"""The project that init-charm writes, and the entries for Charm's plugin list."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
import yaml
from charm_projects import run_device
from conftest import or_skip
from stores import supabase_url, tenant_url, valkey_url
from workers import WorkerPool

from charm_checkpoint import __version__
from charm_checkpoint.cli import main
from charm_checkpoint.cli.store import CHARM_STORES
from charm_checkpoint.hosts.charm.scaffold import STORES

ROOT = Path(__file__).parent.parent

FILES = {"charm.yaml", "README.md", "requirements.txt", "src/__init__.py", "src/main.py"}


def charm(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Charm's own command in a working folder and home; return what it prints."""
    (folder / ".charm").mkdir(parents=True, exist_ok=True)
    (folder / ".charm" / ".update_check.json").write_text('{"last_check": 1e12}')  # it would ask PyPI
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHARM_")}
    done = subprocess.run(
        [sys.executable, "-m", "charm.cli.app", *arguments],
        cwd=folder,
        env={**kept, "HOME": str(folder), "COLUMNS": "400", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def say(project: Path, folder: Path, text: str, **environment: str) -> dict[str, Any]:
    inputs = json.dumps({"thread_id": "42", "input": text})
    out = charm(folder, "run", str(project), "--json", inputs, **environment)
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def test_the_project_runs_under_charms_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "my agent"
    assert main(["init-charm", str(project)]) == 0
    assert f"    cd '{project}'\n    pip install -r requirements.txt\n    charm run . --json" in capsys.readouterr().out
    assert {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()} == FILES
    assert say(project, tmp_path / "one", "forget")["output"] == "Forget everything? (yes/no)"
    assert say(project, tmp_path / "two", "yes")["output"] == "All is forgotten."
    assert (project / "agent.db").exists()


ENVIRONMENTS: dict[str, Callable[[], dict[str, str]]] = {
    "postgres": lambda: {"DATABASE_URL": tenant_url()},
    "redis": lambda: {"REDIS_URL": valkey_url()},
    "supabase": lambda: supabase(supabase_url()),
    "local": dict,
}


def supabase(url: str) -> dict[str, str]:
    """Return a project's URL without its key, and the key."""
    start, _, query = url.partition("?")
    options = dict(part.split("=", 1) for part in query.split("&"))
    rest = "&".join(f"{name}={value}" for name, value in options.items() if name != "key")
    return {"SUPABASE_URL": f"{start}?{rest}", "SUPABASE_SERVICE_ROLE_KEY": unquote(options["key"])}


@pytest.mark.parametrize("store", ENVIRONMENTS)
def test_the_project_remembers_on_every_store(store: str, devices: WorkerPool, tmp_path: Path) -> None:
    environment = or_skip(ENVIRONMENTS[store])
    assert main(["init-charm", str(tmp_path / "agent"), "--store", store]) == 0
    environment["CHARM_WORKSPACE_DIR"] = str(tmp_path / "workspace")
    outputs = []
    for number, text in enumerate(("one", "forget", "no", "two")):
        call = [(str(tmp_path / "agent"), {"thread_id": "42", "input": text})]
        outputs += run_device(devices, tmp_path / f"d{number}", call, kill=True, **environment)
    assert [result["output"] for result in outputs] == [
        "You told me 1 things, first: one",
        "Forget everything? (yes/no)",
        "Nothing is forgotten.",
        "You told me 3 things, first: one",
    ]


@pytest.mark.parametrize("store", STORES)
def test_the_readme_and_the_steps_say_what_is_needed(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init-charm", str(tmp_path), "--store", store]) == 0
    out, readme = capsys.readouterr().out, (tmp_path / "README.md").read_text()
    for variable in re.findall(r"\$\{(\w+)\}", (tmp_path / "charm.yaml").read_text()):
        assert f"set {variable}" in out or f"and {variable}" in out
        assert variable in readme
    assert len(readme.splitlines()) <= 12
    assert "@" not in (tmp_path / "charm.yaml").read_text() + (tmp_path / "requirements.txt").read_text()


def test_the_command_offers_every_store() -> None:
    assert tuple(STORES) == CHARM_STORES


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert main(["init-charm", str(tmp_path)]) == 2
    assert "README.md: there already, and not overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_store_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init-charm", str(tmp_path), "--store", "mongo"]) == 2
    assert "'mongo' is not one of sqlite, postgres" in capsys.readouterr().err


@pytest.mark.parametrize("name", ['a "b"', "ünï: #x", "-", "@STORE@"])
def test_any_folder_name_makes_a_valid_file(name: str, tmp_path: Path) -> None:
    assert main(["init-charm", str(tmp_path / name)]) == 0
    said = yaml.safe_load((tmp_path / name / "charm.yaml").read_text(encoding="utf-8"))
    assert said["persona"]["name"]
    assert said["runtime"]["memory"] == {"provider": "sqlite", "config": {"url": "sqlite:///agent.db"}}


# -------------------------------------------------------------------------------- plugin list

TEXT = {"type": "string", "minLength": 1}

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["id", "pypi_package", "description", "author"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("pypi_package", "description", "author", "name", "version", "license"), TEXT),
        "id": {"type": "string", "pattern": "^[a-z0-9-_]+$"},
        "tags": {"type": "array", "items": TEXT},
        "github_url": {"type": "string", "format": "uri"},
    },
}
"""What Charm's plugin list wants of a memory provider, and no more than it names."""


@pytest.mark.parametrize(("kind", "group"), [("memory", "charm.memory"), ("adapters", "charm.adapters")])
def test_every_plugin_has_an_entry_for_the_list(kind: str, group: str) -> None:
    entries = ROOT.glob(f"charm_checkpoint/hosts/charm/plugin_list/{kind}/manifests/*")
    manifests = {path.stem: json.loads(path.read_text()) for path in entries}
    ours = [entry for entry in entry_points(group=group) if entry.value.startswith("charm_checkpoint.")]
    assert manifests.keys() == {entry.name for entry in ours}
    for name, manifest in manifests.items():
        jsonschema.validate(manifest, SCHEMA)
        assert (manifest["id"], manifest["pypi_package"]) == (name, "charm-checkpoint")
        assert manifest["version"] == __version__
        assert manifest["license"] == "MIT"
