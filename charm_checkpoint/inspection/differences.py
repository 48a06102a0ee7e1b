"""What differs between two states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from charm_checkpoint.inspection.checkpoints import CheckpointInfo
from charm_checkpoint.inspection.states import Note
from charm_checkpoint.plain import Plain


@dataclass(frozen=True, slots=True)
class Change(Plain):
    """One difference.

    ``path`` is where, as ``user.name``, ``messages[3].content``, or ``messages[12:15]`` for elements that were added
    or removed together: ``old`` or ``new`` is then a list of them. Of what was added it is the place in the second
    state, of anything else that in the first. Both values are plain JSON, None where there is none.
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    old: Any = field(default=None, repr=False)
    new: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StateDiff(Plain):
    """What must be done to the state ``a`` to make it ``b``.

    ``notes`` tell of what could not be compared as it was, such as a damaged value.
    """

    a: CheckpointInfo
    b: CheckpointInfo
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def is_same(self) -> bool:
        """Tell whether nothing differs."""
        return not self.changes
