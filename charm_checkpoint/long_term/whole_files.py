"""Files that are there whole, or as they were: for who writes one now and then, and holds no lock."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from charm_checkpoint.runtime.rights import Rights, create, make_folders, random_name
from charm_checkpoint.stores.files.folder import translate


def put_file(path: Path, data: bytes, *, rights: int | None = None) -> None:
    """Put a file in place, whole or not at all, in a folder that is made if need be; this blocks.

    What is new is this user's alone; a file that was there, and was his, keeps its rights, unless others are given.
    """
    temporary = path.with_name(random_name(f".{path.name}.") + ".tmp")
    try:
        make_folders(path.parent)
        now = Rights().of_file(path.parent, path.name) if rights is None else rights
        with open(create(temporary, now), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise translate(path, error, write=True) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)
