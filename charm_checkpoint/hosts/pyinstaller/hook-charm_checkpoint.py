"""Tell PyInstaller what no import statement tells: stores are found by name, SQL and Lua are files, LangChain is lazy.

A driver goes along where it is installed; what a program does not want is left out by ``--exclude-module``.
"""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

LEFT_OUT = ("charm_checkpoint.hosts.pyinstaller", "charm_checkpoint.servers", "charm_checkpoint.testing")
"""For developers alone: they start Python itself, or need pytest."""

LAZY = ("langchain_core.documents", "langchain_core.load", "langchain_core.messages", "langchain_core.prompts")
"""Packages whose classes a state may hold, and whose modules are imported when a class is first asked for."""

DRIVERS = ("psycopg_binary", "psycopg_c", "psycopg_pool")
"""Imported by name, by psycopg or here."""


def _wanted(module: str) -> bool:
    return not f"{module}.".startswith(tuple(f"{name}." for name in LEFT_OUT))


hiddenimports = [
    *collect_submodules("charm_checkpoint", filter=_wanted),
    *(module for package in (*LAZY, *DRIVERS) for module in collect_submodules(package, on_error="ignore")),
]
datas = [
    *collect_data_files("charm_checkpoint"),
    *collect_data_files("charm_checkpoint", subdir="hosts/charm/template", include_py_files=True),
    *copy_metadata("charm-checkpoint"),
]
