"""Chat models for tests of agents: they say what they are told to, and keep what they were shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

Answer = Callable[[Sequence[BaseMessage]], AIMessage | str]


class FakeModel(BaseChatModel):
    """Answers what ``answer`` makes of the messages; ``shown`` are those of each call."""

    answer: Answer
    shown: list[list[BaseMessage]]

    @classmethod
    def of(cls, answer: Answer | Iterable[AIMessage | str]) -> FakeModel:
        """Return a model that answers by a function, or these answers in turn."""
        if callable(answer):
            return cls(answer=answer, shown=[])
        answers: Iterator[AIMessage | str] = iter(answer)
        return cls(answer=lambda messages: next(answers), shown=[])

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **options: Any) -> FakeModel:
        """Take any tools."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        self.shown.append(list(messages))
        said = self.answer(messages)
        message = AIMessage(said) if isinstance(said, str) else said.model_copy(update={"id": None})
        return ChatResult(generations=[ChatGeneration(message=message)])


def calling(tool: str, **arguments: Any) -> AIMessage:
    """Return an answer that calls a tool."""
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": f"call of {tool}"}])
