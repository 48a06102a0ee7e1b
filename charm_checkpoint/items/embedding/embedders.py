"""What makes vectors of texts: LangChain's embeddings, a function, a name, in one form."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from langchain_core.embeddings import Embeddings

from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.items.embedding.local_models import LOCAL, local_model
from charm_checkpoint.items.embedding.timed_calls import LoopThread, awaited, in_a_thread, within

Vectors: TypeAlias = Sequence[Any]
"""Of each text a list, or a row of numpy, of numbers."""

EmbedFunction: TypeAlias = Callable[[list[str]], Vectors] | Callable[[list[str]], Awaitable[Vectors]]

_MODEL_ATTRIBUTES = (
    "model",
    "model_name",
    "model_id",
    "deployment",
    "azure_deployment",
    "repo_id",
    "revision",
    "dimensions",
    "output_dimensionality",
    "task_type",
    "input_type",
    "size",
)
"""What classes of LangChain's call what tells one model from another."""
_NAMES = frozenset(_MODEL_ATTRIBUTES[:6])


@runtime_checkable
class Embedder(Protocol):
    """A model that makes vectors of texts, and how long a call of it may take."""

    id: str
    """What tells it from other models, in every process; empty: the vector that it makes of a fixed text does."""
    name: str
    """What to call it in errors and logs; it shows no secret."""
    dims: int | None
    """How many numbers its vectors have; None: as many as the first one has."""

    def embed_documents(self, texts: list[str], timeout: float) -> Vectors:
        """Return the vectors of texts that are to be found."""
        ...

    def embed_query(self, text: str, timeout: float) -> Any:
        """Return the vector of a text that is looked for."""
        ...

    async def aembed_documents(self, texts: list[str], timeout: float) -> Vectors:
        """Return what `embed_documents` does, without blocking the event loop."""
        ...

    async def aembed_query(self, text: str, timeout: float) -> Any:
        """Return what `embed_query` does, without blocking the event loop."""
        ...


def embedder_of(embed: Any, dims: int | None = None) -> Embedder:
    """Return the embedder for what a user gave.

    ``embed`` is one of LangChain's `Embeddings`; a function, blocking or async, from a list of texts to their vectors;
    ``"provider:model"`` as LangChain's `init_embeddings` takes it; ``"fastembed:NAME"`` with the name of a model that
    fastembed knows, or a folder with an ONNX model and its tokenizer; or an `Embedder`. ``dims`` is how many numbers a
    vector has, if it is known.
    """
    if dims is not None and (isinstance(dims, bool) or not isinstance(dims, int) or dims < 1):
        raise ConfigError(
            f"dims is {dims!r}: give the length of the model's vectors, a positive integer, or leave it out."
        )
    if isinstance(embed, str):
        embed = _named(embed)
    function = getattr(embed, "func", None) or getattr(embed, "afunc", None)
    if isinstance(embed, Embeddings) and type(embed).__name__ == "EmbeddingsLambda" and callable(function):
        return FunctionEmbedder(function, dims)  # LangGraph's own wrapper around a function
    if isinstance(embed, Embedder):
        if dims is not None and embed.dims is None:
            embed.dims = dims
        return embed
    if isinstance(embed, Embeddings) or hasattr(embed, "embed_documents"):
        return LangChainEmbedder(embed, dims)
    if callable(embed):
        return FunctionEmbedder(embed, dims)
    raise ConfigError(
        f"embed is a {type(embed).__qualname__}: give LangChain Embeddings, a function from a list of texts to a list "
        'of vectors, "provider:model", or "fastembed:model".'
    )


def _named(text: str) -> Any:
    provider, _, model = text.partition(":")
    if not provider or not model:
        raise ConfigError(f'embed is {text!r}: write "provider:model", as in "openai:text-embedding-3-small".')
    if provider == LOCAL:
        return local_model(model)
    try:
        init = importlib.import_module("langchain.embeddings").init_embeddings
    except ImportError as error:
        raise MissingExtra(
            f"embed is {text!r}, and {error}: pip install langchain, and the package of the provider, such as "
            "langchain-openai; or give Embeddings or a function."
        ) from error
    try:
        return init(text)
    except ImportError as error:
        raise MissingExtra(f"embed is {text!r}, and the package of {provider} is missing: {error}") from error
    except ValueError as error:
        # Without the chain: errors of validation repeat what was given to them.
        raise ConfigError(f"embed is {text!r}, which LangChain cannot make: {mask(str(error))}") from None


