"""What all slash commands share: the memories, and how titles and scopes are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from charm_checkpoint.config.options import suggest
from charm_checkpoint.items.flow import Work
from charm_checkpoint.long_term.commands.errors import CommandError
from charm_checkpoint.long_term.commands.replies import Names
from charm_checkpoint.long_term.commands.words import Word
from charm_checkpoint.long_term.parts import ALIASES
from charm_checkpoint.long_term.steps import call

if TYPE_CHECKING:
    from charm_checkpoint.long_term.memories import LongTermMemory


class Talk:
    """The memories that a chat is about, and how it calls their scopes."""

    def __init__(self, long_term: LongTermMemory, names: Names) -> None:
        self.long_term = long_term
        self.names = names

    @property
    def first_scope(self) -> str:
        """The scope of what names none: the project's own, if there is one."""
        return next(iter(self.long_term.scopes))

    def call(self, method: str, *args: Any, **options: Any) -> Work:
        """Call a method of the memories', its async twin in an async flow."""
        return call(self.long_term, method, *args, **options)

    def is_scope(self, word: Word) -> bool:
        """Tell whether a word is a scope's name, in any case of letters; one in quotes is none."""
        return not word.quoted and self._known(word.text) is not None

    def scope(self, text: str) -> str:
        """Return a scope by its name; raises `CommandError` if there is none."""
        known = self._known(text)
        if known is None:
            names = list(map(self.names, self.long_term.scopes))
            raise CommandError(f"unknown scope {text!r}; {suggest(text, names)}")
        return known

    def _known(self, text: str) -> str | None:
        plain = text.lower()
        by_name = {name.lower(): name for name in self.long_term.scopes}
        by_name.update({self.names(name).lower(): name for name in self.long_term.scopes})
        return by_name.get(plain) or by_name.get(ALIASES.get(plain, plain))

    def title_and_scope(self, words: Sequence[Word]) -> tuple[str, str | None]:
        """Return a title and a scope: the last of several words, if it is one."""
        if len(words) > 1 and self.is_scope(words[-1]):
            return joined(words[:-1]), self.scope(words[-1].text)
        return joined(words), None

    def not_there(self, title: str, scope: str | None) -> str:
        """Return that there is no such memory."""
        return f"there is no memory {title!r}" + ("" if scope is None else f" in {self.names(scope)}")


def joined(words: Sequence[Word]) -> str:
    """Return words as a title, a space between any two."""
    return " ".join(word.text for word in words)
