"""How a model is asked: in chunks, with a time-out, halved where a text spoils a chunk, and not while it is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial
from typing import Any

from charm_checkpoint.errors import CharmError, ConfigError, StoreUnavailable
from charm_checkpoint.items.bounded import Warner
from charm_checkpoint.items.embedding.breaker import Breaker
from charm_checkpoint.items.embedding.embedders import Embedder
from charm_checkpoint.items.embedding.timed_calls import in_a_thread
from charm_checkpoint.items.embedding.vectors import BadVector, clean, dims_of, pack
from charm_checkpoint.items.flow import Flow, Work


class ModelCalls:
    """One model, asked. With ``raises``, its errors are the caller's; else there is no vector where it failed."""

    def __init__(
        self, embedder: Embedder, warner: Warner, breaker: Breaker, *, chunk: int, timeout: float, raises: bool
    ) -> None:
        self.embedder = embedder
        self.timeout = timeout
        self._warner = warner
        self._breaker = breaker
        self.chunk = chunk
        self._raises = raises
        self.dims = embedder.dims
        self._dims_are_given = embedder.dims is not None

    def documents(self, texts: Sequence[str]) -> Flow[list[bytes | None]]:
        """Return the packed vectors of one chunk of texts, None for those that the model fails with."""
        embed, aembed = self.embedder.embed_documents, self.embedder.aembed_documents
        made: list[bytes | None] = [None] * len(texts)
        left, failures, worked = [(0, len(texts))], 0, False
        while left and failures < len(texts).bit_length() + 2:
            start, stop = left.pop()
            given = [clean(text) for text in texts[start:stop]]
            packed, error = yield from self._try(
                partial(embed, given), partial(aembed, given), partial(self._all, given)
            )
            if error is None:
                made[start:stop] = packed
                failures, worked = 0, True
                continue
            failures += 1
            if isinstance(error, (TimeoutError, asyncio.TimeoutError, StoreUnavailable)):
                break
            if stop - start > 1:  # one of them may be too long for it, or otherwise be refused
                middle = (start + stop) // 2
                left += [(middle, stop), (start, middle)]
        self._note(worked)
        return made

    def query(self, text: str) -> Flow[bytes | None]:
        """Return the packed vector of what is looked for, or None."""
        given = clean(text)
        embed, aembed = self.embedder.embed_query, self.embedder.aembed_query
        packed, error = yield from self._try(
            partial(embed, given), partial(aembed, given), lambda vector: [self._one(vector)]
        )
        self._note(error is None)
        return packed[0] if packed else None

    def queries(self, texts: Sequence[str]) -> Flow[list[bytes | None]]:
        """Return the packed vectors of a chunk of texts as `query` does, some of them at once; all or none."""
        given = [clean(text) for text in texts]
        packed, error = yield from self._try(
            partial(self._embed_each, given), partial(self._aembed_each, given), partial(self._all, given)
        )
        self._note(error is None)
        return list(packed) if error is None else [None] * len(texts)

    def _embed_each(self, texts: Sequence[str], timeout: float) -> list[Any]:
        futures = [in_a_thread(partial(self.embedder.embed_query, text, timeout)) for text in texts]
        return [future.result() for future in futures]

    async def _aembed_each(self, texts: Sequence[str], timeout: float) -> list[Any]:
        return await asyncio.gather(*(self.embedder.aembed_query(text, timeout) for text in texts))

    def _try(
        self,
        embed: Callable[..., Any],
        aembed: Callable[..., Any],
        read: Callable[[Any], list[bytes]],
    ) -> Flow[tuple[list[bytes], BaseException | None]]:
        if not self._breaker.may_call():
            refused = StoreUnavailable(
                f"{self.embedder.name} gave no vectors: it failed too often just now. Try again later."
            )
            if self._raises:
                raise refused
            return [], refused
        try:
            vectors = yield Work(partial(embed, timeout=self.timeout), partial(aembed, timeout=self.timeout))
            return read(vectors), None
        except CharmError:  # it would be the same each time
            raise
        except Exception as error:  # whatever the code of a model's client may raise
            if self._raises:
                self._breaker.failed()
                raise
            # Not what it says: that may repeat a key.
            said = str(error) if isinstance(error, (BadVector, TimeoutError)) else type(error).__qualname__
            self._warner.warn(
                "model",
                f"{self.embedder.name} gave no vectors ({said}): what was to be stored waits for them, what was looked "
                'for is ranked by words alone. on_embed_error="raise" shows the error.',
            )
            return [], error

    def _note(self, worked: bool) -> None:
        if worked:
            self._breaker.succeeded()
            self._warner.over("model")
        else:
            self._breaker.failed()

    def _all(self, texts: Sequence[str], vectors: Any) -> list[bytes]:
        if not isinstance(vectors, Iterable):
            raise BadVector(f"{self.embedder.name} gave a {type(vectors).__name__}, where a list of vectors was due")
        if not isinstance(vectors, Sized):
            vectors = list(vectors)
        if len(vectors) != len(texts):
            raise BadVector(f"{self.embedder.name} gave {len(vectors)} vectors for {len(texts)} texts")
        return [self._one(vector) for vector in vectors]

    def _one(self, vector: Any) -> bytes:
        packed = pack(vector, self.embedder.name)
        dims = dims_of(packed)
        if self.dims is None:
            self.dims = dims
        if dims != self.dims:
            whence = f"index dims is {self.dims}" if self._dims_are_given else "it gave such before"
            raise ConfigError(
                f"{self.embedder.name} gave a vector of {dims} numbers, where {self.dims} are expected: {whence}. "
                f'Open the store with index={{"dims": {dims}, ...}} if that is the model that is meant.'
            )
        return packed
