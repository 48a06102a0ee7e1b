"""What each command of ``charm-checkpoint`` does, once its arguments are read.

What a command needs is imported when it runs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from charm_checkpoint.errors import CharmError, ConfigError, TypeNotLoaded
from charm_checkpoint.location import parse_url
from charm_checkpoint.masking import mask

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointTuple

    from charm_checkpoint.memory import Memory
    from charm_checkpoint.official import ImportReport, Progress


def demo(args: Namespace) -> int:
    """Run the demo."""
    from charm_checkpoint.demo.director import run_demo
    from charm_checkpoint.demo.place import place

    with place(args.store, args.url, keep=args.keep) as url:
        return run_demo(url, keep=args.keep, delay=args.delay)


def stores(args: Namespace) -> int:
    """List the kinds of stores."""
    from charm_checkpoint import registry

    for scheme, place in registry.available().items():
        say(f"{scheme}://  {place}")
        _say_options(scheme)
    return 0


def threads(args: Namespace) -> int:
    """List the threads that have checkpoints, each with its latest."""
    seen: set[str] = set()
    with open_store(args) as memory:
        for found in memory.get_langgraph_checkpointer().list(None):
            thread = found.config["configurable"]["thread_id"]
            if thread not in seen:
                seen.add(thread)
                say(f"{thread}  {_summary(found)}")
            if len(seen) == args.limit:
                break
    return 0


def show(args: Namespace) -> int:
    """Show a thread's checkpoints."""
    from charm_checkpoint.cli.brief import brief

    count = 0
    with open_store(args) as memory:
        for found in memory.get_langgraph_checkpointer().list(_config(args.thread), limit=args.limit):
            count += 1
            say(f"{found.checkpoint['id']}  {_summary(found)}")
            for channel, value in found.checkpoint["channel_values"].items():
                say(f"    {channel} = {brief(value)}")
    if not count:
        complain(f"the thread {args.thread!r} has no checkpoints")
    return 0 if count else 1


def messages(args: Namespace) -> int:
    """Print a thread's message history."""
    import json

    with open_store(args) as memory:
        for message in memory.load_messages(args.thread):
            say(json.dumps(message, ensure_ascii=True))
    return 0


def usage(args: Namespace) -> int:
    """Say how much is stored."""
    with open_store(args) as memory:
        found = memory.usage(args.thread)
    for name in ("threads", "checkpoints", "writes", "chunks", "payload_bytes"):
        say(f"{name.replace('_', ' '):<14}{getattr(found, name):>14,}")
    return 0


def delete(args: Namespace) -> int:
    """Delete a thread, after asking."""
    with open_store(args) as memory:
        if not (args.yes or _agreed(f"Delete the thread {args.thread!r} from {mask(args.url)}?")):
            raise ConfigError("nothing was deleted; add --yes to delete without being asked")
        memory.delete_thread(args.thread)
    say(f"deleted {args.thread}")
    return 0


def prune(args: Namespace) -> int:
    """Remove old checkpoints."""
    with open_store(args) as memory:
        before = [memory.usage(thread).checkpoints for thread in args.threads]
        memory.get_langgraph_checkpointer().prune(args.threads, strategy=args.strategy)
        for thread, count in zip(args.threads, before, strict=True):
            say(f"{thread}: {count} checkpoints before, {memory.usage(thread).checkpoints} now")
    return 0


def copy(args: Namespace) -> int:
    """Copy a thread's checkpoints."""
    with open_store(args) as memory:
        memory.get_langgraph_checkpointer().copy_thread(args.source, args.target)
        count = memory.usage(args.target).checkpoints
    say(f"copied {args.source} to {args.target}: {count} checkpoints")
    return 0


def schema(args: Namespace) -> int:
    """Print a store's tables and functions as SQL, connecting to nothing."""
    from charm_checkpoint.backends.pg_schema import SCHEMA, script
    from charm_checkpoint.backends.rpc import supabase_sql

    if not args.url:
        raise ConfigError("name the store: --url postgresql:// or supabase://, or set CHARM_CHECKPOINT_URL")
    location = parse_url(args.url)
    make = dict.fromkeys(("postgres", "postgresql"), script)
    make |= dict.fromkeys(("http", "https", "supabase"), supabase_sql)
    if location.scheme not in make:
        raise ConfigError(
            f"a {location.scheme} store has no SQL to run by hand: it sets itself up. "
            "Name one with --url postgresql:// or --url supabase://"
        )
    for line in make[location.scheme](location.query.get("schema", SCHEMA)).splitlines():
        say(line)
    return 0


def init_charm(args: Namespace) -> int:
    """Write an agent project for Charm."""
    from charm_checkpoint.charm.scaffold import write_project

    steps = write_project(Path(args.folder), args.store)
    say(f"wrote an agent project to {args.folder}; next:")
    for step in steps:
        say(f"    {step}")
    return 0


