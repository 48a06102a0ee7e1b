"""Fields that came, went, or have another name."""

from __future__ import annotations

from changes.rows import Row, change, version

MODEL = """
class O(BaseModel):
    id: str
    note: str = ""
VALUE = O(id="7", note="precious")
"""
DATA = """
@dataclass
class O:
    id: str
    note: str = ""
VALUE = O(id="7", note="precious")
"""
SLOTS = DATA.replace("@dataclass", "@dataclass(slots=True)")
ROW = """
class O(NamedTuple):
    id: str
    note: str = ""
VALUE = O(id="7", note="precious")
"""
V1 = MODEL.replace("(BaseModel)", "(v1.BaseModel)")

CAME: tuple[Row, ...] = (
    change(
        "a field with a default was added to a model",
        "class O(BaseModel): id: str\nVALUE = O(id='7')",
        """
        class O(BaseModel):
            id: str
            note: str = "n"
        """,
        "type(v) is O and v == O(id='7') and v.note == 'n'",
        back="v == VALUE",
        everywhere=True,
    ),
    change(
        "a field with a default was added to a dataclass",
        "@dataclass\nclass O: id: str\nVALUE = O(id='7')",
        """
        @dataclass
        class O:
            id: str
            note: str = "n"
            tags: list[str] = field(default_factory=list)
        """,
        "v == O('7', 'n', []) and vars(v) == vars(O('7'))",
        back="v == VALUE",
    ),
    change(
        "a field with a default was added to a named tuple",
        "class O(NamedTuple): id: str\nVALUE = O(id='7')",
        """
        class O(NamedTuple):
            id: str
            note: str = "n"
        """,
        "type(v) is O and v == O('7')",
    ),
    change(
        "a field was added to a model's base class",
        """
        class Base(BaseModel): id: str
        class O(Base): size: int = 1
        VALUE = O(id='7')
        """,
        """
        class Base(BaseModel):
            id: str
            tags: list[str] = Field(default_factory=list)
        class O(Base): size: int = 1
        """,
        "v == O(id='7') and v.tags == []",
        back="v == VALUE",
    ),
    change(
        "a field without a default was added",
        MODEL,
        """
        class O(BaseModel):
            id: str
            note: str = ""
            total: int
        """,
        unknown=r"O.*'total'",
        everywhere=True,
    ),
    change(
        "a field without a default was added, with an upgrade that makes it",
        MODEL,
        """
        def grown(fields):
            return {"total": len(fields["note"]), **fields}
        @register_type(upgrade=grown)
        class O(BaseModel):
            id: str
            note: str = ""
            total: int
        """,
        "v == O(id='7', note='precious', total=8)",
        back="v == VALUE",
    ),
    change(
        "a field was added whose default a function of the program makes, such as a random id",
        MODEL,
        """
        def fresh(): return 0.5
        class O(BaseModel):
            id: str
            note: str = ""
            number: float = Field(default_factory=fresh)
        """,
        unknown=r"O.*\bnumber\b",
    ),
    change(
        "a random id and a hash that the class makes when an object is made",
        """
        import pathlib, random
        class O(BaseModel):
            id: float = Field(default_factory=random.random)
            _hashed: list[int] = PrivateAttr(default_factory=list)
            def model_post_init(self, context):
                self._hashed.append(hash(self.id))
        VALUE = O()
        SAME = repr((VALUE.id, VALUE._hashed))
        pathlib.Path(__file__ + ".value").write_text(SAME)
        """,
        """
        import pathlib, random
        class O(BaseModel):
            id: float = Field(default_factory=random.random)
            note: str = ""
            _hashed: list[int] = PrivateAttr(default_factory=list)
            def model_post_init(self, context):
                self._hashed.append(hash(self.id))
        SAME = pathlib.Path(__file__.replace("new", "old") + ".value")
        """,
        "repr((v.id, v._hashed)) == SAME.read_text()",
    ),
)

