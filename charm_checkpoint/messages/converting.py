"""Messages on their way into a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage

from charm_checkpoint.messages.langchain import listed, to_messages
from charm_checkpoint.messages.plans import Message, size_of
from charm_checkpoint.plan import Plan
from charm_checkpoint.values.offload import decoding


def converting(messages: Iterable[Mapping[str, Any] | BaseMessage]) -> Callable[[], Plan[list[Message]]]:
    """Return what makes the plan of `to_messages`, any number of times."""
    held = listed(messages)
    return lambda: decoding(partial(to_messages, held), size_of(held))
