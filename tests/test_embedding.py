"""From texts to vectors: every kind of embedder, what is kept, and what becomes of failures."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langgraph.store.base.embed import ensure_embeddings
from pydantic import BaseModel, ConfigDict, SecretStr

from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemQuery, ItemRow
from charm_checkpoint.errors import ConfigError, MissingExtra, StoreError
from charm_checkpoint.items.embedding.breaker import Breaker
from charm_checkpoint.items.embedding.embedders import embedder_of
from charm_checkpoint.items.embedding.embedding import PROBE, Embedding
from charm_checkpoint.items.embedding.timed_calls import in_a_thread, within
from charm_checkpoint.items.embedding.vectors import BadVector, clean, pack, unpack
from charm_checkpoint.items.flow import arun_flow, run_flow
from charm_checkpoint.items.namespaces import EMBEDDINGS
from charm_checkpoint.items.ranking.codes import cosine, squared
from charm_checkpoint.items.ranking.models import PAIRS
from charm_checkpoint.memory import Memory
from charm_checkpoint.store import Store

SECRET = "sk-very-secret-1234567890"
HOUR = 3600 * 1_000_000


class Counting:
    """A model that counts its calls; ``fail`` may raise for texts."""

    def __init__(self, dims: int = 3, fail: Callable[[list[str]], None] = lambda texts: None, pause: float = 0) -> None:
        self.dims = dims
        self.calls: list[list[str]] = []
        self.fail = fail
        self.pause = pause

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(list(texts))
        time.sleep(self.pause)
        self.fail(texts)
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        return [float(len(text) + 1), *(float(sum(map(ord, text)) % (7 + n)) for n in range(self.dims - 1))]

    @property
    def texts(self) -> list[str]:
        """Return all texts but the one by which models are told apart."""
        return [text for call in self.calls for text in call if text != PROBE]


class ACounting(Counting):
    """The same as an object with an async call."""

    async def __call__(self, texts: list[str]) -> list[list[float]]:  # type: ignore[override]
        await asyncio.sleep(self.pause)
        return Counting.__call__(self, texts)


class Named(Embeddings):
    """Embeddings as a vendor's client has them, with a name and a key."""

    def __init__(self, model: str = "m-1", dims: int = 3, key: str = SECRET, **settings: Any) -> None:
        self.model = model
        self.api_key = key
        self.inner = Counting(dims, **settings)
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.inner(texts)

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        self.inner.fail([text])
        return [-number for number in self.inner.vector(text)]


@pytest.fixture
def store() -> Iterator[Store]:
    with Memory({"url": "memory://"}) as memory:
        yield memory.store


def embedding(store: Store, embed: Any, dims: int | None = 3, **settings: Any) -> Embedding:
    assert store.items is not None
    return Embedding(embedder_of(embed, dims), store.items, **{"cache_delay": 0, **settings})


def rows_of(store: Store) -> list[ItemRow]:
    assert store.items is not None
    return list(store.run(partial(store.items.page, ItemQuery(EMBEDDINGS, 1, 1000)), write=False))


def documents(store: Store, made: Embedding, *texts: str) -> list[list[float] | None]:
    return run_flow(store, made.documents(texts))


# ------------------------------------------------------------------------------------------- vectors


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_any_finite_vector_is_kept_at_length_one(vector: list[float]) -> None:
    packed = pack(vector, "m")
    kept = unpack(packed)
    assert len(kept) == len(vector) and all(map(math.isfinite, kept))
    assert math.hypot(*kept) == pytest.approx(1, abs=0.01) or not any(kept)
    if any(abs(number) > 1e-200 for number in vector):
        assert any(kept)


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=40), st.lists(st.floats(-1, 1), min_size=8, max_size=40))
def test_cosines_stay_what_they_were(one: list[float], other: list[float]) -> None:
    size = min(len(one), len(other))
    one, other = one[:size], other[:size]
    packed = unpack(pack(other, "m"))
    kept = cosine(unpack(pack(one, "m")), packed, squared(packed))
    if math.hypot(*one) > 1e-3 and math.hypot(*other) > 1e-3:
        exact = math.fsum(map(float.__mul__, one, other)) / math.hypot(*one) / math.hypot(*other)
        assert kept == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize(
    "vector", [[], [math.nan], [1.0, math.inf], None, "no", [None], [[1.0]], 4, ["x"], [10**400], object()]
)
def test_what_is_no_vector_is_refused(vector: Any) -> None:
    with pytest.raises(BadVector, match="^the model gave"):
        pack(vector, "the model")


