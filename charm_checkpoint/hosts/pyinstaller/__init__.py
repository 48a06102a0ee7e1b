"""What PyInstaller has to know to freeze a program that uses this package; it finds it by an entry point."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder of hooks: PyInstaller's entry point ``hook-dirs`` in the group ``pyinstaller40``."""
    return [str(Path(__file__).parent)]
