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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charm_checkpoint.cli.terminal import agreed, echo, echo_error
from charm_checkpoint.config.masking import mask
from charm_checkpoint.config.url import as_url, os_path, parse_url
from charm_checkpoint.errors import CharmError, ConfigError, Later, StoreCorrupt, TypeNotLoaded

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointTuple

    from charm_checkpoint.config.url import Location
    from charm_checkpoint.importers import ImportReport, Progress
    from charm_checkpoint.memory import Memory
    from charm_checkpoint.saver.threads import ThreadInfo


def demo(args: Namespace) -> int:
    """Run the demo."""
    from charm_checkpoint.demo.director import run_demo
    from charm_checkpoint.demo.place import place

    with place(args.store, args.url, keep=args.keep) as url:
        return run_demo(url, keep=args.keep, delay=args.delay)


def stores(args: Namespace) -> int:
    """List the kinds of stores."""
    from charm_checkpoint.config import registry

    for scheme, place in registry.available().items():
        echo(f"{scheme}://  {place}")
        _say_options(scheme)
    return 0


def threads(args: Namespace) -> int:
    """List the threads, each with what its latest checkpoint says of it."""
    with open_store(args) as memory:
        for found in memory.threads(args.limit):
            echo(f"{'?' if found.thread_id is None else found.thread_id}  {_line(found)}")
    return 0


def show(args: Namespace) -> int:
    """Show a thread's checkpoints."""
    from charm_checkpoint.cli.brief import brief

    count = 0
    with open_store(args) as memory:
        saver = memory.get_langgraph_checkpointer()
        if args.raw:
            from charm_checkpoint.saver.raw import without_classes

            saver = without_classes(memory.store)
            echo_error("shown as it is stored: without classes, and whether it was written as this thread's or not")
        for found in saver.list(_config(args.thread), limit=args.limit):
            count += 1
            echo(f"{found.checkpoint['id']}  {_summary(found)}")
            for channel, value in found.checkpoint["channel_values"].items():
                echo(f"    {channel} = {brief(value)}")
    if not count:
        echo_error(f"the thread {args.thread!r} has no checkpoints")
    return 0 if count else 1


def messages(args: Namespace) -> int:
    """Print a thread's message history."""
    import json

    with open_store(args) as memory:
        if not is_there(memory, args.thread):
            return 1
        for message in memory.load_messages(args.thread):
            echo(json.dumps(message, ensure_ascii=True))
    return 0


def usage(args: Namespace) -> int:
    """Say how much is stored."""
    with open_store(args) as memory:
        if args.thread is not None and not is_there(memory, args.thread):
            return 1
        found = memory.usage(args.thread)
    names = (
        "threads",
        "checkpoints",
        "writes",
        "chunks",
        *(("items",) if args.thread is None else ()),
        "payload_bytes",
    )
    for name in names:
        echo(f"{name.replace('_', ' '):<14}{getattr(found, name):>14,}")
    if found.damaged:
        echo(f"{'damaged':<14}{found.damaged:>14,}")
    return 0


def delete(args: Namespace) -> int:
    """Delete a thread, after asking."""
    with open_store(args) as memory:
        if not is_there(memory, args.thread):
            return 1
        _ask(args, f"Delete the thread {args.thread!r} from {mask(args.url)}?")
        memory.delete_thread(args.thread)
    echo(f"deleted {args.thread}")
    return 0


def prune(args: Namespace) -> int:
    """Remove old checkpoints, or all, after asking; 1 if a thread is not there or damaged, others are pruned."""
    with open_store(args) as memory:
        threads = [thread for thread in args.threads if is_there(memory, thread)]
        if args.strategy == "delete" and threads:
            named = ", ".join(map(repr, threads))
            _ask(args, f"Delete all checkpoints of {named} from {mask(args.url)}?")
        before = [_count(memory, thread) for thread in threads]
        later = Later()
        with later:
            memory.get_langgraph_checkpointer().prune(threads, strategy=args.strategy)
        for thread, count in zip(threads, before, strict=True):
            echo(f"{thread}: {count} checkpoints before, {_count(memory, thread)} now")
        later.tell()
    return 0 if len(threads) == len(args.threads) else 1


