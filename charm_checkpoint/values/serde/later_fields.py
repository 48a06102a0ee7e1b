"""Fields that a newer version of LangGraph has given its classes: an older one must not go on without what they say."""

from __future__ import annotations

from types import NoneType
from typing import Any

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import ClassLayout
from charm_checkpoint.values.serde.kept import NO_STATE, is_state
from charm_checkpoint.values.serde.known_classes import LATER_FIELDS


def without_later_fields(cls: type, layout: ClassLayout, state: dict[str, Any]) -> dict[str, Any]:
    """Leave out the fields that the class does not have in this process, where nothing is said in them.

    Raises TypeNotLoaded for one in which something is said.
    """
    if not is_state(state):
        raise TypeError(NO_STATE)
    later = LATER_FIELDS.get(layout.name, {})
    for name in (state.keys() - layout.names) & later.keys():
        version, nothing = later[name]
        if type(state[name]) not in (str, NoneType) or state[name] != nothing:
            raise TypeNotLoaded(
                f"this {path_of(cls)} was stored with a {name}, which the class does not have in this process. Install "
                f"{version} or newer."
            )
    return {name: value for name, value in state.items() if name in layout.names or name not in later}
