"""The growth of a chat, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks import chat
from benchmarks.runner import Outcome

INSTALL = "--plot needs matplotlib: pip install matplotlib"


def available() -> bool:
    """Say whether the plot can be drawn here."""
    return find_spec("matplotlib") is not None


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the MB stored against turns, one line a contender, and save it; the suffix is the format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for outcome in outcomes:
        points = {int(turns): outcome.median(turns) for turns in outcome.rounds[0]} if outcome.rounds else {}
        sizes = [(size or 0) / 1e6 for size in points.values()]
        axes.plot(list(points), sizes, marker="o", markersize=4, label=outcome.contender)
    turns = sorted({int(turns) for outcome in outcomes for one in outcome.rounds for turns in one})
    text = [2 * turn * chat.MESSAGE_BYTES / 1e6 for turn in turns]
    axes.plot(turns, text, color="gray", linestyle="--", label="the text itself")
    axes.set(xlabel="turns", ylabel="MB stored", yscale="log", title="A growing chat")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=100)
