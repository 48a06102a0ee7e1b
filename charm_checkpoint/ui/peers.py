"""Whose program is at the other end of a connection from this machine, where Linux tells.

Any user of a machine reaches 127.0.0.1, and sees in the list of processes with which link a browser was started. So a
link is taken from the user alone who started the page, and from root, who can do anything and whose programs forward
ports.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

TABLE = Path("/proc/net/tcp")
_LOCAL, _REMOTE, _UID = 1, 2, 7


def is_mine(peer: tuple[str, int] | None, port: int, table: Path = TABLE) -> bool:
    """Tell whether a connection to ``port`` is this user's own, or root's; True where nobody can tell."""
    if peer is None or not hasattr(os, "getuid"):
        return True
    try:
        lines = table.read_text("ascii").splitlines()[1:]
    except (OSError, UnicodeError):
        return True
    owner = owner_of(lines, _hexed(*peer), _hexed("127.0.0.1", port))
    return owner is None or owner in (os.getuid(), 0)


def owner_of(lines: Iterable[str], local: str, remote: str) -> int | None:
    """Return the user whose socket goes from one address to another, by lines of the kernel's table; None if none."""
    for line in lines:
        fields = line.split()
        if len(fields) > _UID and fields[_LOCAL] == local and fields[_REMOTE] == remote:
            return int(fields[_UID])
    return None


def _hexed(host: str, port: int) -> str:
    """Write an address as the kernel does: the host in the machine's byte order."""
    try:
        packed = bytes(map(int, host.split(".")))
        (number,) = struct.unpack("=I", packed)
    except (ValueError, struct.error):
        return ""
    return f"{number:08X}:{port:04X}"
