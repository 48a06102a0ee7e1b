"""Commands that take threads from one place to another: stores, archives, backups, LangGraph's own savers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import NO_STORE, check_new, import_modules, is_folder, is_there, named, open_store
from charm_checkpoint.cli.options import DryRun, Import, Json, Threads, Url, Yes
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.progress import going_on, progress
from charm_checkpoint.cli.taking_over import take_over
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.cli.values import plural, size
from charm_checkpoint.config.masking import mask
from charm_checkpoint.config.url import as_url, parse_url
from charm_checkpoint.errors import ConfigError

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory
    from charm_checkpoint.transfer.report import CopyReport, ExportReport, MoveProgress

SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Pass over what the target holds something else of; else an error.")
]
NoMessages = Annotated[bool, typer.Option("--no-messages", help="Leave message lists out.")]
NoItems = Annotated[bool, typer.Option("--no-items", help="Leave long-term memory out.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Do not read back and compare what was put.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="The file.", show_default=False)]
Schema = Annotated[
    str | None, typer.Option(metavar="NAME", help="The schema of a PostgresSaver's tables.", show_default=False)
]
Prefix = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="What the plain-Redis saver's keys begin with; default: lg.", show_default=False),
]


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app, "Move")
    part.add(
        copy,
        examples="charm-checkpoint copy agent.db postgresql://me@host/agents --dry-run\n"
        "charm-checkpoint copy agent.db postgresql://me@host/agents\n"
        "charm-checkpoint copy old-saver.db agent.db --import my_app.state\n"
        "charm-checkpoint copy 42 43 --url agent.db",
    )
    part.add(export, examples="charm-checkpoint export agents.charm --url sqlite:///agent.db")
    part.add(import_, examples="charm-checkpoint import agents.charm --url redis://localhost")
    part.add(backup, examples="charm-checkpoint backup monday.db --url sqlite:///agent.db")
    part.add(import_official, examples="charm-checkpoint import-official old.db --to sqlite:///agent.db --dry-run")


def copy(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A store's URL or file; or, with --url, a thread.", show_default=False)
    ],
    target: Annotated[
        str, typer.Argument(metavar="DST", help="Another one; or a thread that has none.", show_default=False)
    ],
    thread: Threads = None,
    no_messages: NoMessages = False,
    no_items: NoItems = False,
    skip_existing: SkipExisting = False,
    no_verify: NoVerify = False,
    dry_run: DryRun = False,
    from_langgraph: Annotated[
        bool,
        typer.Option(
            "--from-langgraph",
            help="SRC is of LangGraph's PostgresSaver, or of the plain-Redis saver; a SqliteSaver's file is known.",
        ),
    ] = False,
    schema: Schema = None,
    prefix: Prefix = None,
    as_threads: Annotated[
        bool, typer.Option("--as-threads", help="SRC and DST are threads, though they look like stores.")
    ] = False,
    json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Copy threads, messages and long-term memory from one store to another.

    It may be killed and run again: what is there already and the same is passed over. Everything that is put is read
    back and compared. Where SRC and DST are names of threads, one thread's checkpoints are copied within the store
    of --url. Exit code 1 if something was left behind, which is said.
    """
    stores = [not as_threads and _names_store(word) for word in (source, target)]
    if not any(stores):
        _refuse_any(thread=thread, no_messages=no_messages, no_items=no_items, skip_existing=skip_existing,
                    from_langgraph=from_langgraph, schema=schema, prefix=prefix)  # fmt: skip
        return _copy_thread(source, target, dry_run, json, url, modules)
    if not all(stores):
        raise _no_store(target if stores[0] else source, as_threads)
    if from_langgraph or _is_saver_file(source):
        import_modules(modules)
        return take_over(
            source, target, threads=thread, schema=schema, prefix=prefix, skip_existing=skip_existing,
            dry_run=dry_run, json=json,
        )  # fmt: skip
    with going_on(_GOES_ON, dry_run), open_store(source, modules) as memory, progress("copying") as tell:
        report = memory.copy_to(
            target, threads=thread, messages=not no_messages, items=not no_items, skip_existing=skip_existing,
            verify=not no_verify, dry_run=dry_run, on_progress=_telling(tell),
        )  # fmt: skip
    code = _say(report, "copied", json)
    found = report.threads or report.unchanged or report.skipped or report.items or report.items_unchanged
    if report.complete and not (json or found):
        echo_error(_NOTHING)
    return code


