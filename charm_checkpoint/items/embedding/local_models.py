"""Models that run here: those that fastembed knows by name, and folders with an ONNX model and its tokenizer.

fastembed fetches a model at its first use; nothing is fetched for a folder, which is read by onnxruntime and
tokenizers alone, that come with fastembed.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.items.embedding.timed_calls import awaited, in_a_thread, within

LOCAL: Final = "fastembed"

_BATCH = 32
_SAMPLES, _SAMPLE = 64, 16 << 10
_MISSING = "pip install 'charm-checkpoint[embed]'"


class _Model(Protocol):
    def documents(self, texts: list[str]) -> Sequence[Any]: ...

    def query(self, text: str) -> Any: ...


class LocalEmbedder:
    """A model in this process; it is loaded with the first text."""

    def __init__(self, id: str, name: str, dims: int | None, load: Callable[[], _Model]) -> None:
        self.id = id
        self.name = name
        self.dims = dims
        self._load = load
        self._model: _Model | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<embedder {self.name}>"

    def _loaded(self) -> _Model:
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    def embed_documents(self, texts: list[str], timeout: float) -> Sequence[Any]:
        """Return the vectors of texts that are to be found."""
        return within(lambda: self._loaded().documents(texts), timeout)

    def embed_query(self, text: str, timeout: float) -> Any:
        """Return the vector of a text that is looked for."""
        return within(lambda: self._loaded().query(text), timeout)

    async def aembed_documents(self, texts: list[str], timeout: float) -> Sequence[Any]:
        """Return what `embed_documents` does, without blocking the event loop."""
        return await awaited(asyncio.wrap_future(in_a_thread(lambda: self._loaded().documents(texts))), timeout)

    async def aembed_query(self, text: str, timeout: float) -> Any:
        """Return what `embed_query` does, without blocking the event loop."""
        return await awaited(asyncio.wrap_future(in_a_thread(lambda: self._loaded().query(text))), timeout)


def local_model(model: str) -> LocalEmbedder:
    """Return the embedder of a model by fastembed's name for it, or by its folder."""
    folder = Path(model).expanduser()
    is_folder = folder.is_dir()
    for package in ("onnxruntime", "tokenizers") if is_folder else ("fastembed",):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"embed is 'fastembed:{model}', and {package} is not installed: {_MISSING}")
    if is_folder:
        return _of_folder(folder)
    known = {str(each["model"]).lower(): each for each in _text_embedding().list_supported_models()}
    found = known.get(model.lower())
    if found is None:
        raise ConfigError(
            f"embed is 'fastembed:{model}', which is neither a folder here nor a model that fastembed knows, such as "
            "BAAI/bge-small-en-v1.5; fastembed.TextEmbedding.list_supported_models() has them all."
        )
    name = str(found["model"])
    return LocalEmbedder(f"fastembed {name}", f"fastembed:{name}", int(found["dim"]), lambda: _Fetched(name))


def _text_embedding() -> Any:
    return importlib.import_module("fastembed").TextEmbedding


class _Fetched:
    """A model that fastembed knows."""

    def __init__(self, name: str) -> None:
        self._model = _text_embedding()(model_name=name)

    def documents(self, texts: list[str]) -> Sequence[Any]:
        return list(self._model.passage_embed(texts))

    def query(self, text: str) -> Any:
        return next(iter(self._model.query_embed(text)))


# ------------------------------------------------------------------------------------------ folders


def _of_folder(folder: Path) -> LocalEmbedder:
    model = _model_file(folder)
    if not (folder / "tokenizer.json").is_file():
        raise ConfigError(f"embed is the folder {folder}, in which there is no tokenizer.json.")
    digest = hashlib.blake2b(digest_size=16)
    for path in (model, folder / "tokenizer.json", *sorted(folder.glob("*/config.json")), *folder.glob("config*.json")):
        _sample(path, digest)
    return LocalEmbedder(f"onnx {digest.hexdigest()}", f"fastembed:{folder.name}", None, lambda: _Onnx(folder, model))


def _model_file(folder: Path) -> Path:
    for name in ("model.onnx", "onnx/model.onnx", "model_optimized.onnx", "onnx/model_quantized.onnx"):
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("**/*.onnx"))
    if len(found) != 1:
        there = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise ConfigError(
            f"embed is the folder {folder}: a model.onnx is wanted there, or one other *.onnx; found: {there}."
        )
    return found[0]


def _sample(path: Path, digest: Any) -> None:
    """Add to a digest the size of a file and a megabyte from all over it: other weights differ everywhere."""
    size = path.stat().st_size
    digest.update(size.to_bytes(8, "big"))
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
            if size <= _SAMPLE:
                break


class _Onnx:
    """A model and its tokenizer in a folder, as those of sentence-transformers are laid out."""

    def __init__(self, folder: Path, model: Path) -> None:
        runtime = importlib.import_module("onnxruntime")
        self._numpy = importlib.import_module("numpy")
        self._session = runtime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = next(
            (name for name in ("sentence_embedding", "last_hidden_state") if name in outputs), outputs[0]
        )
        self._tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_longest(folder))
        padding = self._tokenizer.padding or {}
        self._pad = int(padding.get("pad_id", _read(folder / "config.json").get("pad_token_id") or 0))
        self._tokenizer.no_padding()
        self._first = bool(_read(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token"))
        prompts = _read(folder / "config_sentence_transformers.json").get("prompts") or {}
        self._before_query = str(prompts.get("query") or "")
        self._before_document = str(next((prompts[name] for name in ("document", "passage") if prompts.get(name)), ""))

    def documents(self, texts: list[str]) -> Sequence[Any]:
        return self._embed([self._before_document + text for text in texts])

    def query(self, text: str) -> Any:
        return self._embed([self._before_query + text])[0]

    def _embed(self, texts: list[str]) -> list[Any]:
        encoded = [each.ids for each in self._tokenizer.encode_batch(texts)]
        vectors: list[Any] = [None] * len(texts)
        by_length = sorted(range(len(texts)), key=lambda number: len(encoded[number]))
        for start in range(0, len(texts), _BATCH):  # those of like length together, so that little is padded
            numbers = by_length[start : start + _BATCH]
            for number, vector in zip(numbers, self._batch([encoded[number] for number in numbers]), strict=True):
                vectors[number] = vector
        return vectors

    def _batch(self, encoded: list[list[int]]) -> Any:
        numpy = self._numpy
        shape = (len(encoded), max(1, *map(len, encoded)) if len(encoded) > 1 else max(1, len(encoded[0])))
        ids, mask = numpy.full(shape, self._pad, numpy.int64), numpy.zeros(shape, numpy.int64)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros(shape, numpy.int64)}
        given = {name: value for name, value in given.items() if name in self._inputs}
        hidden = self._session.run([self._output], given)[0]
        if hidden.ndim == 2:
            return hidden
        if self._first:
            return hidden[:, 0]
        weights = mask[:, :, None]
        return (hidden * weights).sum(axis=1) / numpy.maximum(weights.sum(axis=1), 1)


def _longest(folder: Path) -> int:
    """Return how many tokens of a text the model takes in."""
    told = [
        _read(folder / "sentence_bert_config.json").get("max_seq_length"),
        _read(folder / "tokenizer_config.json").get("model_max_length"),
        _read(folder / "config.json").get("max_position_embeddings"),
    ]
    fitting = [number for number in told if isinstance(number, int) and 0 < number <= 1 << 16]
    return min(fitting, default=512)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    return found if isinstance(found, dict) else {}
