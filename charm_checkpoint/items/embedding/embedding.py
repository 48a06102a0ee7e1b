"""A store's embeddings: texts to vectors by way of a model, of what was kept, and of what others are at work on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any, Final, Literal, TypeVar

from charm_checkpoint.config.options import suggest
from charm_checkpoint.contract_items import ItemBackend
from charm_checkpoint.errors import ConfigError, SchemaMismatch, StoreCorrupt
from charm_checkpoint.items.bounded import Bounds, Warner, framed, now_us
from charm_checkpoint.items.embedding.breaker import Breaker
from charm_checkpoint.items.embedding.embedders import Embedder
from charm_checkpoint.items.embedding.flights import Flights
from charm_checkpoint.items.embedding.model_calls import ModelCalls
from charm_checkpoint.items.embedding.vector_cache import DOCUMENT, QUERY, ModelNotes, VectorCache, key_of
from charm_checkpoint.items.embedding.vectors import blank, dims_of, unpack
from charm_checkpoint.items.flow import Flow, Work
from charm_checkpoint.items.ranking.codes import Unit, cosine, squared
from charm_checkpoint.items.ranking.models import PAIRS, Model, calibrate
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.runtime.clock import monotonic

T = TypeVar("T")

PROBE: Final = (
    "Seven grey geese crossed the quiet harbour before dawn, while the night train to Porto was still waiting for coal."
)
"""The text whose vector tells models apart that have no name. It never changes."""
SAME: Final = 0.999
"""The cosine from which on two vectors of it are one model's: servers do not compute alike to the last digit."""

_DIMS, _PROBE, _MODEL = b"n", b"p", b"m"
_AT_ONCE = 8  # queries, each a call of its own


_COUNTS = {"chunk": 1, "failures": 1, "cache_entries": 0, "cache_bytes": 0}
_SECONDS = ("timeout", "pause", "cache_delay")


def check_options(options: Mapping[str, Any], beside: Sequence[str] = ()) -> None:
    """Raise `ConfigError` for what is no option of `Embedding`, nor ``beside``, or is none of its values."""
    for name, given in options.items():
        if name in _COUNTS:
            if isinstance(given, bool) or not isinstance(given, int) or given < _COUNTS[name]:
                raise ConfigError(f"{name} is a whole number, {_COUNTS[name]} or more, not {given!r}")
        elif name not in _SECONDS:
            raise ConfigError(f"unknown option {name!r}; {suggest(name, [*_COUNTS, *_SECONDS, *beside])}")
        elif isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < TIMEOUT_MAX:
            raise ConfigError(f"{name} is a number of seconds, not {given!r}")
        elif name == "timeout" and not given:
            raise ConfigError("timeout is a number of seconds over 0")