def copy(args: Namespace) -> int:
    """Copy a thread's checkpoints."""
    with open_store(args) as memory:
        if not is_there(memory, args.source):
            return 1
        memory.get_langgraph_checkpointer().copy_thread(args.source, args.target)
        count = memory.usage(args.target).checkpoints
    echo(f"copied {args.source} to {args.target}: {count} checkpoints")
    return 0


def repair(args: Namespace) -> int:
    """Cut off the damaged end of a thread's log, after asking."""
    with open_store(args) as memory:
        cut = getattr(memory.store.backend, "repair", None)
        if cut is None:
            raise ConfigError("logs, whose end may be damaged, are kept by stores of local files only: file://")
        if not is_there(memory, args.thread):
            return 1
        question = f"Cut off what is behind the last sound record of the thread {args.thread!r} in {mask(args.url)}?"
        if not (args.yes or agreed(question)):
            raise ConfigError("nothing was cut off; add --yes to do it without being asked")
        lost: int = memory.store.run(partial(cut, args.thread), write=True, thread=args.thread)
    echo(f"{args.thread}: cut off {lost:,} bytes" if lost else f"{args.thread}: nothing to cut off")
    return 0


def schema(args: Namespace) -> int:
    """Print a store's tables and functions as SQL, connecting to nothing."""
    from charm_checkpoint.stores.postgres_schema.schema import SCHEMA, script
    from charm_checkpoint.stores.postgres_schema.tenant_roles import tenant_roles
    from charm_checkpoint.stores.supabase.rpc import supabase_sql

    if not args.url:
        raise ConfigError("name the store: --url postgresql:// or supabase://, or set CHARM_CHECKPOINT_URL")
    with _named(args.url):
        location = parse_url(args.url)
    name = location.query.get("schema", SCHEMA)
    if location.scheme in ("postgres", "postgresql"):
        made = script(name, owner=location.query.get("owner"))
    elif location.scheme in ("http", "https", "supabase"):
        made = supabase_sql(name)
    else:
        raise ConfigError(
            f"a {location.scheme} store has no SQL to run by hand: it sets itself up. "
            "Name one with --url postgresql:// or --url supabase://"
        )
    for line in (tenant_roles(name) if args.tenant_roles else made).splitlines():
        echo(line)
    return 0


def init_charm(args: Namespace) -> int:
    """Write an agent project for Charm."""
    from charm_checkpoint.hosts.charm.scaffold import write_project

    steps = write_project(Path(os_path(args.folder)), args.store)
    echo(f"wrote an agent project to {args.folder}; next:")
    for step in steps:
        echo(f"    {step}")
    return 0


def import_official(args: Namespace) -> int:
    """Take over threads of LangGraph's own savers; 1 if one was left alone unasked, or if something was lost."""
    from charm_checkpoint import open_memory
    from charm_checkpoint.importers import import_official

    if not (args.to or args.dry_run):
        raise ConfigError("name the store that gets the threads: --to sqlite:///agent.db")
    _import_modules(args.modules)
    with open_memory("memory://" if args.dry_run else args.to) as memory:
        report = import_official(
            args.source,
            memory,
            threads=args.thread,
            schema=args.schema,
            skip_existing=args.skip_existing,
            dry_run=args.dry_run,
            on_progress=_progress(),
        )
    for said in report.complaints():
        echo_error(mask(said))
    if any(isinstance(error, TypeNotLoaded) for _, error in report.failed):
        echo_error("to load the module of a class that the state holds, add --import MODULE")
    _say_import(report, "would be taken over" if args.dry_run else "taken over")
    return 1 if report.failed or report.losses else 0


# ---------------------------------------------------------------------------------- helpers


def _progress() -> Callable[[Progress], None]:
    """Return what tells on stderr how far an import is, once a second at most."""
    said = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= 1:
            said = time.monotonic()
            echo_error(
                f"{progress.threads} threads done; {progress.thread!r}: {progress.checkpoints} of {progress.total} "
                "checkpoints"
            )

    return tell


def _say_import(report: ImportReport, done: str) -> None:
    echo(f"{report.threads} threads {done}: {report.checkpoints:,} checkpoints, {report.writes:,} pending writes")
    echo(f"{report.source_bytes:,} bytes read, {report.stored_bytes:,} stored")
    for count, what in (
        (report.unchanged, "were here already"),
        (len(report.skipped), "hold something else here, and were skipped"),
        (len(report.failed), "were left alone"),
    ):
        if count:
            echo(f"{count} threads {what}")


