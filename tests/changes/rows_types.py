"""Fields whose type changed, and classes whose kind did."""

from __future__ import annotations

from changes.rows import Row, change, version


def retyped(
    what: str,
    before: str,
    value: str,
    after: str,
    reads: str = "",
    *,
    unknown: str = "",
    right: str = "",
    says: str = "",
    more: str = "",
    base: str = "",
) -> Row:
    """Return a row of a field, ``id``, of another type: of a model, or what ``base`` is the head of."""
    head = base or "class O(BaseModel):"
    common = f"{more}\n{head}\n    size: int\n    id: "
    return change(
        f"a field's type: {what}",
        f"{common}{before}\nVALUE = O(size=1, id={value})",
        common + after,
        reads,
        unknown=unknown,
        right=right,
        says=says,
    )


DATA, FUTURE = "@dataclass\nclass O:", "from __future__ import annotations"
INNER = "class A(BaseModel):\n    street: str\n    number: int = 1\n"
COLOUR = "class C(Enum):\n    RED = 'red'\n"
FIELD = r"O.*\bid\b"

V1, NAMED = "class O(v1.BaseModel):", "class O(NamedTuple):"
TIMES, NUMBERS = "from datetime import datetime", "from decimal import Decimal"
DAY = "datetime(2026, 1, 1)"

UNFIT: tuple[Row, ...] = (
    retyped("str to int", "str", "'7'", "int", unknown=FIELD, right="v.id == 7"),
    retyped("str to int, of a dataclass", "str", "'7'", "int", unknown=FIELD, right="v.id == 7", base=DATA),
    retyped("str to int, of a named tuple", "str", "'7'", "int", unknown=FIELD, right="v.id == 7", base=NAMED),
    retyped("str to int, of a pydantic v1 model", "str", "'7'", "int", unknown=FIELD, right="v.id == 7", base=V1),
    retyped("int to str", "int", "7", "str", unknown=FIELD, right="v.id == '7'"),
    retyped("str to an enum", "str", "'red'", "C", unknown=FIELD, right="v.id is C.RED", more=COLOUR),
    retyped("str to datetime", "str", "'2026-01-01'", "datetime", unknown=FIELD, right=f"v.id == {DAY}", more=TIMES),
    retyped("float to Decimal", "float", "1.5", "Decimal", unknown=FIELD, right="v.id == Decimal(1.5)", more=NUMBERS),
    retyped("list[str] to list[int]", "list[str]", "['a']", "list[int]", unknown=FIELD),
    retyped("list[str] to set[str], of a dataclass", "list[str]", "['a']", "set[str]", unknown=FIELD, base=DATA),
    retyped("str to list[str]", "str", "'a'", "list[str]", unknown=FIELD),
    retyped("dict to a model that it does not fit", "dict", "{'road': 'x'}", "A", unknown=FIELD, more=INNER),
    retyped("Optional to required, where None is stored", "Optional[str]", "None", "str", unknown=FIELD),
    retyped(
        "a Literal was tightened, and what is stored went", "Literal['a', 'b']", "'b'", "Literal['a']", unknown=FIELD
    ),
    change(
        "a field's type: str to int, of a dataclass with `from __future__ import annotations`",
        version(FUTURE + "\n@dataclass\nclass O:\n    id: str\nVALUE = O('7')"),
        version(FUTURE + "\n@dataclass\nclass O:\n    id: int"),
        unknown=FIELD,
    ),
)

FITTING: tuple[Row, ...] = (
    retyped("int to float", "int", "7", "float", "v.id == 7"),
    retyped("str to Union[str, int]", "str", "'7'", "Union[str, int]", "v == O(size=1, id='7')"),
    retyped("required to Optional", "str", "'7'", "Optional[str]", "v == O(size=1, id='7')"),
    retyped("Optional to required, where a value is stored", "Optional[str]", "'7'", "str", "v == O(size=1, id='7')"),
    retyped("str to Any", "str", "'7'", "Any", "v == O(size=1, id='7')"),
    retyped("str to a Literal that it is one of", "str", "'a'", "Literal['a']", "v == O(size=1, id='a')"),
    retyped("list to list[str]", "list", "['a']", "list[str]", "v == O(size=1, id=['a'])", base=DATA),
    retyped("str with a constraint that fails", "str", "'7'", "Annotated[str, Field(min_length=3)]", "v.id == '7'"),
    retyped(
        "dict to a model that it fits", "dict", "{'street': 'x', 'number': 2}", "A", "v.id == A(street='x', number=2)",
        more=INNER, says=r"O\.id is A now",
    ),
)  # fmt: skip