_GOES_ON = "threads that were done stay in the target, and the same command goes on with the others"
_NOTHING = "SRC holds nothing of charm-checkpoint; if it is the store of LangGraph's own saver, add --from-langgraph"


def _no_store(odd: str, as_threads: bool) -> ConfigError:
    if os.path.isdir(odd) and not as_threads:
        return is_folder(odd)
    return ConfigError(f"{odd!r} is no store's URL or file; a copy goes from store to store, or thread to thread")


def _names_store(word: str) -> bool:
    return "://" in as_url(word)


def _is_saver_file(source: str) -> bool:
    """Tell whether a SQLite file is a SqliteSaver's."""
    location = parse_url(as_url(source))
    if location.scheme != "sqlite" or not os.path.isfile(location.path):
        return False
    from charm_checkpoint.importers.detecting import is_sqlite_saver

    return is_sqlite_saver(location.path)


def _refuse_any(**of_stores: Any) -> None:
    """Raise `ConfigError` for an option that a copy of a thread would pass over."""
    for name in filter(of_stores.get, of_stores):
        raise ConfigError(f"--{name.replace('_', '-')} is for a copy from store to store, and these are threads")


def _copy_thread(source: str, target: str, dry_run: bool, as_json: bool, url: str | None, modules: str | None) -> int:
    if not url:
        raise ConfigError(f"to copy a thread, {NO_STORE}; to copy a store, give its URL and another one's")
    with open_store(url, modules) as memory:
        if not is_there(memory, source):
            return 1
        if dry_run:
            check_new(memory, target)
        else:
            memory.get_langgraph_checkpointer().copy_thread(source, target)
        count = memory.usage(source if dry_run else target).checkpoints
    if as_json:
        print_json({"thread_id": target, "from": source, "checkpoints": count, "dry_run": dry_run})
        return 0
    echo(f"{'would copy' if dry_run else 'copied'} {source} to {target}: {plural(count, 'checkpoint')}")
    return 0


def export(
    file: File,
    thread: Threads = None,
    no_messages: NoMessages = False,
    no_items: NoItems = False,
    json: Json = False,
    yes: Yes = False,
    url: Url = None,
) -> int:
    """Write threads, messages and long-term memory into one file.

    The store may be written to meanwhile. A file that is there is replaced after a question. - is standard output, and
    what is said then goes to standard error.
    """
    file = _stream(file, "out", json)
    with open_store(url) as memory:
        _ask_to_replace(file, yes)
        with progress("exporting") as tell:
            report = memory.export(
                file, threads=thread, messages=not no_messages, items=not no_items, overwrite=True,
                on_progress=_telling(tell),
            )  # fmt: skip
    return _say_export(report, json)


def import_(
    file: File,
    thread: Threads = None,
    no_messages: NoMessages = False,
    no_items: NoItems = False,
    skip_existing: SkipExisting = False,
    no_verify: NoVerify = False,
    dry_run: DryRun = False,
    json: Json = False,
    url: Url = None,
) -> int:
    """Bring what was exported into a store.

    The file is checked first: if anything in it is not as it was written, nothing is brought in. The store is made if
    it is not there. - is standard input.
    """
    from charm_checkpoint.transfer import import_archive

    file = _stream(file, "in")
    with going_on(_GOES_ON, dry_run), _to_fill(url, dry_run) as memory, progress("importing") as tell:
        report = import_archive(
            file, memory, threads=thread, messages=not no_messages, items=not no_items, skip_existing=skip_existing,
            verify=not no_verify, dry_run=dry_run, on_progress=_telling(tell),
        )  # fmt: skip
    return _say(report, "imported", json)


def _to_fill(url: str | None, dry_run: bool) -> Memory:
    """Open a store that may be new; one that is only looked at is not made."""
    from charm_checkpoint import open_memory

    if not url:
        raise ConfigError(NO_STORE)
    options: dict[str, Any] = {"auto_setup": False} if dry_run else {}
    with named(url):
        return open_memory(url, **options)