RENAMED: tuple[Row, ...] = (
    change(
        "a field was renamed, with choices of aliases",
        MODEL,
        """
        class O(BaseModel):
            id: str
            remark: str = Field("", validation_alias=AliasChoices("remark", "note"))
        """,
        "v.remark == 'precious' and v.model_fields_set == {'id', 'remark'}",
        everywhere=True,
    ),
    change(
        "a field was renamed, with an alias",
        MODEL,
        """
        class O(BaseModel):
            id: str
            remark: str = Field("", alias="note")
        """,
        "v.remark == 'precious'",
    ),
    change(
        "a field of a pydantic dataclass was renamed, with an alias",
        DATA.replace("@dataclass", "import pydantic\n@pydantic.dataclasses.dataclass"),
        """
        import pydantic
        @pydantic.dataclasses.dataclass
        class O:
            id: str
            remark: str = Field("", validation_alias=AliasChoices("remark", "note"))
        """,
        "v.remark == 'precious'",
    ),
    change(
        "a field of a pydantic v1 model was renamed, with an alias",
        V1,
        """
        class O(v1.BaseModel):
            id: str
            remark: str = v1.Field("", alias="note")
        """,
        "v.remark == 'precious'",
    ),
    change(
        "a field was renamed, without an alias",
        MODEL,
        """
        class O(BaseModel):
            id: str
            remark: str = "r"
        """,
        "v.remark == 'r' and v == O(id='7') and v.model_dump() == {'id': '7', 'remark': 'r'}",
        back="v == VALUE",
        everywhere=True,
    ),
    change(
        "a field of a dataclass was renamed, with an upgrade",
        DATA,
        """
        def renamed(fields):
            return {"remark": fields.pop("note"), **fields} if "note" in fields else fields
        @register_type(upgrade=renamed)
        @dataclass
        class O:
            id: str
            remark: str = ""
        """,
        "v == O('7', 'precious')",
    ),
    change(
        "two fields changed names with each other, with versions and upgrades",
        MODEL,
        """
        def swapped(fields):
            return {"id": fields["note"], "note": fields["id"]}
        @register_type(version=2, upgrade={1: swapped})
        class O(BaseModel):
            id: str
            note: str = ""
        """,
        "v == O(id='precious', note='7')",
    ),
    change(
        "a key of a TypedDict was renamed",
        """
        class O(TypedDict): note: str
        VALUE: O = {"note": "precious"}
        """,
        "class O(TypedDict): remark: str",
        "v == {'note': 'precious'}",
        back="v == VALUE",
    ),
)

WENT: tuple[Row, ...] = (
    change(
        "a field of a model was removed",
        MODEL,
        "class O(BaseModel): id: str",
        "v == O(id='7') and v.model_copy(deep=True) == v and v.model_dump() == {'id': '7'}",
        back="v == VALUE",
        everywhere=True,
    ),
    change(
        "a field of a dataclass was removed",
        DATA,
        "@dataclass\nclass O: id: str",
        "v == O('7') and dataclasses.asdict(v) == {'id': '7'} and dataclasses.replace(v) == v",
        back="v == VALUE",
    ),
    change(
        "a field of a dataclass with slots was removed",
        SLOTS,
        "@dataclass(slots=True)\nclass O: id: str",
        "v == O('7')",
        says=r"O.*\bnote\b",
        back="v in (VALUE, O('7', ''))",
    ),
    change(
        "a field of a named tuple was removed",
        ROW,
        "class O(NamedTuple): id: str",
        "v == O('7')",
        says=r"O.*\bnote\b",
        back="v in (VALUE, O('7', ''))",
    ),
    change(
        "a field of a pydantic v1 model was removed",
        V1,
        "class O(v1.BaseModel): id: str",
        "v == O(id='7') and v.dict() == {'id': '7'}",
        says=r"O.*\bnote\b",
    ),
    change(
        'a field was removed from a model with `extra="allow"`',
        MODEL,
        """
        class O(BaseModel):
            model_config = ConfigDict(extra="allow")
            id: str
        """,
        "v.note == 'precious' and v.model_extra == {'note': 'precious'} and v == v.model_copy(deep=True)",
        back="v == VALUE",
    ),
    change(
        'a field was removed from a model with `extra="forbid"`',
        MODEL,
        """
        class O(BaseModel):
            model_config = ConfigDict(extra="forbid")
            id: str
        """,
        "v == O(id='7') and O.model_validate(v.model_dump()) == v",
        back="v == VALUE",
    ),
    change(
        "a field became a property",
        MODEL,
        """
        class O(BaseModel):
            id: str
            @property
            def note(self): return "made of " + self.id
        """,
        "v.note == 'made of 7'",
        back="v == VALUE",
    ),
    change(
        '`extra="allow"` was removed',
        """
        class O(BaseModel):
            model_config = ConfigDict(extra="allow")
            id: str
        VALUE = O(id="7", more=4)
        """,
        "class O(BaseModel): id: str",
        "v == O(id='7') and v == v.model_copy(deep=True) and v.model_extra is None and v.model_fields_set == {'id'}",
        back="v == VALUE and v.more == 4",
    ),
)

