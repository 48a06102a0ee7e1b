"""Objects that this process cannot restore: kept as they are stored, to be written back byte for byte.

A thread outlives the program's classes. An object whose class is gone, or does not take any more what was stored, must
not stand in the way of all else in its thread, nor be lost by the next save. A node that uses it is told why it cannot.
"""

from __future__ import annotations

from typing import Any, NoReturn

import ormsgpack

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import ENUM, HOOKED, MODEL, MODEL_V1, NAMEDTUPLE, OBJECT, SUBCLASS
from charm_checkpoint.values.serde.stored_names import parts_of

_CLASS = 30
_SHOWN = 500
"""Characters of its fields that are printed."""
_ASKED = frozenset(
    {"dict", "dtype", "get_secret_value", "isoformat", "item", "json", "model_dump", "model_dump_json", "shape"}
    | {"to_dict", "to_json", "tobytes", "tolist"}
)
"""What libraries ask any object for that they print, compare or turn into JSON: it has none of it."""
_OBJECTS = frozenset({MODEL, MODEL_V1, OBJECT, ENUM, NAMEDTUPLE, SUBCLASS, HOOKED})


# These are no methods: any name more would hide an attribute that objects of a program may have had.


def as_stored(unknown: Unknown) -> ormsgpack.Ext:
    """Return what is written again of an object that could not be restored."""
    return ormsgpack.Ext(unknown._code, unknown._data)


def column_body(unknown: Unknown) -> bytes | None:
    """Return the body of a model that was read from the columns of a run, and is to go there again; else None."""
    return unknown._data if unknown._in_columns else None


def name_in(code: int, data: bytes) -> str:
    """Return the name of the class that a stored object names, without what is said of its shape; empty for none."""
    if code == _CLASS:
        return parts_of(data.decode()).name
    if code not in _OBJECTS:
        return ""
    name = ormsgpack.unpackb(data, ext_hook=lambda code, data: None)[0]
    return parts_of(name).name if type(name) is str else ""


class _NotThere(TypeNotLoaded, AttributeError):
    """Raised for attributes of which libraries ask whether an object has them."""


class Unknown:
    """An object as it is stored, of a class that this process cannot restore; immutable.

    Reading makes it. It is equal to another one of the same content, may be a key, is printed, copied and pickled, and
    is stored again as it was. Whatever else is done with it, such as asking for an attribute that the object had, or
    putting it into an f-string, raises `TypeNotLoaded` with the reason.
    """

    __slots__ = ("_code", "_data", "_in_columns", "_reason")

    _code: int
    _data: bytes
    _reason: str
    _in_columns: bool

    def __init__(self, code: int, data: bytes, reason: str, in_columns: bool = False) -> None:
        for name, value in (("_code", code), ("_data", data), ("_reason", reason), ("_in_columns", in_columns)):
            object.__setattr__(self, name, value)

    @property
    def class_name(self) -> str:
        """The name that its class was stored under, as ``module:qualname``; empty if it is no object of a class."""
        return name_in(self._code, self._data)

    @property
    def reason(self) -> str:
        """Why it cannot be restored."""
        return self._reason

    @property
    def fields(self) -> Any:
        """What is stored of it, as plain data: a dict of its fields, or a plain value of what has none."""
        from charm_checkpoint.values.serde.raw import plain_value

        return plain_value(self._code, self._data)

    def __eq__(self, other: object) -> bool:
        return type(other) is Unknown and (self._code, self._data) == (other._code, other._data)

    def __hash__(self) -> int:
        return hash((self._code, self._data))

    def __repr__(self) -> str:
        fields = repr(self.fields)
        return f"Unknown({self.class_name!r}, {fields if len(fields) <= _SHOWN else fields[:_SHOWN] + '…'})"

    def __format__(self, spec: str) -> NoReturn:
        raise self._used()  # or a prompt would tell a model of an Unknown

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, memo: Any) -> Unknown:
        return self

    def __reduce__(self) -> Any:
        return Unknown, (self._code, self._data, self._reason, self._in_columns)

    def _asdict(self) -> dict[str, Any]:
        """Return what JSON has of it, such as that of LangGraph's server."""
        return {"unknown": self.class_name, "reason": self.reason, "fields": self.fields}

    def __getattr__(self, name: str) -> NoReturn:
        if name in Unknown.__slots__:  # of one that is not made yet
            raise AttributeError(name)
        # What begins with an underscore is Python's, or a library's, which ask whether any object has it.
        raise self._used(_NotThere if name.startswith("_") or name in _ASKED else TypeNotLoaded)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise self._used()

    def __delattr__(self, name: str) -> NoReturn:
        raise self._used()

    def _used(self, kind: type[TypeNotLoaded] = TypeNotLoaded) -> TypeNotLoaded:
        return kind(f"{self.class_name or 'A value'} could not be restored when it was read: {self._reason}")

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise self._used()

    __getitem__ = __setitem__ = __delitem__ = __iter__ = __len__ = __contains__ = __call__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = __index__ = __enter__ = __await__ = __aiter__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __or__ = __ror__ = __and__ = __rand__ = _refuse

    def __bool__(self) -> bool:
        return True  # else its length would be asked
