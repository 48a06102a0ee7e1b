"""The memory that an agent's charm.yaml asks for, or the environment that Charm gives it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from charm_checkpoint.config.manager import StorageManager, known_providers, provider_class
from charm_checkpoint.config.masking import plain_name
from charm_checkpoint.config.options import suggest
from charm_checkpoint.config.plain_files import plain_yaml, read_bounded
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.config.url import as_url
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.hosts.charm.finding import FILE, find, starts

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory

log = logging.getLogger("charm_checkpoint")

VARIABLE = "CHARM_MEMORY_PROVIDER"
"""Where Charm's runner says which provider it is."""

EXAMPLE = "runtime: {memory: {provider: sqlite, config: {url: 'sqlite:///agent.db'}}}"

_RELATIVE = re.compile(
    r"sqlite(?:\+\w+)?:///(?![/?]|:memory:|\$\{|[A-Za-z]:|$)|file://(?=\.\.?(?:[/?]|$))", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class MemorySpec:
    """A memory that somebody asks for: ``source`` says who, ``folder`` is where relative paths begin."""

    provider: str
    config: Mapping[str, Any] = field(repr=False)
    source: str
    folder: Path | None = None


def from_charm(path: str | os.PathLike[str] | None = None) -> Memory:
    """Open the memory that charm.yaml asks for in ``runtime.memory``; the same object at every call.

    ``path`` is that file or its folder. Without it the file is looked for in the folders of the
    caller's module, of the program and of the process, and in those above each as far as the
    project's root or the home directory, in this order; one above counts only from you, root or the
    owner of the agent's files. Where there is none, or it has no ``runtime.memory``, the environment's
    ``CHARM_MEMORY_PROVIDER`` names the provider. Relative SQLite files and folders are beside
    charm.yaml, wherever the process runs.

    Raises `ConfigError` where nothing is asked for, or nothing that there is; `MissingExtra`
    where PyYAML or a driver is not installed.
    """
    if path is not None:
        file: Path | None = _named(Path(path))
    else:
        file = find(starts(sys._getframe(1).f_globals.get("__file__")))
    asked = _read(file) if file else None
    return open_wanted(asked or _from_environment(file))


@unseen
def open_wanted(wanted: MemorySpec) -> Memory:
    """Open a memory through the `StorageManager`; an error names who asked for it."""
    made_by = provider_class(wanted.provider)
    if made_by is None:
        raise ConfigError(
            f"{wanted.source}: no memory provider {plain_name(wanted.provider)}; "
            f"{suggest(wanted.provider, known_providers())}"
        )
    config = dict(wanted.config)
    url = config.get("url", getattr(made_by, "default_url", None))
    if wanted.folder and isinstance(url, str):
        place = url if "$" in url else as_url(url)
        if _RELATIVE.match(place):
            config["url"] = anchored(place, wanted.folder)
    try:
        memory: Memory = StorageManager.get_provider(wanted.provider, config)
    except ConfigError as error:
        raise type(error)(f"{wanted.source}: {error}") from error
    return memory


def anchored(url: str, folder: Path) -> str:
    """Return a URL of a relative path with the path in ``folder``; any other as it is."""
    relative = _RELATIVE.match(url)
    if relative is None:
        return url
    # Percent-encoded, a "$" in the folder's name is not taken for a variable.
    start = quote(os.fsencode(folder.absolute().as_posix()), safe="/:")
    return f"{relative[0]}{start}/{url[relative.end() :]}"


def _named(path: Path) -> Path:
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"there is no file {file}; name a {FILE} or its folder")
    return file.absolute()


def _from_environment(file: Path | None) -> MemorySpec:
    provider = os.environ.get(VARIABLE)
    if provider:
        return MemorySpec(provider, {}, VARIABLE)
    if file:
        raise ConfigError(f"{file} has no runtime.memory; add {EXAMPLE}, or set {VARIABLE}")
    raise ConfigError(
        f"there is no {FILE} that counts beside the agent, or in {Path.cwd()} or above; name it with from_charm(path), "
        f"or set {VARIABLE}"
    )


# ---------------------------------------------------------------------------------- reading


def _read(file: Path) -> MemorySpec | None:
    """Return what a charm.yaml asks for; None if it has no ``runtime.memory``."""
    runtime = _section(_parse(file), "runtime", str(file))
    if runtime.get("memory") is None:
        return None
    source = f"{file}: runtime.memory"
    memory = _section(runtime, "memory", f"{file}: runtime")
    for name in memory:
        if name not in ("provider", "config"):
            raise ConfigError(f"{source}: unknown key {name!r}; {suggest(str(name), ('provider', 'config'))}")
    provider = memory.get("provider", "local")
    if not isinstance(provider, str):
        raise ConfigError(f"{source}.provider is a provider's name, in quotes if need be; known: {_known()}")
    _tell_other(provider, file)
    return MemorySpec(provider, _section(memory, "config", source), source, file.parent)


def _parse(file: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(f'reading {file} needs PyYAML; pip install "charm-checkpoint[charm]"') from error
    try:
        return plain_yaml(read_bounded(file), file)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        # Its own text quotes lines of the file, which may hold secrets.
        mark = getattr(error, "problem_mark", None)
        at = f" in line {mark.line + 1}: {error.problem}" if mark else ""
        raise ConfigError(f"{file} is not valid YAML{at}") from None


def _section(holder: Any, name: str, where: str) -> dict[str, Any]:
    """Return a mapping of a mapping; an absent one is empty."""
    found = holder.get(name) if isinstance(holder, dict) else holder
    if found is None:
        return {}
    if not isinstance(holder, dict) or not isinstance(found, dict):
        raise ConfigError(f"{where}: {name} is a mapping; write {EXAMPLE}")
    return found


def _known() -> str:
    return ", ".join(known_providers())


def _tell_other(provider: str, file: Path) -> None:
    other = os.environ.get(VARIABLE)
    if other and other != provider:
        log.warning(
            "%s says %s, but %s says %s, which is used", VARIABLE, plain_name(other), file, plain_name(provider)
        )
