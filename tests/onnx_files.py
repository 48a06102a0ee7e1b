"""A folder with a model and its tokenizer, made here: each word has a vector, and there is nothing to it but that."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

WORDS = ("[PAD]", "[UNK]", "train", "seat", "cat", "query", ":")
VECTORS = (
    (0.5, 0.5, 0.5),
    (0.0, 0.0, 0.1),
    (1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
    (0.6, 0.8, 0.0),
    (0.0,) * 3,
)

_FLOAT, _INT64 = 1, 7


def _field(number: int, value: bytes | int) -> bytes:
    """Return a field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    digits = b""
    while value > 127:
        digits += bytes([value & 127 | 128])
        value >>= 7
    return digits + bytes([value])


def _value(name: str, kind: int, shape: Sequence[str | int]) -> bytes:
    dims = [_field(1, size) if isinstance(size, int) else _field(2, size.encode()) for size in shape]
    tensor = _field(1, kind) + _field(2, b"".join(_field(1, dim) for dim in dims))
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def model(output: str = "last_hidden_state") -> bytes:
    """Return an ONNX model that looks up the vector of each word."""
    size = len(VECTORS[0])
    numbers = struct.pack(f"<{len(VECTORS) * size}f", *(number for vector in VECTORS for number in vector))
    table = _field(1, len(VECTORS)) + _field(1, size) + _field(2, _FLOAT) + _field(8, b"table") + _field(9, numbers)
    node = _field(1, b"table") + _field(1, b"input_ids") + _field(2, output.encode()) + _field(4, b"Gather")
    graph = (
        _field(1, node)
        + _field(2, b"words")
        + _field(5, table)
        + _field(11, _value("input_ids", _INT64, ("batch", "sequence")))
        + _field(12, _value(output, _FLOAT, ("batch", "sequence", size)))
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


def tokenizer() -> str:
    """Return its tokenizer, as a tokenizer.json: words between spaces and signs."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
        }
    )


def write(folder: Path, name: str = "model.onnx", **configs: object) -> Path:
    """Write the folder; ``configs`` are JSON files by their names without the ending, ``__`` for a slash."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(model())
    (folder / "tokenizer.json").write_text(tokenizer())
    for path, content in configs.items():
        file = folder / f"{path.replace('__', '/')}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return folder
