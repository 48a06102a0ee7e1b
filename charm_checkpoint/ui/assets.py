"""The files that the page is made of, read from the package, be it installed or packed."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.runtime.packed_program import advice

FOLDER = ("ui", "static")
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
NAMES = (
    "address.js", "api.js", "conversation.js", "dialogs.js", "diff.js", "dom.js", "enter.js", "follow.js", "format.js",
    "icon.svg", "index.html", "keys.js", "main.js", "memories.js", "questions.js", "sizes.js", "state.js", "style.css",
    "text.js", "theme.js", "thread.js", "threads.js", "timeline.js", "tree.js",
)  # fmt: skip
"""All of them: what is asked for is looked up here, and never in a folder."""


class Asset(NamedTuple):
    """One file, and what it is."""

    content: bytes
    media_type: str


def load() -> dict[str, Asset]:
    """Return the files by name; raises `ConfigError` where a program was packed without them."""
    folder = files("charm_checkpoint")
    for part in FOLDER:
        folder = folder.joinpath(part)
    try:
        return {name: Asset(folder.joinpath(name).read_bytes(), _TYPES[name.rpartition(".")[2]]) for name in NAMES}
    except FileNotFoundError as error:
        raise ConfigError(f"files of the page are missing in charm_checkpoint{advice()}: {error}") from error