class LangChainEmbedder:
    """LangChain's `Embeddings`; what they are is told by their class, and by the model's name if they have one."""

    def __init__(self, embeddings: Embeddings, dims: int | None = None) -> None:
        self._embeddings = embeddings
        cls = type(embeddings)
        self.dims = dims
        self.name = cls.__name__
        self.id = ""
        inner = getattr(embeddings, "underlying_embeddings", None)  # LangChain's own cache around others
        told = _told(inner if isinstance(inner, Embeddings) else embeddings)
        if told:
            self.id = f"{cls.__module__}.{cls.__qualname__} {told}"
            self.name = f"{cls.__name__} ({told})"

    def __repr__(self) -> str:
        return f"<embedder {self.name}>"

    def embed_documents(self, texts: list[str], timeout: float) -> Vectors:
        """Return the vectors of texts that are to be found."""
        return within(lambda: self._embeddings.embed_documents(texts), timeout)

    def embed_query(self, text: str, timeout: float) -> Any:
        """Return the vector of a text that is looked for."""
        return within(lambda: self._embeddings.embed_query(text), timeout)

    def _has(self, method: str) -> bool:
        """Tell whether there is an async method of its own, rather than `Embeddings`' blocking one in a thread."""
        own = getattr(type(self._embeddings), method, None)
        return own is not None and own is not getattr(Embeddings, method)

    async def aembed_documents(self, texts: list[str], timeout: float) -> Vectors:
        """Return what `embed_documents` does, without blocking the event loop."""
        if not self._has("aembed_documents"):
            # It would be done in a thread of the loop's, which one that never answers keeps from ending.
            work = in_a_thread(lambda: self._embeddings.embed_documents(texts))
            return await awaited(asyncio.wrap_future(work), timeout)
        return await awaited(self._embeddings.aembed_documents(texts), timeout)

    async def aembed_query(self, text: str, timeout: float) -> Any:
        """Return what `embed_query` does, without blocking the event loop."""
        if not self._has("aembed_query"):
            return await awaited(asyncio.wrap_future(in_a_thread(lambda: self._embeddings.embed_query(text))), timeout)
        return await awaited(self._embeddings.aembed_query(text), timeout)


def _told(embeddings: Embeddings) -> str:
    """Return what tells a model, as in ``model=text-embedding-3-small dimensions=256``; "" if its name is not known."""
    found = {name: getattr(embeddings, name, None) for name in _MODEL_ATTRIBUTES}
    named = {name: value for name, value in found.items() if isinstance(value, (str, int)) and value != ""}
    return " ".join(f"{name}={value}" for name, value in named.items()) if _NAMES & named.keys() else ""


class FunctionEmbedder:
    """A function from texts to vectors, blocking or async. What it makes of a fixed text tells it from others."""

    id = ""

    def __init__(self, function: EmbedFunction, dims: int | None = None) -> None:
        self._function: Callable[[list[str]], Any] = function
        self._is_async = asyncio.iscoroutinefunction(function) or asyncio.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 (an object may have an async one)
        )
        self._loop = LoopThread()
        self.dims = dims
        self.name = str(getattr(function, "__qualname__", type(function).__qualname__))

    def __repr__(self) -> str:
        return f"<embedder {self.name}>"

    def embed_documents(self, texts: list[str], timeout: float) -> Vectors:
        """Return the vectors of texts."""
        if self._is_async:
            return self._loop.run(lambda: self._call(texts), timeout)
        made = within(lambda: self._function(texts), timeout)
        return self._loop.run(lambda: _of(made), timeout) if inspect.iscoroutine(made) else made  # a lambda's

    def embed_query(self, text: str, timeout: float) -> Any:
        """Return the vector of one text."""
        return _first(self.embed_documents([text], timeout))

    async def aembed_documents(self, texts: list[str], timeout: float) -> Vectors:
        """Return the vectors of texts, without blocking the event loop."""
        if self._is_async:
            return await awaited(self._call(texts), timeout)
        made = await awaited(asyncio.wrap_future(in_a_thread(lambda: self._function(texts))), timeout)
        return await awaited(made, timeout) if inspect.iscoroutine(made) else made

    async def aembed_query(self, text: str, timeout: float) -> Any:
        """Return the vector of one text, without blocking the event loop."""
        return _first(await self.aembed_documents([text], timeout))

    async def _call(self, texts: list[str]) -> Vectors:
        made: Vectors = await self._function(texts)
        return made


async def _of(made: Awaitable[Vectors]) -> Vectors:
    return await made


def _first(vectors: Vectors) -> Any:
    made = list(vectors)
    if len(made) != 1:
        raise ValueError(f"one text was given, and {len(made)} vectors came back")
    return made[0]