@pytest.mark.parametrize("text", ["plain", "größe", "\ud83d\ude00", "a\ud800b", "\0", "𝄞"])
def test_any_text_can_be_sent(text: str) -> None:
    assert clean(text).encode("utf-8")
    assert clean(text) == clean(clean(text))
    assert clean("\ud83d\ude00") == "😀"


# ------------------------------------------------------------------------------------------ embedders


async def afunction(texts: list[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return [[1.0, len(text), 2.0] for text in texts]


KINDS: dict[str, Callable[[], Any]] = {
    "langchain": Named,
    "fake": lambda: DeterministicFakeEmbedding(size=3),
    "function": Counting,
    "async function": lambda: afunction,
    "async object": ACounting,
    "async lambda": lambda: lambda texts: afunction(texts),
    "langgraph": lambda: ensure_embeddings(Counting()),
    "langgraph async": lambda: ensure_embeddings(afunction),
    "partial": lambda: partial(afunction),
    "numpy": lambda: lambda texts: pytest.importorskip("numpy").ones((len(texts), 3), "float32"),
}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("where", ["blocking", "async", "blocking in a loop", "in a thread beside a loop"])
def test_every_kind_of_embedder_serves_every_kind_of_call(store: Store, kind: str, where: str) -> None:
    made = embedding(store, KINDS[kind](), dims=None)

    def read() -> Any:
        return documents(store, made, "a", "bb"), run_flow(store, made.query("a"))

    async def inside() -> Any:
        if where == "async":
            return await arun_flow(store, made.documents(["a", "bb"])), await arun_flow(store, made.query("a"))
        return await asyncio.to_thread(read) if "thread" in where else read()

    (one, two), query = read() if where == "blocking" else asyncio.run(inside())
    assert len(one) == len(two) == len(query) == 3 == made.dims
    assert len(made.identity) == 8
    assert documents(store, made, "bb") == [two]


def test_an_async_client_is_always_called_in_one_loop(store: Store) -> None:
    loops: list[Any] = []

    async def embed(texts: list[str]) -> list[list[float]]:
        loops.append(asyncio.get_running_loop())
        return [[1.0] for _ in texts]

    made = embedding(store, embed, 1)
    documents(store, made, "a")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda text: documents(store, made, text), "bcde"))
    assert len(loops) == 6 and len(set(map(id, loops))) == 1


@pytest.mark.parametrize(
    ("embed", "error", "said"),
    [
        (None, ConfigError, "embed is a NoneType"),
        (42, ConfigError, "embed is a int"),
        ("text-embedding-3-small", ConfigError, "provider:model"),
        (":x", ConfigError, "provider:model"),
        ("nobody:x", ConfigError, "nobody.*not supported"),
        ("cohere:embed-v4", MissingExtra, "cohere.*pip install"),
    ],
)
def test_what_makes_no_vectors_is_refused(embed: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=f"(?s){said}"):
        embedder_of(embed)


def test_without_langchain_its_names_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "langchain.embeddings", None)
    with pytest.raises(MissingExtra, match="pip install langchain"):
        embedder_of("openai:text-embedding-3-small")


@pytest.mark.parametrize("dims", [0, -1, True, "3", 2.0])
def test_dims_are_a_positive_number(dims: Any) -> None:
    with pytest.raises(ConfigError, match="dims is"):
        embedder_of(Counting(), dims)


# ------------------------------------------------------------------------------------ which model it is


def identity_of(store: Store, embed: Any, dims: int | None = 3) -> bytes:
    made = embedding(store, embed, dims)
    documents(store, made, "a")
    return made.identity


def test_a_model_is_told_by_its_class_name_and_dims(store: Store) -> None:
    one = identity_of(store, Named("m-1"))
    assert identity_of(store, Named("m-1", key="another")) == one
    assert identity_of(store, Named("m-1"), None) == one
    assert len({one, identity_of(store, Named("m-2")), identity_of(store, Named("m-1", dims=4), 4)}) == 3


def test_dims_that_were_learnt_are_not_asked_for_again(store: Store) -> None:
    first, again = Named(), Named()
    identity_of(store, first, None)
    assert identity_of(store, again, None)
    assert (len(first.inner.calls), len(again.inner.calls)) == (2, 0)


def test_a_function_is_told_by_what_it_makes_of_a_text_about(store: Store) -> None:
    def noisy(by: float) -> Callable[[list[str]], list[list[float]]]:
        return lambda texts: [[0.5 + by, 1.0 - by, 0.25] for _ in texts]

    one = identity_of(store, noisy(0))
    assert identity_of(store, noisy(1e-3)) == identity_of(store, noisy(-1e-3)) == one
    assert identity_of(store, noisy(0.2)) != one
    assert identity_of(store, Counting()) != one


