"""Programs that were packed, by PyInstaller or its like, and what they then lack."""

from __future__ import annotations

import sys
from importlib.resources import files

from charm_checkpoint.errors import ConfigError

ADVICE = (
    "This program was packed without it. PyInstaller packs all that is needed, without an option, in an environment "
    "where charm-checkpoint is installed by pip; elsewhere include the whole package and its data "
    "(--collect-all charm_checkpoint; Nuitka: --include-package=charm_checkpoint "
    "--include-package-data=charm_checkpoint)."
)
"""What to do where a part of this package is missing."""


def is_packed() -> bool:
    """Tell whether this program was packed: it has no Python that could be started, nor any pip."""
    return bool(getattr(sys, "frozen", False)) or "__compiled__" in globals()


def advice() -> str:
    """Return what to do where a part of this package is missing, for the end of a message; nothing if not packed."""
    return f". {ADVICE}" if is_packed() else ""


def need_interpreter(what: str) -> None:
    """Raise `ConfigError` in a packed program, where `sys.executable` is the program itself."""
    if is_packed():
        raise ConfigError(f"{what} starts Python, which this packed program has not; run it where Python is installed.")


def read_resource(*path: str) -> str:
    """Return the text of a file of this package."""
    try:
        return files("charm_checkpoint").joinpath(*path).read_text("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"the file {'/'.join(path)} of charm_checkpoint is missing{advice()}") from error
