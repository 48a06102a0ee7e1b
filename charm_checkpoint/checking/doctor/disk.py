"""What a folder's disk does: how much room it has, whether it can be written, and how long an fsync takes."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from charm_checkpoint.checking.doctor.report import DoctorReport
from charm_checkpoint.printable import size

LOW = 1 << 30
"""Bytes of a disk below which it is nearly full."""
FEW_FILES = 1000
"""Files that a file system still takes, below which these may run out."""
READ_WRITE = "Mount it read-write; if it turned read-only by itself, its disk has failed: see dmesg."
PAGE = 4096
SYNCS = 9
"""How often something is put down, unless that takes too long."""
LONGEST = 1.0
"""Seconds after which no more is."""
SLOW = 50.0
"""Milliseconds from which on it is told: each step of a graph waits for two or three."""
NO_DISK = 0.01
"""Milliseconds below which no device can have been asked: flash that need not wait takes twice that."""


def tell_disk(report: DoctorReport, folder: Path) -> None:
    """Tell how much room the disk of a folder has."""
    usage = shutil.disk_usage(folder)
    report.facts["disk_free_bytes"] = usage.free
    message = f"the disk has {size(usage.free)} left."
    if usage.free < LOW:
        report.add("disk", "warning", message, "Free some: a write that finds no room is refused.")
    else:
        report.add("disk", "ok", message)
    files = os.statvfs(folder).f_favail if hasattr(os, "statvfs") and os.statvfs(folder).f_files else FEW_FILES
    if files < FEW_FILES:
        report.add("files", "warning", f"the file system takes {files:,} more files.", "Remove some that nobody needs.")


def is_read_only(folder: Path) -> bool:
    """Tell whether the file system of a folder is mounted read-only."""
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def tell_rights(report: DoctorReport, folder: Path, can_write: bool, what: str, otherwise: str) -> None:
    """Tell whether ``what`` can be written; ``otherwise`` is what helps where it is not for the file system."""
    if can_write:
        report.add("rights", "ok", f"{what} can be written.")
    elif is_read_only(folder):
        message = f"{what} cannot be written: the file system is mounted read-only."
        report.add("rights", "error", message, READ_WRITE)
    else:
        report.add("rights", "error", f"this user may not write {what}.", otherwise)


def tell_sync(report: DoctorReport, folder: Path) -> None:
    """Tell how long a write takes to reach the disk of a folder: that of a file without a name, which goes again."""
    try:
        median = statistics.median(_syncs(folder))
    except OSError as error:
        report.add("sync", "note", f"how long a write takes to reach the disk cannot be told: {error.strerror}.")
        return
    say_sync(report, median)


def say_sync(report: DoctorReport, median: float) -> None:
    """Say what it means that an fsync takes so many milliseconds."""
    report.facts["fsync_ms"] = round(median, 3)
    if median < NO_DISK:
        advice = "See that it is no tmpfs, and that neither the disk's cache nor the host of a virtual machine lies."
        message = f"an fsync takes {median:.3f} ms, which no disk can do: a power loss may undo what was committed."
        report.add("sync", "warning", message, advice)
    elif median > SLOW:
        advice = "Use another disk, or fewer steps; synchronous=normal does not wait, and may lose the last ones."
        report.add("sync", "warning", f"an fsync takes {median:.0f} ms: each commit waits for one.", advice)
    else:
        report.add("sync", "ok", f"an fsync takes {median:.2f} ms, the median of some.")


def _syncs(folder: Path) -> list[float]:
    spent: list[float] = []
    end = time.perf_counter() + LONGEST
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while len(spent) <= SYNCS and (len(spent) < 2 or time.perf_counter() < end):
            file.write(os.urandom(PAGE))
            began = time.perf_counter()
            os.fsync(file.fileno())
            spent.append((time.perf_counter() - began) * 1000)
    return spent[1:]  # the first one made the file
