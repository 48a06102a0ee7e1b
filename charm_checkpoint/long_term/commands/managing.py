"""``/memory`` and a word: what is done with memories that are there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.aging import Aged
from charm_checkpoint.long_term.commands import replies
from charm_checkpoint.long_term.commands.errors import CommandError
from charm_checkpoint.long_term.commands.talk import Talk, joined
from charm_checkpoint.long_term.commands.words import Word
from charm_checkpoint.long_term.shown import markdown

_FOUND = 10
_RELEVANT = 0.3


def show(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Show a memory in full."""
    title, scope = talk.title_and_scope(_some(words, "show <title> [scope]"))
    entry = yield talk.call("read", title, scope, count_use=False)
    if entry is None:
        raise CommandError(talk.not_there(title, scope))
    return replies.whole(entry, talk.names)


def search(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Show the memories that bear on something; that is no use of them."""
    query = joined(_some(words, "search <words>"))
    found = yield talk.call("recall", query, _FOUND, min_score=_RELEVANT, unreviewed=True, count_use=False)
    return replies.listing(found, talk.names, f"no memories match {query!r}", hook=True)


def undo(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Bring back a memory that was forgotten."""
    title, scope = _title_or_scope(talk, words)
    entry = yield talk.call("undo", title, scope)
    return replies.about("Restored", entry, talk.names)


def forgotten(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """List what can be brought back."""
    entries = yield talk.call("forgotten", _scope_only(talk, words, "forgotten [scope]"))
    return replies.listing(entries, talk.names, "nothing was forgotten of late")


def promote(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Move a memory to another scope."""
    usage = "promote <title> [from-scope] <to-scope>"
    if len(_some(words, usage)) < 2 or not talk.is_scope(words[-1]):
        raise CommandError(f"expected /memory {usage}", show_help=True)
    title, scope = talk.title_and_scope(words[:-1])
    entry = yield talk.call("promote", title, talk.scope(words[-1].text), scope)
    return replies.about("Moved", entry, talk.names)


def review(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Show what others wrote and nobody looked at."""
    entries = yield talk.call("review", _scope_only(talk, words, "review [scope]"))
    if not entries:
        return "_nothing needs a review_"
    shown = [f"{replies.bullet(entry, talk.names)}\n\n{replies.fenced(entry.body)}" for entry in entries[:_FOUND]]
    more = [f"… and {len(entries) - _FOUND} more"] if len(entries) > _FOUND else []
    return "\n\n".join([*shown, *more, "Take one by `/memory approve <title> [scope]`, or `/forget` it."])


def approve(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Approve a memory as it is."""
    title, scope = talk.title_and_scope(_some(words, "approve <title> [scope]"))
    entry = yield talk.call("approve", title, scope)
    return replies.about("Approved", entry, talk.names)


def revalidate(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Compare what memories cite with the files."""
    title, scope = _title_or_scope(talk, words)
    found = yield talk.call("revalidate", title, scope)
    counts = (
        (found.clean, "hold"), (found.quarantined, "quarantined now"), (found.recovered, "recovered"),
        (found.failing, "still failing"), (found.held, "quarantined otherwise"), (found.archived, "archived"),
        (found.unchecked, "not checked here"), (found.broken, "broken"),
    )  # fmt: skip
    head = ", ".join(f"{len(some)} {name}" for some, name in counts if some) or "there was nothing to check"
    lines = [f"Revalidated: {head}"]
    for each in (*found.quarantined, *found.recovered, *found.failing, *found.broken)[: replies.MOST]:
        why = f": {markdown(each.reason)}" if each.reason else ""
        lines.append(f"- **{markdown(each.title)}** ({talk.names(each.scope)}) — {each.status}{why}")
    return "\n".join(lines)


def restore(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Have a memory that is archived or quarantined be active again."""
    title, scope = talk.title_and_scope(_some(words, "restore <title> [scope]"))
    entry = yield talk.call("restore", title, scope)
    why = f" — {entry.status}: {markdown(entry.reason or '')}" if entry.status != "active" else ""
    return replies.about("Restored", entry, talk.names) + why


def sweep(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Archive what nobody used."""
    if len(words) > 1:
        raise CommandError("there are too many words; expected /memory sweep [days]", show_help=True)
    swept = yield talk.call("sweep", None, _days(words[0].text) if words else None)
    lines = [f"Archived {_memories(len(swept.archived))}, kept {swept.kept}"]
    return "\n".join([*lines, *_aged(talk, swept.archived, "not used")])


def purge(talk: Talk, words: Sequence[Word]) -> Flow[str]:
    """Show, or delete, what is archived for long."""
    if len(words) > 1 or (words and words[0].text.lower() != "all"):
        raise CommandError("expected /memory purge, which shows what would go, or /memory purge all", show_help=True)
    candidates = yield talk.call("purge_candidates")
    if not candidates:
        return "_no memories due for purge_"
    if not words:
        ask = "Delete them for good by `/memory purge all`, or keep one by `/memory restore <title>`."
        head = f"{_memories(len(candidates))} archived for long:"
        return "\n".join([head, *_aged(talk, candidates, "archived"), "", ask])
    done = yield talk.call("purge", candidates)
    return f"Deleted {_memories(len(done.purged))} for good" + (f", kept {len(done.kept)}" if done.kept else "")


def _aged(talk: Talk, some: Sequence[Aged], what: str) -> list[str]:
    return [
        f"- **{markdown(each.title)}** ({each.kind}, {talk.names(each.scope)}) — {what} since "
        f"{each.since.date().isoformat()}"
        for each in some[: replies.MOST]
    ]


def _memories(count: int) -> str:
    return f"{count} memor{'y' if count == 1 else 'ies'}"


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days < math.inf:
        raise CommandError(f"days are a number above 0, not {text!r}")
    return days


def _some(words: Sequence[Word], usage: str) -> Sequence[Word]:
    if not words:
        raise CommandError(f"expected /memory {usage}", show_help=True)
    return words


def _title_or_scope(talk: Talk, words: Sequence[Word]) -> tuple[str | None, str | None]:
    """Return a title and a scope, either of which may be left out."""
    if len(words) == 1 and talk.is_scope(words[0]):
        return None, talk.scope(words[0].text)
    return talk.title_and_scope(words) if words else (None, None)


def _scope_only(talk: Talk, words: Sequence[Word], usage: str) -> str | None:
    if len(words) > 1:
        raise CommandError(f"there are too many words; expected /memory {usage}", show_help=True)
    return talk.scope(words[0].text) if words else None


COMMANDS: Final[dict[str, Callable[[Talk, Sequence[Word]], Flow[str]]]] = {
    "show": show,
    "search": search,
    "undo": undo,
    "forgotten": forgotten,
    "promote": promote,
    "review": review,
    "approve": approve,
    "revalidate": revalidate,
    "restore": restore,
    "sweep": sweep,
    "purge": purge,
}
"""What ``/memory`` does by a word."""
