"""Values in a line, cut short, for people to read."""

from __future__ import annotations

import reprlib
from typing import Any


class Brief(reprlib.Repr):
    """Writes values as ``repr`` does, but of a long list only the end, and of a message its text."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = 4
        self.maxlist = 2
        self.maxstring = 60
        self.maxother = 80

    def repr_list(self, x: list[Any], level: int) -> str:
        """Write the last items and how many there are before them."""
        if level <= 0:
            return f"[{len(x)} items]"
        kept = x[-self.maxlist :]
        shown = [self.repr1(item, level - 1) for item in kept]
        more = [f"… {len(x) - len(kept)} more"] if len(x) > len(kept) else []
        return f"[{', '.join(more + shown)}]"

    def repr_instance(self, x: Any, level: int) -> str:
        """Write a chat message as who said what, and anything else as ``repr`` does."""
        kind, content = getattr(x, "type", None), getattr(x, "content", None)
        if isinstance(kind, str) and isinstance(content, (str, list)):
            return f"{kind}: {self.repr1(content, level - 1)}"
        return super().repr_instance(x, level)

    def repr_Unknown(self, x: Any, level: int) -> str:  # noqa: N802 (reprlib finds it by the name of the class)
        """Write an object that could not be restored as the name of its class and what is stored of it."""
        return f"Unknown {x.class_name} {self.repr1(x.fields, level - 1)}"


def brief(value: Any) -> str:
    """Write a value in a line of a few hundred characters at most."""
    return Brief().repr(value)
