"""A charm.yaml that somebody else put where it is looked for.

The attacker has an account on the machine, and may write to a folder above an agent's, such as /tmp, or to one that the
agent is started in. He puts a charm.yaml there that names a store of his own.

He wants to read all that the agent hears, and to answer in its memory's name. He gets nothing: the way up ends at the
project's root or the home directory, and above the agent's own folder a file counts only from those who could change
the agent anyway. The log says which file was taken, and which was left and why.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.hosts.charm import from_charm
from charm_checkpoint.hosts.charm.finding import Start, find

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files have an owner of that kind on Unix alone")

NOBODY = 65534
needs_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root makes files that are somebody else's"
)

PLANTED = "runtime: {memory: {provider: sqlite, config: {url: 'sqlite:////tmp/attacker.db'}}}"

Found = Callable[[Path], bool]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home directory that is nowhere above."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """Return an agent's file in a folder of its own, below one that others may write to."""
    (tmp_path / "work" / "agent").mkdir(parents=True)
    (tmp_path / "work").chmod(0o1777)
    (tmp_path / "work" / "agent" / "main.py").write_text("")
    return tmp_path / "work" / "agent" / "main.py"


def plant(folder: Path, owner: int | None = None, mode: int = 0o644) -> Path:
    """Put a charm.yaml into a folder, as somebody."""
    file = folder / "charm.yaml"
    file.write_text(PLANTED)
    file.chmod(mode)
    if owner is not None:
        os.chown(file, owner, owner)
    return file


def found(agent: Path) -> Path | None:
    return find([Start(agent.parent, agent)])


def own(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


@needs_root
def test_above_the_agent_it_is_left(agent: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = plant(agent.parents[1], NOBODY)
    assert found(agent) is None
    assert f"{file} is left: belongs to " in caplog.text


@needs_root
def test_a_program_that_is_started_among_others(
    agent: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plant(agent.parents[1], NOBODY)
    monkeypatch.delenv("CHARM_MEMORY_PROVIDER", raising=False)
    monkeypatch.chdir(agent.parents[1])  # as in /tmp
    with pytest.raises(ConfigError, match="no charm.yaml that counts"):
        from_charm()
    assert "is left" in caplog.text


@needs_root
def test_a_link_to_a_file_of_ours(agent: Path) -> None:
    ours = plant(agent.parents[2])
    link = agent.parents[1] / "charm.yaml"
    link.symlink_to(ours)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    assert found(agent) == ours


@needs_root
def test_a_file_of_ours_in_a_folder_of_his(agent: Path) -> None:
    plant(agent.parents[1])
    own(agent.parents[1])
    assert found(agent) is None


@pytest.mark.parametrize(("file", "folder"), [(0o666, 0o755), (0o644, 0o777)])
def test_what_everybody_may_change(agent: Path, file: int, folder: int, caplog: pytest.LogCaptureFixture) -> None:
    plant(agent.parents[1], mode=file)
    agent.parents[1].chmod(folder)
    assert found(agent) is None
    assert "every user of this machine may change it" in caplog.text


@pytest.mark.parametrize("marker", [".git", "pyproject.toml"])
def test_above_the_project_nothing_is_looked_for(agent: Path, marker: str) -> None:
    plant(agent.parents[1])
    (agent.parent / marker).write_text("")
    assert found(agent) is None


def test_above_the_home_directory_nothing_is_looked_for(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(agent.parents[1])
    monkeypatch.setenv("HOME", str(agent.parent))
    assert found(agent) is None


# --------------------------------------------------------------------- what honest people have


def test_ours_above_is_taken(agent: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "charm_checkpoint")
    file = plant(agent.parents[1])
    assert found(agent) == file
    assert f"{file} is taken" in caplog.text


def test_at_the_root_of_the_repository_of_many_packages(agent: Path) -> None:
    file = plant(agent.parents[1])
    (agent.parents[1] / ".git").mkdir()
    (agent.parent / "pyproject.toml").write_text("")
    assert found(agent) == file


@needs_root
def test_beside_the_agent_it_is_as_trusted_as_the_agent(agent: Path) -> None:
    assert found(agent) is None
    file = plant(agent.parent, NOBODY)
    assert found(agent) == file


@needs_root
def test_a_bind_mount_with_an_owner_of_its_own(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (agent, agent.parent, agent.parents[1]):
        own(path)
    file = plant(agent.parents[1], NOBODY)
    assert found(agent) == file
    monkeypatch.chdir(agent.parents[1])
    assert find([Start(agent.parents[1])]) == file  # a program from elsewhere, such as an image, started there


def test_a_module_that_is_no_file(agent: Path) -> None:
    file = plant(agent.parents[1])
    assert find([Start(agent.parent, agent.parent / "in.zip" / "main.py")]) == file
