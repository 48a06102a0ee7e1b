"""Classes that moved, were renamed, or went; and programs that are started in another way."""

from __future__ import annotations

from changes.rows import Row, change, version

CLASS = "class O(BaseModel):\n    id: str\n    note: str = ''\n"
VALUE = "VALUE = O(id='7', note='x')\n"
READS = "type(v) is O and v == O(id='7', note='x')"
MAIN = CLASS + VALUE
BOX = "T = TypeVar('T')\nclass Box(BaseModel, Generic[T]):\n    held: T\n"

MOVED: tuple[Row, ...] = (
    change(
        "a class moved to another module, and is imported where it was",
        CLASS + VALUE,
        version("from shop import O", shop=CLASS),
        READS,
    ),
    change(
        "a class moved, with an alias",
        CLASS + VALUE,
        version(
            "from shop import O as Order\nO = None\nv2 = Order", shop="@register_type(aliases=['app:O'])\n" + CLASS
        ),
        "type(v) is Order and v == Order(id='7', note='x')",
        everywhere=True,
    ),
    change(
        "a class was renamed, with an alias",
        CLASS + VALUE,
        "@register_type(aliases=['app:O'])\n" + CLASS.replace("O(", "P("),
        "type(v) is P and v == P(id='7', note='x')",
    ),
    change(
        "a class was renamed twice, with an alias each time",
        CLASS + VALUE,
        "@register_type(aliases=['app:P', 'app:O'])\n" + CLASS.replace("O(", "Q("),
        "type(v) is Q and v == Q(id='7', note='x')",
    ),
    change(
        "a class has a name that it was given, and moved",
        "@register_type(name='shop.Order')\n" + CLASS + VALUE,
        version("from shop import P", shop="@register_type(name='shop.Order')\n" + CLASS.replace("O(", "P(")),
        "type(v) is P and v == P(id='7', note='x')",
        back="v == VALUE",
    ),
    change(
        "a module moved, with `register_moved`",
        version("from old.shop import O\n" + VALUE, old__shop=CLASS),
        version(
            "from charm_checkpoint import register_moved\nfrom new.shop import O\nregister_moved('old', 'new')",
            new__shop=CLASS,
        ),
        READS,
    ),
    change(
        "a class was renamed, without an alias",
        CLASS + VALUE,
        CLASS.replace("O(", "P("),
        unknown=r"app:O is not loaded",
        everywhere=True,
    ),
    change(
        "a class was deleted", "@dataclass\nclass O:\n    id: str\nVALUE = O('7')", "", unknown="app:O is not loaded"
    ),
    change("an enum was deleted", "class O(Enum):\n    A = 1\nVALUE = O.A", "", unknown="app:O is not loaded"),
    change(
        "a class moved into another one, with an alias",
        CLASS + VALUE,
        """
        class Shop:
            @register_type(aliases=["app:O"])
            class O(BaseModel):
                id: str
                note: str = ""
        """,
        "type(v) is Shop.O and v == Shop.O(id='7', note='x')",
    ),
    change(
        "the outer class of a nested one was renamed, with an alias",
        "class Shop(BaseModel):\n    class O(BaseModel):\n        id: str\nVALUE = Shop.O(id='7')",
        "@register_type(aliases=['app:Shop'])\nclass Store(BaseModel):\n    class O(BaseModel):\n        id: str",
        "type(v) is Store.O and v == Store.O(id='7')",
    ),
    change(
        "a class was defined in a function, and is in the module now, with an alias",
        "def make():\n    class O(BaseModel):\n        id: str\n    return O\nVALUE = make()(id='7')",
        "@register_type(aliases=['app:make.<locals>.O'])\nclass O(BaseModel):\n    id: str",
        "type(v) is O and v == O(id='7')",
    ),
)

GENERIC: tuple[Row, ...] = (
    change(
        "the argument of a generic model was renamed, with an alias",
        BOX + CLASS + "VALUE = Box[O](held=O(id='7'))",
        BOX + "@register_type(aliases=['app:O'])\n" + CLASS.replace("O(", "P(") + "IN_USE = Box[P]",
        "type(v) is Box[P] and v.held == P(id='7')",
    ),
    change(
        "a generic model was renamed, with an alias",
        BOX + CLASS + "VALUE = Box[O](held=O(id='7'))",
        "T = TypeVar('T')\n@register_type(aliases=['app:Box'])\nclass Case(BaseModel, Generic[T]):\n    held: T\n"
        + CLASS + "IN_USE = Case[O]",
        "type(v) is Case[O] and v.held == O(id='7')",
    ),
    change(
        "a generic model is not given its argument yet when it is read",
        BOX + CLASS + "VALUE = Box[O](held=O(id='7'))",
        BOX + CLASS,
        "type(v) is Box[O] and v.held == O(id='7')",
    ),
    change(
        "a generic model got another argument",
        BOX + "VALUE = Box[int](held=1)",
        BOX + "IN_USE = Box[str]",
        "type(v).__pydantic_generic_metadata__['args'] == (int,) and v.held == 1",
    ),
)  # fmt: skip

CLAIMED: tuple[Row, ...] = (
    change(
        "an alias is the name of a class that is there",
        CLASS + VALUE,
        CLASS + "@register_type(aliases=['app:O'])\nclass P(BaseModel):\n    id: str",
        fails="app:O",
    ),
    change(
        "an alias is written with a dot in place of the colon",
        CLASS + VALUE,
        "@register_type(aliases=['app.O'])\n" + CLASS.replace("O(", "P("),
        fails=r"app\.O.*app:O|app:O.*app\.O",
    ),
    change(
        "a class is registered by its name here and by its name there, where it is imported",
        CLASS + VALUE,
        version("from shop import O\nregister_type(O, aliases=['app:O'])", shop=CLASS),
        READS,
    ),
    change(
        "two classes registered one after the other took over each other's names",
        "class A(BaseModel):\n    id: str\nclass B(BaseModel):\n    id: str\nVALUE = [A(id='a'), B(id='b')]",
        """
        class B(BaseModel): id: str
        class C(BaseModel): id: str
        register_type(C, aliases=["app:B"])
        register_type(B, name="app.B", aliases=["app:A"])
        """,
        fails="app:B",
    ),
)

STARTED: tuple[Row, ...] = (
    change("`python app.py`, and then `uvicorn app:app`", version(MAIN, "app.py"), MAIN, READS, back="v == VALUE"),
    change("`uvicorn app:app`, and then `python app.py`", MAIN, version(MAIN, "app.py"), READS, back="v == VALUE"),
    change(
        "`python app.py`, and then `python -m app`",
        version(MAIN, "app.py"),
        version(MAIN, "-m app"),
        READS,
        back="v == VALUE",
    ),
    change(
        "`python -m app`, and then imported as app",
        version(MAIN, "-m app"),
        version(MAIN, "app"),
        READS,
        back="v == VALUE",
    ),
    change(
        "two scripts with a class of the same name on one store",
        version(MAIN, "collect.py"),
        version("class O(BaseModel):\n    id: str\n    pages: int = 0", "report.py"),
        unknown=r"collect:O is not loaded",
    ),
    change(
        "a program that runs as a script and is imported by another module, and registers a class twice",
        version("import other\n@register_type\n" + MAIN, "app.py", other=""),
        version("@register_type\n" + CLASS + "import other", "app.py", other="import app"),
        "vars(v) == vars(O(id='7', note='x'))",
    ),
)

ROWS = (*MOVED, *GENERIC, *CLAIMED, *STARTED)