def test_secrets_are_shown_nowhere(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fail(texts: list[str]) -> None:
        raise RuntimeError(f"Incorrect API key provided: {SECRET}")

    class Client(BaseModel, Embeddings):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        model: str = "m"
        api_key: SecretStr = SecretStr(SECRET)

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise ValueError(self.api_key.get_secret_value())

        def embed_query(self, text: str) -> list[float]:
            raise ValueError(self.api_key.get_secret_value())

    with caplog.at_level(logging.DEBUG):
        for embed in (Named(fail=fail), Client(), Counting(fail=fail)):
            made = embedding(store, embed)
            assert documents(store, made, "a") == [None]
            assert run_flow(store, made.query("a")) is None
            assert SECRET not in repr(made) + repr(made.embedder) + made.embedder.id
    assert caplog.records and SECRET not in caplog.text


def test_a_model_is_measured_once(store: Store) -> None:
    models = [Named(dims=8) for _ in range(3)]
    one = run_flow(store, embedding(store, models[0], 8).model())
    assert one is not None and one.measured and one.dims == 8
    assert (models[0].inner.texts, sorted(models[0].queries)) == ([*PAIRS.sentences], sorted(PAIRS.questions))
    assert one.mean < 0, "questions are asked as queries, whose vectors this model turns around"

    async def tasks() -> list[Any]:
        made = embedding(store, models[1], 8)
        return await asyncio.gather(*(arun_flow(store, made.model()) for _ in range(5)))

    assert asyncio.run(tasks()) == [one] * 5
    assert models[1].inner.calls == models[1].queries == []
    other = Memory({"url": "memory://"})
    made = embedding(other.store, models[2], 8)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: run_flow(other.store, made.model()), range(4))) == [one] * 4
    assert len(models[2].inner.calls) == 1
    other.close()


def test_a_model_that_fails_is_measured_later(store: Store) -> None:
    model = Named(fail=refuse(PAIRS.questions[9]))
    made = embedding(store, model)
    assert run_flow(store, made.model()) is None
    model.inner.fail = lambda texts: None
    assert run_flow(store, made.model()) is not None


# ------------------------------------------------------------------------------------------- the cache


def test_a_text_is_embedded_once(store: Store) -> None:
    model = Counting()
    made = embedding(store, model)
    one, two, again = documents(store, made, "a", "b", "a")
    assert one == again != two
    assert documents(store, made, "b", "c")[0] == two
    assert model.texts == ["a", "b", "c"]
    assert documents(store, embedding(store, model), "a", "b") == [one, two]
    assert model.texts == ["a", "b", "c"]


def test_documents_and_queries_are_kept_apart(store: Store) -> None:
    model = Named()
    made = embedding(store, model)
    (document,), query = documents(store, made, "a"), run_flow(store, made.query("a"))
    assert document is not None and query == tuple(-number for number in document)
    assert run_flow(store, made.query("a")) == run_flow(store, embedding(store, model).query("a")) == query
    assert model.queries == ["a"]


@pytest.mark.parametrize("numpy", [True, False])
def test_a_kept_vector_is_the_fresh_one(store: Store, numpy: bool) -> None:
    def embed(texts: list[str]) -> Any:
        made = DeterministicFakeEmbedding(size=64).embed_documents(texts)
        return pytest.importorskip("numpy").array(made) if numpy else made

    fresh = documents(store, embedding(store, embed, 64), "a", "b")
    assert documents(store, embedding(store, embed, 64), "a", "b") == fresh
    kept_none = embedding(store, embed, 64, cache_entries=0)
    assert documents(store, kept_none, "a", "b") == fresh
    assert len(rows_of(store)) == 3  # with what tells the model from others


def test_a_blank_text_is_not_sent(store: Store) -> None:
    model = Counting()
    made = embedding(store, model)
    assert documents(store, made, "", " \n", "a")[:2] == [(0.0,) * 3] * 2
    assert run_flow(store, made.query(" ")) is None
    assert model.texts == ["a"]


def test_chunks_are_as_large_as_they_may_be(store: Store) -> None:
    model = Counting()
    made = embedding(store, model, chunk=4)
    assert None not in documents(store, made, *map(str, range(10)))
    assert sorted(map(len, model.calls)) == [1, 2, 4, 4]