def import_official(args: Namespace) -> int:
    """Take over threads of LangGraph's own savers; 1 if any was left alone for a reason not asked for."""
    from charm_checkpoint import open_memory
    from charm_checkpoint.official import import_official

    if not (args.to or args.dry_run):
        raise ConfigError("name the store that gets the threads: --to sqlite:///agent.db, or set CHARM_CHECKPOINT_TO")
    _import_modules(args.modules)
    with open_memory("memory://" if args.dry_run else args.to) as memory:
        report = import_official(
            args.source,
            memory,
            threads=[args.thread] if isinstance(args.thread, str) else args.thread,
            schema=args.schema,
            skip_existing=args.skip_existing,
            dry_run=args.dry_run,
            on_progress=_progress(),
        )
    for thread, error in report.failed:
        complain(mask(f"the thread {thread!r} was left alone: {error}"))
    if any(isinstance(error, TypeNotLoaded) for _, error in report.failed):
        complain("to load the module of a class that the state holds, add --import MODULE")
    _say_import(report, "would be taken over" if args.dry_run else "taken over")
    return 1 if report.failed else 0


# ---------------------------------------------------------------------------------- helpers


def _progress() -> Callable[[Progress], None]:
    """Return what tells on stderr how far an import is, once a second at most."""
    said = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= 1:
            said = time.monotonic()
            complain(
                f"{progress.threads} threads done; {progress.thread!r}: {progress.checkpoints} of {progress.total} "
                "checkpoints"
            )

    return tell


def _say_import(report: ImportReport, done: str) -> None:
    say(f"{report.threads} threads {done}: {report.checkpoints:,} checkpoints, {report.writes:,} pending writes")
    say(f"{report.source_bytes:,} bytes read, {report.stored_bytes:,} stored")
    for count, what in (
        (report.unchanged, "were here already"),
        (len(report.skipped), "hold something else here, and were skipped"),
        (len(report.failed), "were left alone"),
    ):
        if count:
            say(f"{count} threads {what}")


def _say_options(scheme: str) -> None:
    """Print what a kind of store understands, or what has to be installed first."""
    from charm_checkpoint import registry

    try:
        kind = registry.resolve(scheme)
    except CharmError as error:
        say(f"    not ready: {error}")
        return
    for option in kind.options:
        say(f"    ?{option.name}=  {option.help}; default {option.default!r}")


@contextlib.contextmanager
def open_store(args: Namespace) -> Iterator[Memory]:
    """Open the store that ``--url`` names, once the modules of ``--import`` are loaded.

    Raises `ConfigError` without a URL, and for a SQLite file or a folder that is not there: a
    mistyped name must not make a new one, or pass for one that is empty.
    """
    from charm_checkpoint import open_memory
    from charm_checkpoint.backends.local import folder_of

    if not args.url:
        raise ConfigError("name the store: --url sqlite:///agent.db, or set CHARM_CHECKPOINT_URL")
    location = parse_url(args.url)
    if location.scheme == "sqlite" and location.path != ":memory:" and not Path(location.path).exists():
        raise ConfigError(f"there is no file {location.path}")
    if location.scheme == "file" and not folder_of(location).is_dir():
        raise ConfigError(f"there is no folder {folder_of(location)}")
    if location.scheme == "none":
        raise ConfigError("none:// keeps nothing; name a store that does")
    _import_modules(args.modules)
    with open_memory(args.url) as memory:
        yield memory


def say(text: str) -> None:
    """Print a line, with whatever a terminal could mistake for a command escaped."""
    _write(sys.stdout, _shown(text))


def complain(text: str) -> None:
    """Print an error on stderr, of more lines than one if it holds a traceback."""
    _write(sys.stderr, "\n".join(_shown(line) for line in f"charm-checkpoint: {text}".split("\n")))


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _shown(line: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def _import_modules(names: str | None) -> None:
    if not names:
        return
    sys.path.insert(0, os.getcwd())  # as `python -m` does, which a console script does not
    for name in names.split(","):
        _import_module(name.strip())


def _import_module(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"--import {name}: {error}") from error


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def _summary(found: CheckpointTuple) -> str:
    """Say in a line what a checkpoint is, its values left out."""
    from charm_checkpoint.records import CONFLICT_KEY

    metadata: dict[str, Any] = dict(found.metadata)
    namespace = found.config["configurable"].get("checkpoint_ns")
    parts = [
        f"in {namespace}" if namespace else "",
        f"step {metadata.get('step', '?')}",
        str(metadata.get("source", "?")),
        found.checkpoint["ts"][:19].replace("T", " "),
        f"{len(found.pending_writes or ())} pending writes",
        f"CONFLICT with {metadata[CONFLICT_KEY]}" if CONFLICT_KEY in metadata else "",
    ]
    return "  ".join(part for part in parts if part)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
