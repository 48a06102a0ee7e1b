"""Models that run here: a folder with an ONNX model, without a network, and fastembed's own by name."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import onnx_files
import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.items.embedding import local_models
from charm_checkpoint.items.embedding.embedders import Embedder, embedder_of
from charm_checkpoint.items.embedding.vectors import pack, unpack

for _package in ("onnxruntime", "tokenizers", "fastembed"):
    pytest.importorskip(_package)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise AssertionError("a model in a folder needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "own model"


def local(folder: Path) -> Embedder:
    return embedder_of(f"fastembed:{folder}")


def documents(folder: Path, *texts: str) -> list[list[float]]:
    return [unpack(pack(vector, "m")) for vector in local(folder).embed_documents(list(texts), 60)]


def near(*numbers: float) -> Any:
    return pytest.approx(unpack(pack(numbers, "m")), abs=1e-3)


def test_a_text_is_the_mean_of_its_words_whatever_else_is_in_the_batch(folder: Path) -> None:
    onnx_files.write(folder)
    alone = documents(folder, "train seat")
    assert alone == [near(1, 1, 0)]
    assert documents(folder, "cat", "train seat", "train " * 30, "Train, seat")[1] == alone[0]
    assert documents(folder, *["cat"] * 40, "seat")[39:] == [near(0, 0, 1), near(0, 1, 0)]


def test_the_first_word_may_stand_for_all(folder: Path) -> None:
    onnx_files.write(folder, **{"1_Pooling__config": {"pooling_mode_cls_token": True}})
    assert documents(folder, "train seat cat") == [near(1, 0, 0)]


@pytest.mark.parametrize(
    "configs",
    [
        {"tokenizer_config": {"model_max_length": 1}},
        {"sentence_bert_config": {"max_seq_length": 1}},
        {"config": {"max_position_embeddings": 1}, "tokenizer_config": {"model_max_length": 10**30}},
    ],
)
def test_what_is_too_long_is_cut_off(folder: Path, configs: dict[str, Any]) -> None:
    onnx_files.write(folder, **configs)
    assert documents(folder, "train seat cat") == [near(1, 0, 0)]


def test_what_goes_in_front_of_texts(folder: Path) -> None:
    prompts = {"prompts": {"query": "query: ", "passage": "seat "}}
    onnx_files.write(folder, config_sentence_transformers=prompts)
    assert documents(folder, "train") == [near(1, 1, 0)]
    assert unpack(pack(local(folder).embed_query("train", 60), "m")) == near(1.6, 0.8, 0)


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx", "a/b/other.onnx"])
def test_where_the_model_is(folder: Path, name: str) -> None:
    onnx_files.write(folder, name)
    assert documents(folder, "cat") == [near(0, 0, 1)]


def test_a_folder_that_has_no_model_says_what_is_missing(folder: Path) -> None:
    onnx_files.write(folder, "one.onnx")
    (folder / "two.onnx").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"model\.onnx is wanted.*one\.onnx, two\.onnx"):
        local(folder)
    (folder / "two.onnx").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        local(folder)


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a folder here nor a model that fastembed knows"):
        embedder_of("fastembed:nobody/nothing")


def test_a_name_that_fastembed_knows_is_loaded_with_the_first_text_only() -> None:
    made = embedder_of("fastembed:baai/bge-small-en-v1.5")
    assert (made.id, made.dims) == ("fastembed BAAI/bge-small-en-v1.5", 384)


def test_a_model_of_fastembeds_makes_vectors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fastembed
    from fastembed.common.model_description import ModelSource, PoolingType

    onnx_files.write(folder, tokenizer_config={"model_max_length": 64, "pad_token": "[PAD]"}, config={})
    fastembed.TextEmbedding.add_custom_model(
        model="own/words",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="https://example.invalid"),
        dim=3,
        model_file="model.onnx",
    )
    # What would be downloaded is there.
    kinds = partial(fastembed.TextEmbedding, specific_model_path=str(folder))
    kinds.list_supported_models = fastembed.TextEmbedding.list_supported_models  # type: ignore[attr-defined]
    monkeypatch.setattr(local_models, "_text_embedding", lambda: kinds)
    made = embedder_of("fastembed:own/words")
    vectors = [*made.embed_documents(["train seat", "cat"], 60), asyncio.run(made.aembed_query("seat", 60))]
    assert [unpack(pack(vector, "m")) for vector in vectors] == [near(1, 1, 0), near(0, 0, 1), near(0, 1, 0)]
    assert made.dims == 3


@pytest.mark.parametrize("package", ["fastembed", "onnxruntime"])
def test_without_the_extra_it_says_what_to_install(folder: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_files.write(folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(MissingExtra, match=rf"{package} is not installed: pip install 'charm-checkpoint\[embed\]'"):
        embedder_of("fastembed:BAAI/bge-small-en-v1.5" if package == "fastembed" else f"fastembed:{folder}")


def test_a_model_is_told_by_what_is_in_its_folder(folder: Path, tmp_path: Path) -> None:
    one = local(onnx_files.write(folder)).id
    moved = local(onnx_files.write(tmp_path / "elsewhere")).id
    other = local(onnx_files.write(tmp_path / "other", config={"max_position_embeddings": 1})).id
    data = bytearray(onnx_files.model())
    data[data.index(b"\x00\x00\x80?")] ^= 1
    (folder / "model.onnx").write_bytes(data)
    assert one == moved
    assert len({one, other, local(folder).id}) == 3


def test_a_store_searches_by_a_model_in_a_folder(folder: Path) -> None:
    index: Any = {"embed": f"fastembed:{onnx_files.write(folder)}", "fields": ["text"]}
    with open_memory("memory://") as memory:
        store = memory.get_langgraph_store(index=index)
        store.put(("u",), "a", {"text": "seat"})
        asyncio.run(store.aput(("u",), "b", {"text": "a cat"}))
        assert [item.key for item in store.search(("u",), query="cat")] == ["b", "a"]
        assert [item.key for item in asyncio.run(store.asearch(("u",), query="seat"))] == ["a", "b"]


@pytest.fixture(scope="module")
def real() -> Iterator[Path]:
    given = os.environ.get("CHARM_TEST_MODEL")
    if not given:
        pytest.skip("CHARM_TEST_MODEL names no folder with a model of sentences, such as all-MiniLM-L6-v2")
    yield Path(given)


def test_a_real_model_finds_by_meaning(real: Path) -> None:
    with open_memory("memory://") as memory:
        store = memory.get_langgraph_store(index={"embed": f"fastembed:{real}", "search": "hybrid"})
        for key, text in {"taste": "Prefers window seats on trains", "home": "Two cats live with us"}.items():
            store.put(("u",), key, {"text": text})
        related, unrelated = store.search(("u",), query="where to sit in a railway carriage?")
        assert (related.key, unrelated.key) == ("taste", "home")
        assert related.score > 0.4 > 0.2 > unrelated.score