def test_damaged_vectors_are_made_anew(store: Store) -> None:
    model = Counting()
    fresh = documents(store, embedding(store, model), "a", "b")
    rows = [row for row in rows_of(store) if len(row.key) == 16]
    changes = [
        ItemChange(rows[0].space, rows[0].key, rows[0].value[:-1] + b"\x11"),
        ItemChange(rows[1].space, rows[1].key, rows[0].value),
    ]
    assert store.items is not None
    store.run(partial(store.items.change, ItemBatch(time.time_ns() // 1000, changes=changes)), write=True)
    assert documents(store, embedding(store, model), "a", "b") == fresh
    assert sorted(model.texts) == ["a", "a", "b", "b"]


def test_what_is_used_stays_without_a_write_for_each_read(store: Store) -> None:
    now = [10 * HOUR]

    def embed(*texts: str) -> list[str]:
        model = Counting()
        made = embedding(store, model, cache_entries=16, clock=lambda: now[0])
        for text in texts:
            documents(store, made, text)
        return model.texts

    embed("a", "b")
    before = {row.key: row.updated for row in rows_of(store)}
    now[0] += HOUR // 2
    embed("a")
    assert {row.key: row.updated for row in rows_of(store)} == before
    now[0] += HOUR
    embed(*map(str, range(8)))
    embed("a")
    assert sum(row.updated > before.get(row.key, now[0]) for row in rows_of(store)) == 8
    embed(*map(str, range(8, 16)))
    assert len([row for row in rows_of(store) if len(row.key) == 16]) <= 16
    assert embed("a", "b") == ["b"]


def test_many_texts_at_once_push_nothing_out(store: Store) -> None:
    model = Counting()
    documents(store, embedding(store, model, cache_entries=20), "a")
    made = embedding(store, model, cache_entries=20)
    assert documents(store, made, *map(str, range(40))) == documents(store, made, *map(str, range(40)))
    documents(store, embedding(store, model, cache_entries=20), "a", "1")
    assert model.texts == ["a", *map(str, range(40)), "1"]


def test_vectors_are_put_many_at_once(store: Store) -> None:
    made = embedding(store, Counting(), cache_delay=60)
    for number in range(100):
        documents(store, made, str(number))
        assert documents(store, made, str(number)) != [None]
        kept = len([row for row in rows_of(store) if len(row.key) == 16])
        assert kept == (1 if number < 64 else 65)
    made = embedding(store, Counting(), cache_delay=0.05)
    documents(store, made, "a")
    documents(store, made, "b")
    time.sleep(0.06)
    documents(store, made, "c")
    again = Counting()
    documents(store, embedding(store, again), "a", "b", "c")
    assert again.texts == []


# -------------------------------------------------------------------------------------------- failures


def refuse(*refused: str) -> Callable[[list[str]], None]:
    def fail(texts: list[str]) -> None:
        if set(texts) & set(refused):
            raise ValueError("too long")

    return fail


@pytest.mark.parametrize("bad", [0, 1, 31, 62, 63])
def test_one_text_that_is_refused_spoils_no_other(store: Store, bad: int) -> None:
    model = Counting(fail=refuse(str(bad)))
    made = embedding(store, model, failures=2)
    vectors = documents(store, made, *map(str, range(64)))
    assert [number for number, vector in enumerate(vectors) if vector is None] == [bad]
    assert len(model.calls) <= 15
    assert None not in documents(store, made, "x", "y")


def test_a_model_that_is_down_is_left_alone_for_a_while(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fail(texts: list[str]) -> None:
        if down:
            raise ConnectionError

    down, model = [1], Named(fail=fail)
    made = embedding(store, model, failures=3, pause=0.2)
    for text in "abcdefgh":
        assert documents(store, made, text) == [None]
        assert run_flow(store, made.query(text)) is None
    assert len(model.inner.calls) + len(model.queries) == 3
    down.clear()
    time.sleep(0.25)
    assert None not in documents(store, made, "a", "b")
    assert run_flow(store, made.query("a")) is not None
    assert [record.levelname for record in caplog.records if "gave no vectors" in record.message].count("WARNING") == 1


def test_after_a_pause_one_call_tries() -> None:
    now = [0.0]
    breaker = Breaker(2, 10, lambda: now[0])
    for _ in range(2):
        assert breaker.may_call()
        breaker.failed()
    assert not breaker.may_call()
    now[0] = 11
    assert [breaker.may_call() for _ in range(3)] == [True, False, False]
    breaker.failed()
    assert not breaker.may_call()
    now[0] = 22
    assert breaker.may_call()
    breaker.succeeded()
    assert breaker.may_call() and breaker.may_call()


@pytest.mark.parametrize("kind", [Counting, ACounting, Named])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_that_does_not_answer_is_not_waited_for(store: Store, kind: Any, is_async: bool) -> None:
    made = embedding(store, kind(pause=1.0), timeout=0.1)
    since = time.monotonic()
    found = asyncio.run(arun_flow(store, made.documents(["a", "b"]))) if is_async else documents(store, made, "a", "b")
    assert found == [None, None]
    assert time.monotonic() - since < 0.9


def test_errors_of_the_model_may_be_the_callers(store: Store) -> None:
    made = embedding(store, Counting(fail=refuse("b")), on_error="raise", failures=2)
    for _ in range(2):
        with pytest.raises(ValueError, match="too long"):
            documents(store, made, "a", "b")
    with pytest.raises(StoreError, match="Try again later"):
        documents(store, made, "a")


@pytest.mark.parametrize("given", [3, None])
def test_a_vector_of_another_length_says_which_is_wrong(store: Store, given: int | None) -> None:
    model = Named()
    made = embedding(store, model, given)
    documents(store, made, "a")
    model.inner.dims = 5
    with pytest.raises(ConfigError, match=r"Named \(model=m-1\).* 5 numbers.* 3 are expected") as error:
        documents(store, made, "b")
    assert ("index dims is 3" in str(error.value)) is (given == 3)
    with pytest.raises(ConfigError):
        run_flow(store, made.query("b"))


@pytest.mark.parametrize(
    "gives",
    [
        lambda texts: [],
        lambda texts: [[1.0] * 3] * 9,
        lambda texts: [[math.nan] * 3] * len(texts),
        lambda texts: 4,
        lambda texts: None,
        lambda texts: next(iter(())),
    ],
)
def test_what_is_no_answer_is_a_failure(store: Store, gives: Any) -> None:
    class Wrong(Named):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return gives(texts)  # type: ignore[no-any-return]

    assert documents(store, embedding(store, Wrong()), "a", "b") == [None, None]
    since = time.monotonic()
    made = embedding(store, Wrong(), timeout=20)
    assert asyncio.run(arun_flow(store, made.documents(["a"]))) == [None]
    assert time.monotonic() - since < 10, "it was not waited for"


def test_vectors_may_come_one_by_one(store: Store) -> None:
    made = embedding(store, lambda texts: ([1.0, 2.0, 2.0] for _ in texts))
    assert [len(vector or ()) for vector in documents(store, made, "a", "b")] == [3, 3]


# ---------------------------------------------------------------------------------------- at the same time


def test_many_threads_and_tasks_ask_for_a_text_once(store: Store) -> None:
    model = ACounting(pause=0.05)
    made = embedding(store, model)

    async def tasks() -> list[Any]:
        return await asyncio.gather(*(arun_flow(store, made.documents(["a", "b"])) for _ in range(10)))

    with ThreadPoolExecutor(8) as pool:
        loops = [pool.submit(lambda: asyncio.run(tasks())) for _ in range(2)]
        threads = [pool.submit(lambda: documents(store, made, "b", "a")) for _ in range(6)]
        found = [each for loop in loops for each in loop.result()] + [each.result()[::-1] for each in threads]
    assert all(each == found[0] for each in found) and None not in found[0]
    assert sorted(model.texts) == ["a", "b"]


def test_a_blocking_call_in_a_loop_waits_for_no_task_of_it(store: Store) -> None:
    model = ACounting(pause=0.2)
    made = embedding(store, model)
    documents(store, made, "first")

    async def main() -> None:
        task = asyncio.create_task(arun_flow(store, made.documents(["a"])))
        await asyncio.sleep(0.05)
        assert documents(store, made, "a") == await task

    since = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - since < 10


def test_who_waits_takes_over_from_who_is_interrupted(store: Store) -> None:
    model = ACounting(pause=0.3)
    made = embedding(store, model)
    documents(store, made, "first")

    async def main() -> list[list[float] | None]:
        task = asyncio.create_task(arun_flow(store, made.documents(["a"])))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(arun_flow(store, made.documents(["a"])))
        await asyncio.sleep(0.05)
        task.cancel()
        return await waiting

    assert None not in asyncio.run(main())


def test_a_model_that_fails_fails_all_who_wait_at_once(store: Store) -> None:
    model = Counting(fail=refuse("a"), pause=0.1)
    made = embedding(store, model)
    documents(store, made, "first")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: documents(store, made, "a"), range(8)))
    assert found == [[None]] * 8
    assert len(model.texts) <= 3


def test_calls_one_after_another_start_no_thread_each() -> None:
    hangs = threading.Event()
    late = in_a_thread(lambda: hangs.wait(10))
    used = {within(threading.get_ident, 10) for _ in range(50)}  # one that has just answered may not rest yet
    assert threading.get_ident() not in used
    assert len(used) < 25
    assert not late.done(), "others wait for none that hangs"
    hangs.set()
    assert late.result(10)
