"""Fields that are stored of an object and that its class does not have: kept beside the object, or dropped and told.

They may come from a version of the program that is still running, or that comes back. So they are kept where an
instance has a place that nothing else looks at: one reserved entry of its ``__dict__``, a dict by their names. It goes
wherever the object is copied to, is stored with it, and a class that declares one of the fields finds it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import MODEL, OBJECT
from charm_checkpoint.values.serde.class_reading import attribute, name_in_code, path_of
from charm_checkpoint.values.serde.classes import KEPT, ClassLayout
from charm_checkpoint.values.serde.telling import Finding, Tell

NO_STATE = "what an object holds is a dict of attributes by their names"
"""What is said of anything else."""

_TEXT = frozenset({str})


def is_state(stored: Any) -> bool:
    """Say whether something is a dict of attributes by their names."""
    return type(stored) is dict and _TEXT.issuperset(map(type, stored))


class Teller(Protocol):
    """Who reads: whether fields that a class does not have are an error, and to whom what is found is told."""

    @property
    def strict(self) -> bool:
        """Whether a stored field that the class does not have is an error."""
        ...

    @property
    def tell(self) -> Tell:
        """What takes what is found."""
        ...

    def made_of(self, cls: Any, fields: dict[str, Any]) -> Any:
        """Return an object of a class that has just these fields, or raise TypeNotLoaded."""
        ...


def left_over(teller: Teller, cls: type, layout: ClassLayout, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept beside an object, of fields that its class does not have: all, or none if there is no place.

    Raises TypeNotLoaded, which names them, where that is asked for.
    """
    if not fields:
        return {}
    where = path_of(cls)
    if teller.strict:
        raise TypeNotLoaded(
            f"{where} does not have the stored {_called(fields)}, and strict=True takes that for an error. Bring it "
            f"back, say what becomes of it with register_type({name_in_code(cls)}, upgrade=…), or give the field that "
            "took its place an alias."
        )
    stays = _has_place(cls, layout)
    for name in fields:
        if stays:
            said = f"{where} does not have the stored field {shown(name)} any more; it is kept beside the object."
            teller.tell(Finding("kept", where, name, said))
        else:
            said = (
                f"{where} does not have the stored field {shown(name)} any more, and no place to keep it: it is "
                "dropped, and gone with the next save. Bring it back, say what becomes of it with "
                f"register_type({name_in_code(cls)}, upgrade=…), or give the field that took its place an alias."
            )
            teller.tell(Finding("lost", where, name, said))
    return dict(fields) if stays else {}


def _has_place(cls: type, layout: ClassLayout) -> bool:
    """Say whether instances have a ``__dict__`` of which only their fields are looked at."""
    if layout.was == MODEL:
        if layout.is_root_model:
            return False
        config = attribute(cls, "model_config") or {}
        # A model that is validated again is taken for all that it holds.
        return config.get("extra") != "forbid" or config.get("revalidate_instances", "never") == "never"
    return layout.was == OBJECT and layout.has_dict


def kept_in(others: Any) -> dict[str, Any]:
    """Take what was kept out of what an object holds besides its fields; raises TypeError for what is no such dict."""
    if type(others) is not dict or KEPT not in others:
        return {}
    kept: dict[str, Any] = others.pop(KEPT)
    if not is_state(kept):
        raise TypeError(NO_STATE)
    return kept


def storable_kept(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of what is kept beside an object, as it is stored with others; empty if there is none."""
    kept = space.get(KEPT)
    return {KEPT: kept} if kept and is_state(kept) else {}


def shown(name: str) -> str:
    """Return a stored name for a log line: as it is if it could be a name, and else without what is no plain text."""
    return name if name.isidentifier() else ascii(name)


def _called(names: Iterable[str]) -> str:
    texts = list(map(shown, names))
    return f"field{'s' if len(texts) > 1 else ''} {', '.join(texts)}"
