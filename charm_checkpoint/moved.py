"""Modules under their former names: an import of one gives the module that took its place, and says so.

The names are those of version 0.1.0; they go in version 1.0.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module, util
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "charm_checkpoint."
LAST = "1.0"
"""The version that no longer knows the former names."""

_BETWEEN = ("importlib.", "_frozen_importlib.", PACKAGE)
"""What stands between this package and whoever uses it."""

MOVED = {
    "backends": "stores",
    "backends.connections": "stores.sqlite.connections",
    "backends.hop": "runtime.worker_thread",
    "backends.local": "stores.files.store",
    "backends.local_contents": "stores.files.contents",
    "backends.local_driver": "stores.files.store",
    "backends.local_folder": "stores.files.folder",
    "backends.local_log": "stores.files.log",
    "backends.local_messages": "stores.files.messages",
    "backends.local_survey": "stores.files.survey",
    "backends.local_thread": "stores.files.thread",
    "backends.local_threads": "stores.files.thread",
    "backends.loops": "runtime.event_loops",
    "backends.makers": "stores.shared.connection_maker",
    "backends.marking": "stores.shared.mark_and_sweep",
    "backends.mounts": "stores.shared.mounts",
    "backends.names": "stores.shared.names",
    "backends.none": "stores.none",
    "backends.notes": "stores.shared.thread_notes",
    "backends.patience": "stores.shared.retry",
    "backends.pg_codes": "stores.postgres_schema.sqlstates",
    "backends.pg_errors": "stores.postgres.errors",
    "backends.pg_pools": "stores.postgres.connections",
    "backends.pg_schema": "stores.postgres_schema.schema",
    "backends.pg_wire": "stores.postgres.wire",
    "backends.pools": "stores.shared.pools",
    "backends.postgres": "stores.postgres.driver",
    "backends.procedures": "stores.postgres_schema.backend",
    "backends.ram": "stores.ram",
    "backends.ram_contents": "stores.ram_contents",
    "backends.redis": "stores.redis.store",
    "backends.redis_backend": "stores.redis.backend",
    "backends.redis_clients": "stores.redis.connections",
    "backends.redis_driver": "stores.redis.driver",
    "backends.redis_errors": "stores.redis.errors",
    "backends.redis_faults": "stores.redis.connect_errors",
    "backends.redis_rows": "stores.redis.rows",
    "backends.redis_servers": "stores.redis.topology",
    "backends.redis_threads": "stores.redis.threads",
    "backends.redis_tls": "stores.redis.tls",
    "backends.rpc": "stores.supabase.rpc",
    "backends.schema": "stores.sqlite.schema",
    "backends.signatures": "stores.postgres_schema.signatures",
    "backends.sql": "stores.sqlite.backend",
    "backends.sql_reads": "stores.sqlite.reads",
    "backends.sql_steps": "stores.sqlite.steps",
    "backends.sql_threads": "stores.sqlite.threads",
    "backends.sqlite": "stores.sqlite.driver",
    "backends.sqlite_file": "stores.sqlite.open_file",
    "backends.supabase": "stores.supabase.driver",
    "backends.supabase_errors": "stores.supabase.errors",
    "backends.supabase_http": "stores.supabase.connections",
    "backends.tls": "stores.shared.tls_errors",
    "backends.turns": "runtime.semaphore",
    "base": "messages.charm_base",
    "cache": "runtime.cache",
    "charm": "hosts.charm",
    "clock": "runtime.clock",
    "codec": "values.encoder",
    "cli.commands": "cli.app",
    "cli.parser": "cli.app",
    "collector": "values.collector",
    "conn_string": "saver.conn_string",
    "effort": "values.offload",
    "filters": "saver.filters",
    "foreign": "config.foreign_options",
    "frames": "config.tracebacks",
    "handle": "runtime.handle",
    "history": "saver.history",
    "json_values": "values.json_values",
    "langchain_messages": "messages.langchain",
    "leases": "runtime.leases",
    "leaves": "values.leaves",
    "location": "config.url",
    "logins": "config.login_hints",
    "manager": "config.manager",
    "masking": "config.masking",
    "memo": "values.known_chunks",
    "migrate": "stores.shared.migrations",
    "official": "importers",
    "packed": "runtime.packed_program",
    "packing": "values.packing",
    "pending_writes": "saver.pending_writes",
    "pieces": "values.pieces",
    "processes": "runtime.forks",
    "pyinstaller": "hosts.pyinstaller",
    "reader": "values.chunk_reader",
    "records": "saver.records",
    "registry": "config.registry",
    "revive": "values.decoder",
    "runs": "values.elements",
    "saver_listing": "saver.listing",
    "saver_plans": "saver.plans",
    "seen": "saver.run_context",
    "serde": "values.serde",
    "serde.known": "values.serde.known_classes",
    "serde.living": "values.serde.class_lookup",
    "serde.marks": "values.serde.class_shapes",
    "serde.stacks": "values.serde.fresh_stack",
    "testing.half": "testing.call_modes",
    "testing.turns": "testing.thread_turns",
    "threads": "saver.threads",
    "underway": "saver.in_flight",
    "variables": "config.environment",
}
"""Former name: the present one, both below the package. What was below a package is below the new one."""


class FormerNames(MetaPathFinder, Loader):
    """Finds a module by its former name, and loads the one that took its place."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module of a former name, None for any other."""
        present = present_name(name)
        return None if present is None or util.find_spec(present) is None else ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that took the place of the one asked for: one module under two names, never two."""
        name = present_name(spec.name)
        assert name is not None  # or this were not its loader
        module = import_module(name)
        warn_caller(f"{spec.name} is {name} now; the former name goes in version {LAST}.")
        # What follows makes it a module of this spec, which it must not become.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is: it was run under its present name."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def warn_caller(text: str) -> None:
    """Warn of something former at the line outside this package that uses it, however it imports or calls."""
    frame = sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(_BETWEEN):
        frame = frame.f_back
    warnings.warn_explicit(
        text,
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def present_name(name: str) -> str | None:
    """Return the full name that a module has now, None if it was never moved."""
    if not name.startswith(PACKAGE):
        return None
    parts = name[len(PACKAGE) :].split(".")
    for size in range(len(parts), 0, -1):
        present = MOVED.get(".".join(parts[:size]))
        if present is not None:
            return PACKAGE + ".".join([present, *parts[size:]])
    return None


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a module: what was renamed is found under its former name, which is said.

    A present name with dots is that of another module, below the package.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_caller(f"{module}.{name} is {names[name]} now; the former name goes in version {LAST}.")
        place, _, present = names[name].rpartition(".")
        return getattr(import_module(PACKAGE + place if place else module), present)

    return find


def install() -> None:
    """Let former names be imported."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, FormerNames())  # before one that would load a module a second time