PRIVATE: tuple[Row, ...] = (
    change(
        "a private attribute with a default was added",
        MODEL,
        """
        class O(BaseModel):
            id: str
            note: str = ""
            _seen: int = PrivateAttr(0)
        """,
        "v == O(id='7', note='precious') and v._seen == 0",
        back="v == VALUE",
    ),
    change(
        "a private attribute was added that `model_post_init` sets",
        MODEL,
        """
        class O(BaseModel):
            id: str
            note: str = ""
            _made: str = PrivateAttr()
            def model_post_init(self, context): self._made = "made of " + self.id
        """,
        unknown=r"O.*_made",
    ),
    change(
        "a private attribute was removed",
        """
        class O(BaseModel):
            id: str
            _seen: int = PrivateAttr(0)
        VALUE = O(id="7")
        VALUE._seen = 3
        """,
        "class O(BaseModel): id: str",
        "v == O(id='7') and v == v.model_copy(deep=True)",
        back="v == VALUE and v._seen == 3",
    ),
    change(
        "a plain class that is registered gained an attribute, with an upgrade",
        """
        @register_type
        class O:
            def __init__(self): self.id = "7"
        VALUE = O()
        """,
        """
        @register_type(upgrade=lambda fields: {"tags": [], **fields})
        class O:
            def __init__(self): self.id, self.tags = "7", []
        """,
        "vars(v) == vars(O())",
    ),
    change(
        "a plain class that is registered gained an attribute that the class has, too",
        """
        @register_type
        class O:
            def __init__(self): self.id = "7"
        VALUE = O()
        """,
        """
        @register_type
        class O:
            size: int = 3
            def __init__(self): self.id = "7"
        """,
        "(v.id, v.size) == ('7', 3)",
    ),
)

HARMLESS: tuple[Row, ...] = (
    change(
        "the fields of a model stand in another order",
        MODEL,
        """
        class O(BaseModel):
            note: str = ""
            id: str
        """,
        "v == O(id='7', note='precious')",
        back="v == VALUE",
    ),
    change(
        "the fields of a named tuple stand in another order",
        "class O(NamedTuple):\n    id: str\n    note: str\nVALUE = O(id='7', note='precious')",
        "class O(NamedTuple):\n    note: str\n    id: str",
        "v == O(id='7', note='precious')",
        back="v == VALUE",
    ),
    change(
        "a dataclass became frozen, with slots",
        DATA,
        DATA.replace("@dataclass", "@dataclass(frozen=True, slots=True, kw_only=True)"),
        "v == O(id='7', note='precious') and not hasattr(v, '__dict__')",
        back="v == VALUE",
    ),
    change(
        "a validator came that what is stored would not pass",
        MODEL,
        """
        from pydantic import field_validator
        class O(BaseModel):
            id: str
            note: str = Field("", max_length=3)
            @field_validator("id")
            @classmethod
            def _checked(cls, value): raise ValueError("no")
        """,
        "(v.id, v.note) == ('7', 'precious')",
        back="v == VALUE",
    ),
    change(
        "a method, a computed field and a docstring came",
        MODEL,
        """
        from pydantic import computed_field
        class O(BaseModel):
            "An order."
            id: str
            note: str = Field("", description="What was said.")
            @computed_field
            @property
            def size(self) -> int: return len(self.note)
        """,
        "v == O(id='7', note='precious') and v.size == 8",
        back="v == VALUE",
    ),
    change(
        "a module got `from __future__ import annotations`",
        MODEL,
        version("from __future__ import annotations\n" + MODEL.strip()),
        "v == VALUE",
        back="v == VALUE",
    ),
)

ROWS = (*CAME, *RENAMED, *WENT, *PRIVATE, *HARMLESS)
