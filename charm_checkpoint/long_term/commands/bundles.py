"""``/memory export``, ``export-md`` and ``import``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.bundles.portable import ExportResult, ImportResult, Left
from charm_checkpoint.long_term.commands import replies
from charm_checkpoint.long_term.commands.errors import CommandError
from charm_checkpoint.long_term.commands.talk import Talk
from charm_checkpoint.long_term.commands.words import Word
from charm_checkpoint.long_term.shown import code, markdown

EXPORT: Final = "export <name> <path> [scope] [overwrite]"
EXPORT_MD: Final = "export-md <folder> [scope] [overwrite]"
IMPORT: Final = "import <path> [scope] [overwrite] [dry-run]"


def export(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Write a bundle."""
    [name, path], scope, flags = _asked(talk, words, 2, ("overwrite",), EXPORT)
    if not name.strip():
        raise CommandError("export failed: name is required")
    done = yield talk.call("export", name, path, scope, overwrite="overwrite" in flags)
    return _exported(done, "to")


def export_md(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Write a file for each memory."""
    [folder], scope, flags = _asked(talk, words, 1, ("overwrite",), EXPORT_MD)
    done = yield talk.call("export_markdown", folder, scope, overwrite="overwrite" in flags)
    return _exported(done, "under")


def import_(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Read what others wrote."""
    [path], scope, flags = _asked(talk, words, 1, ("overwrite", "dry-run"), IMPORT)
    if scope is None:
        scope = "global" if "global" in talk.long_term.scopes else talk.first_scope
    done = yield talk.call("import_", path, scope, overwrite="overwrite" in flags, dry_run="dry-run" in flags)
    return _imported(done, talk)


def _asked(
    talk: Talk, words: Sequence[Word], least: int, flags: tuple[str, ...], usage: str
) -> tuple[list[str], str | None, set[str]]:
    """Return what has to be given, a scope, and which of some words stand behind it."""
    rest = list(words)
    found = set()
    while len(rest) > least and not rest[-1].quoted and rest[-1].text.lower() in flags:
        found.add(rest.pop().text.lower())
    if len(rest) < least:
        raise CommandError(f"expected /memory {usage}", show_help=True)
    if len(rest) > least + 1:
        raise CommandError(f"there are too many words, from {rest[least + 1].text!r} on; expected /memory {usage}")
    scope = talk.scope(rest[least].text) if len(rest) > least else None
    return [word.text for word in rest[:least]], scope, found


def _exported(done: ExportResult, where: str) -> str:
    count = done.redactions
    redacted = f" ({count} secret redaction{'' if count == 1 else 's'})" if count else ""
    answer = f"Exported {len(done.titles)} memories {where} {code(str(done.path), 1000)}{redacted}"
    return "\n".join([answer, *_left("Left out", done.left_out)])


def _imported(done: ImportResult, talk: Talk) -> str:
    verb = "Would import" if done.dry_run else "Imported"
    lines = [f"{verb} {len(done.imported) + len(done.replaced)} memories into `{talk.names(done.scope)}`."]
    if done.replaced:
        lines.append(f"Replaced {len(done.replaced)}: {replies.names_of(done.replaced)}")
    if done.skipped:
        lines.append(f"Skipped {len(done.skipped)}: {replies.names_of(each.title for each in done.skipped)}")
    lines += _left("Failed", done.failed)
    if (done.imported or done.replaced) and not done.dry_run:
        lines.append("They reach no prompt before `/memory approve`: see `/memory review`.")
    return "\n".join(lines)


def _left(what: str, some: Sequence[Left]) -> list[str]:
    if not some:
        return []
    shown = ", ".join(f"{markdown(each.title, 80)} ({markdown(each.reason, 200)})" for each in some[:5])
    return [f"{what} {len(some)}: {shown}" + (", …" if len(some) > 5 else "")]


COMMANDS: Final[dict[str, Callable[[Talk, Sequence[Word]], Flow[str]]]] = {
    "export": export,
    "export-md": export_md,
    "import": import_,
}
"""What ``/memory`` does by a word."""
