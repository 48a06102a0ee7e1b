"""The slash commands of a chat."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from charm_checkpoint.errors import CharmError, ConfigError
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term import steps
from charm_checkpoint.long_term.commands import bundles, managing, replies
from charm_checkpoint.long_term.commands.errors import CommandError
from charm_checkpoint.long_term.commands.help import HELP
from charm_checkpoint.long_term.commands.talk import Talk
from charm_checkpoint.long_term.commands.words import Word, fields_of, words_of
from charm_checkpoint.long_term.parts import LongTermParts
from charm_checkpoint.long_term.records import KINDS, STATUSES
from charm_checkpoint.long_term.showing import CONVERSATION

if TYPE_CHECKING:
    from charm_checkpoint.long_term.memories import LongTermMemory

_COMMAND: Final = re.compile(r"\s*(/\w+)(?:\s+(.*))?\Z", re.DOTALL)
_FIELDS: Final = "expected three fields: /remember <kind> [scope] -- <title> -- <body>"


class Commands:
    """Answers slash commands in Markdown, for the front end of a chat.

    ``project_word`` is how the project's own scope is called in answers; Cantrip calls it ``charm``, which is
    understood in any case. In an answer titles and bodies that others wrote are shown as they are, and do nothing.
    """

    def __init__(self, long_term: LongTermMemory, project_word: str = "project") -> None:
        if not isinstance(project_word, str) or not project_word.isalpha():
            raise ConfigError(f"project_word is a word, such as 'charm', not {project_word!r}")
        self._talk = Talk(long_term, replies.Names(project_word))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._talk.long_term!r})"

    def run(self, text: str) -> str | None:
        """Do what a command says, and return the answer; None if the text is no command of these.

        Whatever is wrong with it is an answer, too, which begins with ``_Error:``.
        """
        return steps.run(self._answer(text))

    async def arun(self, text: str) -> str | None:
        """Do what a command says, and return the answer; see `run`."""
        return await steps.arun(self._answer(text))

    def help(self) -> str:
        """Return the help, in Markdown."""
        return HELP.format(scopes=", ".join(map(self._talk.names, self._talk.long_term.scopes)))

    def _answer(self, text: str) -> Flow[str | None]:
        found = _COMMAND.match(text)
        command = found and _COMMANDS.get(found[1].lower())
        if not found or command is None:
            return None
        try:
            return (yield from command(self, found[2] or ""))
        except CommandError as wrong:
            return f"{replies.error(str(wrong))}\n\n{self.help()}" if wrong.show_help else replies.error(str(wrong))
        except (CharmError, OSError, ValueError) as wrong:  # the last: what is no path, with half of a character in it
            return replies.error(str(wrong))

    # ------------------------------------------------------------------------------------------------------ /remember

    def _remember(self, rest: str) -> Flow[str]:
        fields = fields_of(f" {rest} ")
        if fields is None:
            raise CommandError(_FIELDS, show_help=True)
        head, title, body = fields
        kind, scope, tags = self._head(head)
        if not title:
            raise CommandError("the title is empty")
        if not body:
            raise CommandError("the body is empty")
        before = yield self._talk.call("read", title, scope, count_use=False)
        entry = yield self._talk.call("remember", kind, title, body, scope, tags or None)
        return replies.written(entry, before is not None, self._talk.names)

    def _head(self, head: str) -> tuple[str, str, list[str]]:
        """Return kind, scope and tags."""
        words = head.split()
        tags = [word[1:] for word in words[1:] if word.startswith("#") and len(word) > 1]
        words = [word for word in words if not (word.startswith("#") and len(word) > 1)]
        if not words:
            raise CommandError(f"the kind is missing: {', '.join(KINDS)}", show_help=True)
        kind = words[0].lower()
        if kind not in KINDS:
            raise CommandError(f"there is no kind {words[0]!r}; there are {', '.join(KINDS)}")
        if len(words) > 2:
            raise CommandError(
                f"there is too much before the first --: {' '.join(words[2:])!r}; a kind, a scope and #tags come there"
            )
        scope = self._talk.scope(words[1]) if len(words) == 2 else self._talk.first_scope
        return kind, scope, tags

    # -------------------------------------------------------------------------------------------------------- /forget

    def _forget(self, rest: str) -> Flow[str]:
        words = words_of(rest)
        if not words:
            raise CommandError("expected a title: /forget <title> [scope]", show_help=True)
        title, scope = self._talk.title_and_scope(words)
        gone = yield self._talk.call("forget", title, scope)
        if gone is None:
            raise CommandError(self._talk.not_there(title, scope))
        return replies.about("Forgot", gone, self._talk.names)

    # -------------------------------------------------------------------------------------------------------- /memory

    def _memory(self, rest: str) -> Flow[str]:
        words = words_of(rest)
        first = words[0].text.lower() if words and not words[0].quoted else ""
        if first in ("help", "-h", "--help"):
            return self.help()
        manage = managing.COMMANDS.get(first) or bundles.COMMANDS.get(first)
        if manage is not None:
            return (yield from manage(self._talk, words[1:]))
        return (yield from self._list(words))

    def _list(self, words: list[Word]) -> Flow[str]:
        asked: dict[str, str] = {}
        for word in words:
            name, value = self._filter(word)
            if name in asked:
                raise CommandError(f"{name} is given twice: {asked[name]} and {value}")
            asked[name] = value
        scope, status = asked.get("scope"), asked.get("status", "active")
        entries = yield self._talk.call(
            "list", scope, asked.get("kind"), None if status == "all" else status, asked.get("tag"),
            asked.get("category"),
        )  # fmt: skip
        shown = [each for each in entries if "category" in asked or each.category != CONVERSATION]
        where = "any scope" if scope is None else self._talk.names(scope)
        answer = replies.listing(shown, self._talk.names, f"no memories in {where}")
        kept = len(entries) - len(shown)
        return f"{answer}\n\n{kept} kept messages: `/memory category={CONVERSATION}`" if kept else answer

    def _filter(self, word: Word) -> tuple[str, str]:
        name, equals, value = word.text.partition("=")
        if equals and name.lower() in ("status", "kind", "tag", "category", "scope"):
            name, given = name.lower(), value if name.lower() in ("tag", "category") else value.lower()
            if name == "scope":
                given = self._talk.scope(value)
            known = {"status": (*STATUSES, "all"), "kind": KINDS}.get(name, (given,))
            if given not in known:
                raise CommandError(f"there is no {name} {value!r}; there are {', '.join(known)}")
            return name, given
        plain = word.text.lower()
        if plain in (*STATUSES, "all"):
            return "status", plain
        if plain in KINDS:
            return "kind", plain
        return "scope", self._talk.scope(word.text)


class Commanding(LongTermParts):
    """Offers slash commands."""

    @property
    def commands(self) -> Commands:
        """Slash commands for chats: ``commands.run("/memory")`` returns an answer in Markdown."""
        return Commands(cast("LongTermMemory", self))


_COMMANDS: Final[dict[str, Callable[[Commands, str], Flow[str]]]] = {
    "/remember": Commands._remember,
    "/memory": Commands._memory,
    "/forget": Commands._forget,
}