def backup(file: File, json: Json = False, yes: Yes = False, url: Url = None) -> int:
    """Write all of a store into one file, while it is written to.

    Of a SQLite file that is another one, made by SQLite's online backup; of other stores it is an export.
    """
    file = _stream(file, "out", json)
    with open_store(url) as memory:
        _ask_to_replace(file, yes)
        with progress("backing up") as tell:
            report = memory.backup(file, overwrite=True, on_progress=_telling(tell))
    for said in report.complaints():
        echo_error(mask(said))
    if json:
        print_json(report.as_dict())
    else:
        what = "a SQLite file" if report.kind == "sqlite" else "an archive, for charm-checkpoint import"
        _teller(file)(f"{file}: {size(report.size)}, {what}")
    return 0 if report.complete else 1


def import_official(
    source: Annotated[
        str,
        typer.Argument(
            metavar="URL_OR_FILE",
            help="A SqliteSaver's file, postgresql://user@host/db, or redis://host of the plain-Redis saver.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The store that gets them, such as sqlite:///agent.db.", show_default=False),
    ] = None,
    thread: Threads = None,
    schema: Schema = None,
    prefix: Prefix = None,
    skip_existing: SkipExisting = False,
    dry_run: DryRun = False,
    json: Json = False,
    modules: Import = None,
) -> int:
    """Take over threads of a SqliteSaver, PostgresSaver or the plain-Redis saver.

    The same as copy with --from-langgraph. Exit code 1 if one was left alone unasked, or if something was lost.
    """
    if not (to or dry_run):
        raise ConfigError("name the store that gets the threads: --to sqlite:///agent.db")
    import_modules(modules)
    return take_over(
        source, to, threads=thread, schema=schema, prefix=prefix, skip_existing=skip_existing, dry_run=dry_run,
        json=json,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- telling


def _telling(tell: Any) -> Callable[[MoveProgress], None]:
    def told(at: MoveProgress) -> None:
        of = "" if at.thread is None else repr(at.thread)
        more = f": {at.checkpoints:,} checkpoints" if at.checkpoints else ""
        tell(at.done, at.total, f"{at.kind}{f', {of}{more}' if of else ''}")

    return told


def _stream(file: str, which: str, json: bool = False) -> str:
    """Return the path of a standard stream if it is meant."""
    if file != "-":
        return file
    if json:
        raise ConfigError("- and --json would both go to standard output; name a file")
    if which == "out" and sys.stdout.isatty():
        raise ConfigError("standard output is a terminal, and an archive is nothing to be read; name a file")
    return f"/dev/std{which}"


def _teller(file: str) -> Callable[[str], None]:
    """Return what tells of a file, which may be standard output itself."""
    return echo_error if file == "/dev/stdout" else echo


def _ask_to_replace(file: str, yes: bool) -> None:
    from charm_checkpoint.transfer.files import is_taken

    if is_taken(file):
        confirm(f"Replace {file}?", yes, "the file was left as it is")


def _say(report: CopyReport, done: str, json: bool) -> int:
    for said in report.complaints():
        echo_error(mask(said))
    if json:
        print_json(report.as_dict())
        return 0 if report.complete else 1
    verb = f"would be {done}" if report.dry_run else done
    echo(
        f"{plural(report.threads, 'thread')} {verb}: {plural(report.checkpoints, 'checkpoint')}, "
        f"{plural(report.writes, 'pending write')}, {plural(report.messages, 'message list')}, "
        f"{plural(report.items, 'item')} of long-term memory; {size(report.bytes)}"
    )
    if report.verified and report.bytes:
        echo("what was put was read back, and is the same")
    for count, noun, what in (
        (report.unchanged, "thread", "there already"),
        (report.items_unchanged, "item", "there already"),
        (len(report.skipped), "thread", "skipped, as the target holds something else"),
        (report.items_skipped, "item", "skipped, as the target holds something else"),
    ):
        if count:
            echo(f"{plural(count, noun)} {what}")
    return 0 if report.complete else 1


def _say_export(report: ExportReport, json: bool) -> int:
    for said in report.complaints():
        echo_error(mask(said))
    if json:
        print_json(report.as_dict())
    elif not report.digest:
        echo_error(f"nothing was exported, and {report.path} was not written")
    else:
        _teller(report.path)(
            f"{report.path}: {plural(report.threads, 'thread')}, {plural(report.checkpoints, 'checkpoint')}, "
            f"{plural(report.messages, 'message list')}, {plural(report.items, 'item')} of long-term memory; "
            f"{size(report.size)}"
        )
    return 0 if report.complete else 1
