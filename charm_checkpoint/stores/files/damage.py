"""What to say of logs of local files that are damaged, or lie in the place of others; pure."""

from __future__ import annotations

from pathlib import Path

from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.space import Space
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES, identity

_NO_RECORD = "what is there is no record, and nothing that a crash leaves"


def stranger(contents: Contents, folder: str) -> str | None:
    """Return whose a log is that lies in the folder of another thread, None if it is that one's own."""
    thread = contents.thread
    if contents.identity:
        is_own = contents.identity.hex() == folder
    else:
        is_own = thread is None or folder in {identity(b"", kind, thread).hex() for kind in (CHECKPOINTS, MESSAGES)}
    return None if is_own else "a deleted thread" if thread is None else f"thread {thread!r}"


def damage_of(path: Path, contents: Contents, whose: str | None) -> str | None:
    """Say what is wrong with a thread's log, None if nothing is; ``whose`` it is if it is another one's."""
    if whose is not None:
        return (
            f"{path} is the log of {whose}, and lies in the folder of another thread. Put back that one's own file, or "
            "delete the thread that is asked for here."
        )
    if contents.tail != "damaged":
        return None
    return (
        f"{path} is damaged at byte {contents.end}: {_NO_RECORD}. Put back a copy of the file; or cut off what is "
        "behind that byte, with `charm-checkpoint repair`; or delete the thread."
    )


def misplaced_space(path: Path, space: bytes | None) -> StoreCorrupt:
    """Return the error for a log of items that lies in the folder of another space."""
    return StoreCorrupt(
        f"{path} is the log of the space {space!r} of items, and lies in the folder of another one. Put back that "
        "one's own file, or remove this one, and the items of one namespace with it."
    )


def damaged_space(path: Path, space: Space) -> StoreCorrupt:
    """Return the error for a log of items in which something is no frame."""
    return StoreCorrupt(
        f"{path} is damaged at byte {space.end}: {_NO_RECORD}. Put back a copy of the file, or remove it, and the "
        "items of one namespace with it."
    )