UPGRADED: tuple[Row, ...] = (
    change(
        "a field's type: str to int, with `validate=True`",
        "class O(BaseModel): id: str\nVALUE = O(id='7')",
        "@register_type(validate=True)\nclass O(BaseModel): id: int",
        "v == O(id=7)",
    ),
    change(
        "a field's type: str to int, with an upgrade",
        "@dataclass\nclass O:\n    id: str\nVALUE = O(id='7')",
        """
        @register_type(version=2, upgrade={1: lambda fields: {**fields, "id": int(fields["id"])}})
        @dataclass
        class O:
            id: int
        """,
        "v == O(id=7)",
    ),
    change(
        "a field's type: str to an enum, with upgrades over two versions",
        "@register_type(version=2)\nclass O(BaseModel): id: str\nVALUE = O(id='r')",
        """
        class C(Enum): RED = "red"
        @register_type(version=4, upgrade={
            2: lambda fields: {"id": {"r": "red"}[fields["id"]]}, 3: lambda fields: {"id": C(fields["id"])},
        })
        class O(BaseModel): id: C
        """,
        "v == O(id=C.RED)",
    ),
    change(
        "what a newer version stored is read by an older one",
        "@register_type(version=3)\nclass O(BaseModel): id: str\nVALUE = O(id='7')",
        "@register_type(version=2)\nclass O(BaseModel): id: str",
        unknown=r"O.*\bversion 3\b",
    ),
)

HELD: tuple[Row, ...] = (
    change(
        "the class of an object inside another changed, and does not fit",
        """
        class A(BaseModel): street: str
        class O(BaseModel):
            id: str
            home: A
        VALUE = O(id="7", home=A(street="x"))
        """,
        """
        class A(BaseModel): street: int
        class O(BaseModel):
            id: str
            home: A
        """,
        "(type(v), v.id, type(v.home).__name__, v.home.fields) == (O, '7', 'Unknown', {'street': 'x'})",
        says=r"A.*street",
        back="v == VALUE",
    ),
)

KINDS: tuple[Row, ...] = (
    change(
        "a model became a dataclass",
        "class O(BaseModel):\n    id: str\n    n: int = 1\nVALUE = O(id='7')",
        "@dataclass\nclass O:\n    id: str\n    n: int = 1",
        "type(v) is O and v == O('7', 1)",
        back="v == VALUE",
        says=r"O was stored as a",
    ),
    change(
        "a dataclass became a model",
        "@dataclass\nclass O:\n    id: str\n    n: int = 1\nVALUE = O(id='7')",
        "class O(BaseModel):\n    id: str\n    n: int = 1",
        "type(v) is O and v == O(id='7', n=1)",
        back="v == VALUE",
        everywhere=True,
        says=r"O was stored as a",
    ),
    change(
        "a named tuple became a dataclass",
        "class O(NamedTuple):\n    id: str\n    n: int = 1\nVALUE = O(id='7')",
        "@dataclass\nclass O:\n    id: str\n    n: int = 1",
        "type(v) is O and v == O('7', 1)",
        back="v == VALUE",
        says=r"O was stored as a",
    ),
    change(
        "a dataclass became a named tuple",
        "@dataclass\nclass O:\n    id: str\n    n: int = 1\nVALUE = O(id='7')",
        "class O(NamedTuple):\n    id: str\n    n: int = 1",
        "type(v) is O and v == O('7', 1)",
        back="v == VALUE",
        says=r"O was stored as a",
    ),
    change(
        "a pydantic v1 model became one of version 2",
        "class O(v1.BaseModel):\n    id: str\n    n: int = 1\nVALUE = O(id='7')",
        "class O(BaseModel):\n    id: str\n    n: int = 1",
        "type(v) is O and v == O(id='7', n=1)",
        back="v == VALUE",
        says=r"O was stored as a",
    ),
    change(
        "a model became a TypedDict",
        "class O(BaseModel):\n    id: str\n    n: int = 1\nVALUE = O(id='7')",
        "class O(TypedDict):\n    id: str\n    n: int",
        "v == {'id': '7', 'n': 1}",
        says=r"O was stored as a",
    ),
    change(
        "a TypedDict became a model, by itself in a channel",
        "class O(TypedDict):\n    id: str\nVALUE: O = {'id': '7'}",
        "class O(BaseModel):\n    id: str",
        "v == {'id': '7'}",
    ),
    change(
        "a model became a dataclass that it does not fit",
        "class O(BaseModel):\n    id: str\nVALUE = O(id='7')",
        "@dataclass\nclass O:\n    id: int",
        unknown=FIELD,
    ),
    change(
        "a model became a dataclass that it does not fit, with an upgrade",
        "class O(BaseModel):\n    id: str\nVALUE = O(id='7')",
        """
        @register_type(version=2, upgrade={1: lambda fields: {"id": int(fields["id"])}})
        @dataclass
        class O:
            id: int
        """,
        "v == O(7)",
        says=r"O was stored as a",
    ),
)

ROWS = (*UNFIT, *FITTING, *UPGRADED, *HELD, *KINDS)
