"""Enums whose members changed."""

from __future__ import annotations

from changes.rows import Row, change

LOW_HIGH = "class E(Enum):\n    LOW = auto()\n    HIGH = auto()\n"


def members(what: str, before: str, value: str, after: str, reads: str = "", **more: str) -> Row:
    """Return a row of an enum."""
    return change(what, f"{before}\nVALUE = E.{value}", after, reads, **more)  # type: ignore[arg-type]


ROWS: tuple[Row, ...] = (
    members(
        "a member was added to an enum, at its end",
        LOW_HIGH, "HIGH", LOW_HIGH + "    NEW = auto()",
        "v is E.HIGH", back="v is E.HIGH",
    ),
    members(
        "a member was added between others, whose values are `auto()`",
        LOW_HIGH, "HIGH", "class E(Enum):\n    LOW = auto()\n    MID = auto()\n    HIGH = auto()",
        "v is E.HIGH", says=r"E.*HIGH", back="v is E.HIGH",
    ),
    members(
        "members with `auto()` stand in another order",
        LOW_HIGH, "LOW", "class E(Enum):\n    HIGH = auto()\n    LOW = auto()",
        "v is E.LOW", says=r"E.*LOW", back="v is E.LOW",
    ),
    members(
        "the members of an IntEnum were renumbered",
        "class E(IntEnum):\n    LOW = 1\n    HIGH = 2", "HIGH", "class E(IntEnum):\n    LOW = 10\n    HIGH = 1",
        "v is E.HIGH", says=r"E.*HIGH", back="v is E.HIGH",
    ),
    members(
        "a member of text got another value",
        "class E(str, Enum):\n    LOW = 'low'", "LOW", "class E(str, Enum):\n    LOW = 'lowest'",
        "v is E.LOW", says=r"E.*LOW", back="v is E.LOW",
    ),
    members(
        "flags with `auto()` got one between them",
        "class E(Flag):\n    A = auto()\n    B = auto()\n    C = auto()", "A | E.C",
        "class E(Flag):\n    A = auto()\n    NEW = auto()\n    B = auto()\n    C = auto()",
        "v == E.A | E.C", says=r"E.*\bC\b",
    ),
    members(
        "a member was renamed, and has its value",
        "class E(Enum):\n    LOW = 'low'", "LOW", "class E(Enum):\n    SMALL = 'low'",
        "v is E.SMALL", says=r"E\.LOW.*SMALL", back="v is E.LOW",
    ),
    members(
        "a member was renamed and kept its former name as an alias",
        "class E(Enum):\n    LOW = 'low'", "LOW", "class E(Enum):\n    SMALL = 'low'\n    LOW = 'low'",
        "v is E.SMALL", back="v is E.LOW",
    ),
    members("a member was removed", LOW_HIGH, "HIGH", "class E(Enum):\n    LOW = auto()", unknown=r"E has no member"),
    members(
        "a member was removed, with an upgrade",
        LOW_HIGH, "HIGH",
        """
        @register_type(version=2, upgrade={1: lambda member: {"name": "LOW", "value": 1}})
        class E(Enum):
            LOW = auto()
        """,
        "v is E.LOW",
    ),
    members(
        "an enum of plain members became one of text",
        "class E(Enum):\n    LOW = 'low'", "LOW", "class E(str, Enum):\n    LOW = 'low'",
        "v is E.LOW", back="v is E.LOW",
    ),
)  # fmt: skip
