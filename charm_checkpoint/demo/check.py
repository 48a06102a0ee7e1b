"""What the demo's store must hold in the end, and what is wrong where it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from charm_checkpoint.demo.agent import APPROVAL, REQUEST, SCRIPT


@dataclass(frozen=True)
class Outcome:
    """What was found when all was done, as plain text and numbers.

    ``waiting`` are the nodes still to run; ``deeds`` what the outside world saw; ``steps``
    those of the stored checkpoints, latest first; ``phone`` and ``laptop`` the id of the
    last checkpoint on the phone before it was killed, and on the laptop.
    """

    waiting: Sequence[str]
    messages: Sequence[str]
    deeds: Sequence[str]
    history: Sequence[str]
    steps: Sequence[int]
    phone: str
    laptop: str


@dataclass(frozen=True)
class Check:
    """One thing that must hold. ``problems`` is empty if it does."""

    claim: str
    problems: Sequence[str]


def expected_messages() -> list[str]:
    """Return the whole conversation: what was said, and the tools that answered."""
    messages = [REQUEST]
    for text, calls in SCRIPT:
        messages += [text, *(name for name, _ in calls)]
    return messages


def expected_deeds() -> list[str]:
    """Return everything that was to happen in the outside world, once each."""
    deeds = []
    for turn, (_, calls) in enumerate(SCRIPT):
        deeds += [f"think {turn + 1}", *(name for name, _ in calls)]
    return deeds


def expected_history() -> list[str]:
    """Return the message history: each device added what it heard and said."""
    return [REQUEST, SCRIPT[-2][0], APPROVAL, SCRIPT[-1][0]]


def check(outcome: Outcome) -> list[Check]:
    """Judge the outcome, claim by claim."""
    return [
        Check("the agent finished", [f"not finished, {node} is still to run" for node in outcome.waiting]),
        Check("every message is there, once and in order", list(_differences(expected_messages(), outcome.messages))),
        Check("every deed was done exactly once", list(_differences(expected_deeds(), outcome.deeds))),
        Check(
            "the message history is whole, written on both devices",
            list(_differences(expected_history(), outcome.history)),
        ),
        Check("the checkpoints are listed latest first, none missing", list(_gaps(outcome.steps))),
        Check("the laptop's checkpoints counted as later, though their ids sort lower", list(_clocks(outcome))),
    ]


def _differences(expected: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    counts = Counter(found)
    yield from (f"lost: {item}" for item in expected if not counts[item])
    yield from (f"there {count} times: {item}" for item, count in counts.items() if count > 1)
    yield from (f"not expected: {item}" for item in counts if item not in expected)
    if counts == Counter(expected) and list(found) != list(expected):
        yield f"out of order: {', '.join(found)}"


def _gaps(steps: Sequence[int]) -> Iterator[str]:
    # LangGraph numbers the input -1 and each superstep from there.
    if list(steps) != list(range(len(steps) - 2, -2, -1)) or not steps:
        yield f"their steps are {', '.join(map(str, steps)) or 'none'}"


def _clocks(outcome: Outcome) -> Iterator[str]:
    if not outcome.laptop:
        yield "the laptop stored no checkpoint"
    elif outcome.laptop > outcome.phone:
        yield f"the laptop's id {outcome.laptop} does not sort below the phone's {outcome.phone}"
