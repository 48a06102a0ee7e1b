"""What a growing chat takes up along the way. Not timed: the store is closed at every point."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from benchmarks import chat, session
from benchmarks.contender import Contender

POINTS = 12


def points(turns: int) -> list[int]:
    """Return the turns to measure after, evenly spread and ending with the last."""
    return sorted({max(1, round(turns * point / POINTS)) for point in range(1, POINTS + 1)})


def measure(contender: Contender, folder: Path, *, turns: int) -> dict[str, float | None]:
    """Hold a chat, closing and reopening the store at each point; return bytes by turns so far."""
    script = chat.conversation(turns)
    assert contender.stored is not None, f"{contender.name} stores nothing"
    before = contender.stored(folder)
    thread = str(uuid4())
    done, sizes = 0, dict[str, float | None]()
    for point in points(turns):
        talk = chat.talk(script, contender.call_mode, thread, range(done, point))
        chat.check(session.run(contender, folder, talk).result, script[: 2 * point])
        sizes[str(point)] = contender.stored(folder) - before
        done = point
    return sizes
