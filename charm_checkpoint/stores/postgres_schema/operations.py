"""What plans over the schema's functions yield: calls of them, and what is asked of the schema itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from charm_checkpoint.plan import Plan


class Call(NamedTuple):
    """A function to call; the reply is its rows, each as a tuple.

    ``again`` tells that the same call may be made twice, so that it can be retried after a
    connection broke and nobody knows whether it was done.
    """

    function: str
    args: tuple[Any, ...]
    again: bool = True


class Several(NamedTuple):
    """Calls to make in this order, up to the first whose outcome is not ``stored``; the reply is the replies."""

    calls: Sequence[Call]

    def one_by_one(self) -> Plan[list[Any]]:
        """Make the calls where each is a round trip anyway."""
        replies: list[Any] = []
        for call in self.calls:
            replies.append((yield call))
            if replies[-1][0][0] != "stored":
                break
        return replies


LENGTHY = frozenset(
    (
        "remove", "runs", "usage", "thread_list", "erase_thread", "forget_erased", "count_threads", "item_expire",
        "item_erase", "item_usage",
    )
)  # fmt: skip
"""Functions that may have much to do, and are seldom called."""

TELLING = frozenset({"put", "put_writes", "item_change"})
"""Functions that are told, last, whether the same call may have been done already."""


def repeated(operation: Any) -> Any:
    """Return an operation as it is tried again, when nobody knows whether it was done."""
    if isinstance(operation, Several):
        return Several([repeated(call) for call in operation.calls])
    if isinstance(operation, Call) and operation.function in TELLING:
        return operation._replace(args=(*operation.args[:-1], True))
    return operation


class Version(NamedTuple):
    """Asks for the schema's version; the reply is a number, 0 where there is none."""


class Install(NamedTuple):
    """Creates or migrates the schema."""


def is_once(operation: Any) -> bool:
    """Tell whether to try on a connection that is known to work: it cannot, or not well, be made again."""
    if isinstance(operation, Call):
        return not operation.again or operation.function in LENGTHY
    return isinstance(operation, Install)
