"""A small agent project for Charm, written from the files in template/."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from charm_checkpoint.errors import ConfigError

TEMPLATE = files("charm_checkpoint.hosts.charm").joinpath("template")


@dataclass(frozen=True, slots=True)
class Choice:
    """A store to write a project for: what charm.yaml says, what to install, what else it needs."""

    title: str
    provider: str
    config: Mapping[str, str]
    extras: str = "charm"
    needs: tuple[str, ...] = ()


STORES: Mapping[str, Choice] = {
    "sqlite": Choice("a SQLite file", "sqlite", {"url": "sqlite:///agent.db"}),
    "postgres": Choice(
        "Postgres",
        "postgres",
        {"url": "${DATABASE_URL}"},
        "charm,postgres",
        ("set DATABASE_URL to the database, such as postgresql://user:password@host/db",),
    ),
    "redis": Choice(
        "Redis",
        "redis",
        {"url": "${REDIS_URL}", "ttl": "30d"},
        "charm,redis",
        ("set REDIS_URL to the server, such as redis://:password@host:6379/0",),
    ),
    "supabase": Choice(
        "Supabase",
        "charm-supabase",
        {"url": "${SUPABASE_URL}", "key": "${SUPABASE_SERVICE_ROLE_KEY}"},
        "charm,supabase",
        (
            "set SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY to those of your project",
            "run what `charm-checkpoint schema --url supabase://` prints in the project's SQL editor, once",
        ),
    ),
    # Under this name, and no other, Charm's runner mounts a workspace folder that lasts.
    "local": Choice("files in Charm's workspace folder", "local", {}),
}
"""The stores that a project can be written for, by name."""


def write_project(folder: Path, store: str) -> list[str]:
    """Write the project and return what to do next, a step each.

    Raises `ConfigError`, before anything is written, where one of its files is there already.
    """
    choice = STORES[store]
    new = {folder / name: _filled(text, folder, choice) for name, text in _templates()}
    taken = [str(path) for path in new if path.exists()]
    if taken:
        raise ConfigError(f"{', '.join(taken)}: there already, and not overwritten; name another folder")
    for path, text in new.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return [
        f"cd {shlex.quote(str(folder))}",
        "pip install -r requirements.txt",
        *choice.needs,
        """charm run . --json '{"thread_id": "42", "input": "hello"}'""",
    ]


def _filled(text: str, folder: Path, choice: Choice) -> str:
    words = {
        "NAME": re.sub(r"[^\w .\-]+", "-", folder.absolute().name) or "agent",
        "PROVIDER": choice.provider,
        "CONFIG": _mapping(choice.config),
        "EXTRAS": choice.extras,
        "STORE": choice.title,
        "NEEDS": "".join(f"\nBefore the first: {need}." for need in choice.needs),
    }
    return re.sub(r"@([A-Z]+)@", lambda match: words[match[1]], text)


def _mapping(config: Mapping[str, str]) -> str:
    """Return a config as YAML, to stand after its key."""
    return "".join(f"\n      {name}: {json.dumps(value)}" for name, value in config.items()) or " {}"


def _templates() -> Iterator[tuple[str, str]]:
    for folder, prefix in ((TEMPLATE, ""), (TEMPLATE.joinpath("src"), "src/")):
        for path in sorted(folder.iterdir(), key=lambda path: path.name):
            if path.is_file():
                yield prefix + path.name, path.read_text(encoding="utf-8")
