"""Asking a model: any chat model of LangChain's, its name, or a function, blocking and async."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeAlias

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from charm_checkpoint.agents.recall_node import text_of
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.items.embedding.timed_calls import awaited, within
from charm_checkpoint.items.flow import Flow, Work

Model: TypeAlias = Any
"""A chat model of LangChain's, its name as ``init_chat_model`` takes it, or a function, async or not, of a prompt."""


@dataclass(frozen=True)
class Usage:
    """What models were asked, and what they counted of it; ``failures`` are calls that raised."""

    calls: int = 0
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(**{name: value + getattr(other, name) for name, value in vars(self).items()})


class Ask(Protocol):
    """What asks a model: it is called with instructions and data, and returns what the model does."""

    def __call__(self, instructions: str, data: str) -> Any:
        """Ask, blocking."""
        ...


@dataclass(frozen=True)
class Asked:
    """A model, as a blocking and an async function."""

    ask: Ask
    aask: Callable[[str, str], Awaitable[Any]]


@dataclass(frozen=True)
class Reply:
    """What a model answered; ``error`` says why it did not."""

    text: str
    usage: Usage
    error: str | None = None


def asked_of(model: Model) -> Asked:
    """Return a model as functions; raises `ConfigError` for what is none."""
    if isinstance(model, str):
        try:
            from langchain.chat_models import init_chat_model
        except ImportError as error:
            raise ConfigError(
                f"the model {model!r} is made by langchain, which is not installed: pip install langchain, or give a "
                "chat model"
            ) from error
        model = init_chat_model(model)
    invoke: Any = getattr(model, "invoke", None)
    ainvoke: Any = getattr(model, "ainvoke", None)
    if invoke is not None or ainvoke is not None:
        return _of_chat_model(invoke or ainvoke, ainvoke or invoke)
    if callable(model):
        return _of_function(model)
    raise ConfigError(
        f"model is a chat model of LangChain's, its name, or a function of a prompt, not {type(model).__name__}"
    )


def ask(model: Asked, instructions: str, data: str, timeout: float) -> Flow[Reply]:
    """Ask a model; what it raises, and that it takes too long, is a reply with an error."""
    try:
        said = yield Work(
            partial(within, partial(model.ask, instructions, data), timeout),
            lambda: awaited(_coroutine(model.aask(instructions, data)), timeout),
        )
    except Exception as error:  # whatever the code of a model's client may raise: the turn is over, nobody waits
        return Reply("", Usage(calls=1, failures=1), f"{type(error).__name__}: {error}")
    usage = Usage(calls=1)
    if isinstance(said, BaseMessage):
        counted = getattr(said, "usage_metadata", None) or {}
        usage = replace(
            usage, input_tokens=_count(counted.get("input_tokens")), output_tokens=_count(counted.get("output_tokens"))
        )
        return Reply(text_of(said), usage)
    return Reply(said if isinstance(said, str) else str(getattr(said, "content", said)), usage)


def _of_chat_model(invoke: Callable[..., Any], ainvoke: Callable[..., Any]) -> Asked:
    def messages(instructions: str, data: str) -> list[BaseMessage]:
        return [SystemMessage(instructions), HumanMessage(data)]

    def ask(instructions: str, data: str) -> Any:
        return _finished(invoke(messages(instructions, data)))

    async def aask(instructions: str, data: str) -> Any:
        return await _called(ainvoke, messages(instructions, data))

    return Asked(ask, aask)


def _of_function(function: Callable[[str], Any]) -> Asked:
    def ask(instructions: str, data: str) -> Any:
        return _finished(function(f"{instructions}\n\n{data}"))

    async def aask(instructions: str, data: str) -> Any:
        return await _called(function, f"{instructions}\n\n{data}")

    return Asked(ask, aask)


def _finished(said: Any) -> Any:
    """Return what was said, from a thread without an event loop; an awaitable is awaited in one of its own."""
    return asyncio.run(_coroutine(said)) if inspect.isawaitable(said) else said


async def _called(function: Callable[[Any], Any], given: Any) -> Any:
    """Await a function, in a thread if it is no async one."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        return await function(given)
    said = await asyncio.to_thread(function, given)
    return await said if inspect.isawaitable(said) else said


async def _coroutine(said: Awaitable[Any]) -> Any:
    return await said


def _count(given: Any) -> int:
    return given if isinstance(given, int) else 0