class Embedding:
    """What a store does with texts; its flows run no transaction while the model is asked.

    ``chunk``: texts in one call; ``timeout``: seconds for it. After ``failures`` calls that failed in a row none is
    made for ``pause`` seconds. ``cache_entries`` and ``cache_bytes`` bound the vectors that are kept in the store, 0
    keeps none; they are put there once in ``cache_delay`` seconds, or many at once. ``on_error="raise"`` has the
    model's errors be the caller's.
    """

    def __init__(
        self,
        embedder: Embedder,
        items: ItemBackend,
        *,
        chunk: int = 64,
        timeout: float = 60.0,
        failures: int = 5,
        pause: float = 30.0,
        cache_entries: int = 1000,
        cache_bytes: int = 16 << 20,
        cache_delay: float = 1.0,
        on_error: Literal["wait", "raise"] = "wait",
        budget: Budget | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        check_options(
            {
                "chunk": chunk, "timeout": timeout, "failures": failures, "pause": pause,
                "cache_entries": cache_entries, "cache_bytes": cache_bytes, "cache_delay": cache_delay,
            }
        )  # fmt: skip
        self.embedder = embedder
        self.identity = b""
        """What tells the model from others, 8 bytes; empty until it is known, which it is once there was a vector."""
        self.warner = Warner("embedding")
        self.notes = ModelNotes(items, self.warner, clock)
        breaker = Breaker(failures, pause)
        self._calls = ModelCalls(
            embedder, self.warner, breaker, chunk=chunk, timeout=timeout, raises=on_error == "raise"
        )
        self._cache = VectorCache(
            items, Bounds(cache_entries, cache_bytes), self.warner, budget or Budget(), cache_delay, clock
        )
        self._flights = Flights()
        self._model: Model | None = None
        if embedder.id and embedder.dims:
            self.identity = _identity(embedder.id, embedder.dims)

    def __repr__(self) -> str:
        return f"<embedding by {self.embedder.name}>"

    @property
    def dims(self) -> int | None:
        """Return how many numbers a vector has, if that is known yet."""
        return self._calls.dims

    def documents(self, texts: Iterable[str]) -> Flow[list[Unit | None]]:
        """Return the vectors of texts that are to be found; None where the model failed.

        Raises `ConfigError` if it gives vectors of another length than is expected.
        """
        texts = list(texts)
        if not texts or not (yield from self.known()):
            return [None] * len(texts)
        keys = [key_of(self.identity, DOCUMENT, text) for text in texts]
        # A service refuses to embed nothing, along with all else that is sent in one call.
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if not _is_blank(text)}
        made = yield from self._share(wanted, self._calls.documents)
        nothing = unpack(blank(self.dims or 0))
        read = {key: unpack(vector) for key, vector in made.items()}
        return [nothing if _is_blank(text) else read.get(key) for key, text in zip(keys, texts, strict=True)]

    def query(self, text: str) -> Flow[Unit | None]:
        """Return the vector of a text that is looked for; None if it is blank, or the model failed."""
        if _is_blank(text) or not (yield from self.known()):
            return None
        key = key_of(self.identity, QUERY, text)
        vector = self._cache.near(key)
        if vector is None:
            made = yield from self._share({key: text}, self._ask_query)
            vector = made.get(key)
        return None if vector is None else unpack(vector)

    # ------------------------------------------------------------------------------------ which model it is

    def known(self) -> Flow[bytes]:
        """Return the model's `identity`, which may mean to ask the model for one vector; empty if it failed."""
        if not self.identity:
            identity = yield from (self._by_name() if self.embedder.id else self._by_probe())
            self.identity = self.identity or identity
        return self.identity

    def _by_name(self) -> Flow[bytes]:
        name = hashlib.blake2b(self.embedder.id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        noted = yield from self.notes.read(_DIMS, name)
        if noted is None:
            probe = yield from self._probed()
            if probe is None:
                return b""
            noted = yield from self.notes.write(_DIMS, name, dims_of(probe).to_bytes(4, "big"))
        self._calls.dims = int.from_bytes(noted, "big")
        return _identity(self.embedder.id, self._calls.dims)

    def _by_probe(self) -> Flow[bytes]:
        probe = yield from self._probed()
        if probe is None:
            return b""
        vector = unpack(probe)
        notes = yield from self.notes.all(_PROBE)
        for identity, note in notes.items():
            if len(note) == len(probe) and (note == probe or cosine(unpack(note), vector, squared(vector)) >= SAME):
                return identity
        identity = _identity("", len(vector), probe)
        yield from self.notes.write(_PROBE, identity, probe)
        return identity

    def _probed(self) -> Flow[bytes | None]:
        landed = yield from self._share({_PROBE: PROBE}, self._calls.documents, kept=False)
        return landed.get(_PROBE)

    def model(self) -> Flow[Model | None]:
        """Return the model with its background, measured once and kept in the store; None if it could not be."""
        if self._model is None and (yield from self.known()):
            key = _MODEL + self.identity
            made = yield from self._share({key: ""}, self._measured, kept=False)
            self._model = Model.from_bytes(made[key]) if key in made else None
        return self._model

    def _measured(self, _: Sequence[str]) -> Flow[list[bytes | None]]:
        noted = yield from self.notes.read(_MODEL, self.identity)
        if noted is not None and self._reads(noted):
            return [noted]
        sentences: list[bytes | None] = []
        questions: list[bytes | None] = []
        for texts in _chunks(PAIRS.sentences, self._calls.chunk):
            sentences += yield from self._calls.documents(texts)
        for texts in _chunks(PAIRS.questions, _AT_ONCE):
            if None not in sentences and None not in questions:
                questions += yield from self._calls.queries(texts)
        documents, queries = ([unpack(each) for each in made if each is not None] for made in (sentences, questions))
        if len(documents) < len(PAIRS.sentences) or len(queries) < len(PAIRS.questions):
            return [None]
        measured = calibrate(self.identity, documents, queries).to_bytes()
        kept = yield from self.notes.write(_MODEL, self.identity, measured)
        return [kept if self._reads(kept) else measured]

    def _reads(self, noted: bytes) -> bool:
        try:
            return Model.from_bytes(noted).dims == self.dims
        except (StoreCorrupt, SchemaMismatch):  # of another version of this program
            return False

    # -------------------------------------------------------------------------------------- getting vectors

    def _share(self, wanted: dict[bytes, str], ask: _Ask, kept: bool = True) -> Flow[dict[bytes, bytes]]:
        """Get what nobody here is at work on, from the cache or the model, and wait for the rest."""
        mine, others = self._flights.claim(wanted)
        made: dict[bytes, bytes] = {}
        try:
            # Looked for once it is claimed: what another landed just before is there.
            if kept and mine:
                made.update((yield from self._cache.find(list(mine), self.identity, self.dims or 0)))
                for key, vector in made.items():
                    self._flights.land(mine, key, vector)
            for keys in _chunks(list(mine), self._calls.chunk):
                vectors = yield from ask([wanted[key] for key in keys])
                fresh = {key: vector for key, vector in zip(keys, vectors, strict=True) if vector is not None}
                made.update(fresh)
                if kept:
                    yield from self._cache.keep(fresh, self.identity, len(wanted))
                for key in keys:
                    self._flights.land(mine, key, fresh.get(key))
        finally:
            self._flights.abandon(mine)
        alone: list[bytes] = []
        deadline = monotonic() + self._calls.timeout
        for key, flight in others.items():
            left = max(0.0, deadline - monotonic())
            landed, awaited = yield Work(partial(flight.wait, left), partial(flight.await_, left))
            if not landed:
                alone.append(key)
            elif awaited is not None:
                made[key] = awaited
        for keys in _chunks(alone, self._calls.chunk):
            vectors = yield from ask([wanted[key] for key in keys])
            made.update({key: vector for key, vector in zip(keys, vectors, strict=True) if vector is not None})
        return made

    def _ask_query(self, texts: Sequence[str]) -> Flow[list[bytes | None]]:
        return [(yield from self._calls.query(texts[0]))]


_Ask = Callable[[Sequence[str]], Flow[list[bytes | None]]]


def _chunks(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))


def _identity(name: str, dims: int, probe: bytes = b"") -> bytes:
    whole = framed(name.encode("utf-8", "surrogatepass"), dims.to_bytes(4, "big"), probe)
    return hashlib.blake2b(whole, digest_size=8).digest()


def _is_blank(text: str) -> bool:
    return not text.strip()