def _say_options(scheme: str) -> None:
    """Print what a kind of store understands, or what has to be installed first."""
    from charm_checkpoint.config import registry

    try:
        kind = registry.resolve(scheme)
    except Exception as error:  # a module of another package may raise anything, and hides no other store
        echo(f"    not ready: {str(error) if isinstance(error, CharmError) else _what(error)}")
        return
    for option in kind.options:
        echo(f"    ?{option.name}=  {option.help}; default {option.default!r}")


@contextlib.contextmanager
def open_store(args: Namespace) -> Iterator[Memory]:
    """Open the store that ``--url`` names, once the modules of ``--import`` are loaded.

    Raises `ConfigError` without a URL, and for a SQLite file or a folder that is not there: a
    mistyped name must not make a new one, or pass for one that is empty.
    """
    from charm_checkpoint import open_memory

    if not args.url:
        raise ConfigError("name the store: --url sqlite:///agent.db, or set CHARM_CHECKPOINT_URL")
    with _named(args.url):
        check_there(parse_url(as_url(args.url)))
    _import_modules(args.modules)
    with _named(args.url):
        memory = open_memory(args.url)
    with memory:
        yield memory


def check_there(location: Location, hint: str = "") -> None:
    """Raise `ConfigError` for a SQLite file or a folder that is not there, and for a store that keeps nothing.

    ``hint``: what makes one that is not there.
    """
    from charm_checkpoint.stores.files.store import folder_of

    if location.scheme == "sqlite" and location.path != ":memory:" and not Path(location.path).exists():
        raise ConfigError(f"there is no file {location.path}{hint}")
    if location.scheme == "file" and not folder_of(location).is_dir():
        raise ConfigError(f"there is no folder {folder_of(location)}{hint}")
    if location.scheme == "none":
        raise ConfigError("none:// keeps nothing; name a store that does")


@contextlib.contextmanager
def _named(setting: str | None) -> Iterator[None]:
    """Let an error name the variable that a setting came from."""
    try:
        yield
    except ConfigError as error:
        variable = getattr(setting, "variable", "")
        if not variable:
            raise
        raise type(error)(f"{variable}: {error}") from error


def _import_modules(names: str | None) -> None:
    if not names:
        return
    sys.path.insert(0, os.getcwd())  # as `python -m` does, which a console script does not
    source = getattr(names, "variable", "--import")
    for name in filter(None, map(str.strip, names.split(","))):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a module may raise anything, or be a program that ends
            raise ConfigError(f"{source} {name}: {_what(error)}") from error


def _what(error: BaseException) -> str:
    return str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"


def is_there(memory: Memory, thread: str) -> bool:
    """Tell whether a store holds anything of a thread, damaged or not, and say so if it does not."""
    try:
        found = memory.usage(thread)
    except StoreCorrupt:
        return True
    if found.threads or found.damaged:
        return True
    echo_error(f"there is no thread {thread!r}")
    return False


def _count(memory: Memory, thread: str) -> str:
    """Return how many checkpoints a thread has: of one that is damaged, a question mark."""
    try:
        found = memory.usage(thread)
    except StoreCorrupt:
        return "?"
    return "?" if found.damaged else str(found.checkpoints)


def _ask(args: Namespace, question: str) -> None:
    if not (args.yes or agreed(question)):
        raise ConfigError("nothing was deleted; add --yes to delete without being asked")


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def _line(found: ThreadInfo) -> str:
    """Say in a line what a listing shows of a thread."""
    if found.damage is not None:
        return f"DAMAGED  {mask(found.damage)}"
    parts = [
        f"step {'?' if found.step is None else found.step}" if found.checkpoints else "",
        found.source or "?" if found.checkpoints else "",
        f"{found.updated_at:%Y-%m-%d %H:%M:%S}" if found.updated_at else "",
        f"{found.checkpoints} checkpoints" if found.checkpoints else "",
        "messages" if found.has_messages else "",
        found.status or "",
        found.title or "",
    ]
    return "  ".join(part for part in parts if part)


def _summary(found: CheckpointTuple) -> str:
    """Say in a line what a checkpoint is, its values left out."""
    from charm_checkpoint.saver.records import CONFLICT_KEY

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
