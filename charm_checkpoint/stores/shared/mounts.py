"""Folders that another machine keeps: network shares and object stores, mounted as if they were disks."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's list of what is mounted where; other systems have none, and nothing is told there."""

REMOTE = re.compile(
    r"fuse(?:\..+)?|nfs\d?|cifs|smb\w*|9p|ceph|glusterfs|lustre|afs|davfs|beegfs|gpfs|ncpfs"
    # The folders of a virtual machine's host: QEMU, Docker Desktop, WSL, VirtualBox, Parallels, VMware.
    r"|virtiofs|fakeowner|drvfs|vboxsf|prl_fs|vmhgfs"
)
"""Kinds of file systems that are remote, or whose locks and shared memory cannot be relied on."""

LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.lxcfs")

_OCTAL = re.compile(rb"\\([0-7]{3})")


def remote_kind(path: str, mounts: bytes | None = None) -> str | None:
    """Return the kind of file system that holds a path if it is a remote one, such as ``fuse.gcsfuse``.

    ``mounts`` is what Linux lists at `MOUNTS`, which is read by default.
    """
    if mounts is None:
        if not MOUNTS.exists():
            return None
        mounts = MOUNTS.read_bytes()
    kind = _kind(os.path.realpath(path), mounts)
    return kind if REMOTE.fullmatch(kind) and kind not in LOCAL_FUSE else None


def _kind(path: str, mounts: bytes) -> str:
    """Return the kind of the file system mounted nearest above a path; the later of two in one place."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        place, _, source = line.partition(b" - ")
        fields = place.split()
        if len(fields) < 5 or not source:
            continue
        point = os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4]))
        if len(point) >= best and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            best, kind = len(point), os.fsdecode(source.split()[0])
    return kind
