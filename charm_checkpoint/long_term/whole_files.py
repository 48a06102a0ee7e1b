"""Files that are there whole, or as they were: for who writes one now and then, and holds no lock."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from charm_checkpoint.stores.files.folder import translate


def put_file(path: Path, data: bytes) -> None:
    """Put a file in place, whole or not at all, in a folder that is made if need be; this blocks."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise translate(path, error, write=True) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)
