"""Compress the bytes that are stored; pure.

Most of what is stored is small (a message, a checkpoint's record), where a compressor has
little to learn from. A fixed dictionary of the words that such records are made of lends it
a start: it halves a typical record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import add

import zstandard

from charm_checkpoint.errors import NewerFormat, StoreCorrupt
from charm_checkpoint.values.limits import DEFAULTS, MARGIN, Limits, count_elements, unpacked_bound

MAGIC = b"\x28\xb5\x2f\xfd"
"""What a zstd frame begins with elsewhere (RFC 8878, 3.1.1)."""
_HEADER = 19
"""Bytes behind the leading one that a frame's header takes at most."""

# The first byte says how to unpack the rest: never change or reuse one. b"\x02" is taken, too: see lua/common.lua.
RAW = b"\x00"
ZSTD = b"\x01"

# Part of the storage format: what was packed with it can only be unpacked with it, so it
# never changes; another dictionary would need another leading byte.
_WORDS = (
    b"\xb3input_token_details\xb4output_token_details\xaafunction\xa9arguments\xa5index\xa8artifact\xc0\xa6status"
    b"\xa7success\xa5error\xa7example\xc2\xa4chat\xa6system\xa9ephemeral\xadcache_control\xa8thinking\xa9signature"
    b"\xaa__pregel_tasks\xab__interrupt__\xa9__error__\xaa__resume__\xad__no_writes__\xa7__end__\xa6__root__"
    b"\xadfinish_reason\xa4stop\xaamodel_name\xaamodel_provider\xa5usage\xabtotal_tokens\xadcounters_since_delta_snapshot"
    b"\xacinput_tokens\xadoutput_tokens\xactotal_tokens\xa4text\xa4type\xa4text\xa9image_url\xa6run_id\xd9$\xa4user"
    b"\xaaassistant\xa4role\xa5files\xa5todos\xa7summary\xa4data\xa4name\xa4args\xa2id\xa9tool_call\xa4type\xa9tool_call"
    b"\xactool_call_id\xa4tool\xa6update\xa4fork\xa5agent\xa5tools\xb0branch:to:tools\xb0branch:to:agent"
    b"~__pregel_push, "
    b"\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa5human\xa4name\xc0\xa2id\xd9$"
    b"\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa2ai\xa4name\xc0\xa2id\xd9(lc_run--\xa2id\xd9$"
    b"\xaatool_calls\x90\xb2invalid_tool_calls\x90\xaeusage_metadata\xc0\x92\xa7content\xa2id"
    b"\x01\x93\xd9$~__pregel_pull, model\x91\x93\x00\xa8messages\x91\xc8\x02(\x93\xa1a\x89\xa7content\xda\x02"
    b"\x01\x93\xd9$\xb9~__pregel_pull, __start__\x92\x93\x00\xa8messages\x91\xc8\x02(\x93\xa1h\x86\xa7content\xda\x02"
    b"\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa5human\xa4name\xc0\xa2id\xc0\x91\xa7content"
    b"\x93\x01\xafbranch:to:model\xc0\xb0updated_channels\x91\xa9__start__\x83\xa6source\xa5input\xa4step"
    b"\xa7parents\x80\x82\xa8messages\x00\xa9__start__\x01"
    b"\x00\x00\x00\x01\x97\x04\xd9 2026-T00:00:00.000000+00:00\x83\xa9__start__\xa8messages\xafbranch:to:model"
    b"\x83\xa9__input__\x80\xa9__start__\x81\xa9__start__\xa5model\x81\xafbranch:to:model\x81\xb0updated_channels"
    b"\x92\xafbranch:to:model\xa8messages\x83\xa6source\xa4loop\xa4step\xa7parents\x80\x82\xa8messages\x00"
    b"\xafbranch:to:model\x91\xc0"
)
_DICTIONARY = zstandard.ZstdCompressionDict(_WORDS, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
# No magic number and no checksum: the leading byte says what it is, chunks carry a hash.
_PARAMETERS = zstandard.ZstdCompressionParameters.from_level(
    1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=1, write_checksum=0, write_dict_id=0
)


class _Coder:
    """A compressor and a decompressor. Making one costs a millisecond, most of it for the dictionary."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(dict_data=_DICTIONARY, compression_params=_PARAMETERS).compress
        self.decompress = zstandard.ZstdDecompressor(
            dict_data=_DICTIONARY, format=zstandard.FORMAT_ZSTD1_MAGICLESS
        ).decompress


# Coders at rest. Two threads must not use one at once, and threads come and go with every run
# of a graph, so whoever needs one takes it from here; pop and append are atomic.
_idle: list[_Coder] = []


def _take() -> _Coder:
    try:
        return _idle.pop()
    except IndexError:
        return _Coder()


def pack(payload: bytes) -> bytes:
    """Return ``payload`` as it is stored: compressed where that saves at least an eighth."""
    kind, data = _packed(payload)
    return kind + data


def _packed(payload: bytes) -> tuple[bytes, bytes]:
    coder = _take()
    packed = coder.compress(payload)
    _idle.append(coder)
    if len(packed) <= len(payload) - (len(payload) >> 3) - 1 and len(payload) <= unpacked_bound(len(packed)):
        return ZSTD, packed
    return RAW, payload


def pack_value(
    payload: bytes, limits: Limits = DEFAULTS, start: int = 1, join: Callable[[bytes, bytes], bytes] = add
) -> bytes:
    """Return encoded values as they are stored, so that `unpack_value` takes them; their elements begin at ``start``.

    What has very many elements that are nearly all the same stays as large as it is. ``join`` puts the first byte and
    the rest together, and may put more in front at once: of a large value each copy takes its time.
    """
    kind, data = _packed(payload)
    most = limits.max_elements
    if limits.may_be_dense(len(payload), len(data) + 1, MARGIN) and count_elements(payload[start:], most) > most:
        kind, data = RAW, payload
    return join(kind, data)


def unpack_value(data: bytes, limits: Limits = DEFAULTS, start: int = 1) -> bytes:
    """Undo `pack_value`; raises `StoreCorrupt` as `unpack` does, and for what comes to too much."""
    payload = unpack(data)
    limits.check_encoded(payload, len(data), start)
    return payload


def check_all(packed: Sequence[bytes], limits: Limits) -> None:
    """Raise `StoreCorrupt` where encoded values come to too much together, though each for itself does not."""
    size = sum(map(unpacked_size, packed))
    if size > limits.max_bytes:
        raise limits.refused("max_bytes")
    if limits.may_be_dense(size, sum(map(len, packed))):
        left = limits.max_elements
        for data in packed:
            left = limits.spend(left, unpack_value(data, limits)[1:])


def unpacked_size(data: bytes) -> int:
    """Return how many bytes `unpack` would return, as far as can be told without doing it."""
    if data[:1] != ZSTD:
        return len(data)
    try:
        return max(zstandard.frame_content_size(MAGIC + data[1:_HEADER]), len(data))
    except zstandard.ZstdError:  # `unpack` will say so
        return len(data)


def unpack(data: bytes) -> bytes:
    """Undo `pack`; raises `StoreCorrupt` on anything it did not make, before more is allocated than that allows."""
    read = UNPACK.get(data[:1])
    if read is None:
        raise NewerFormat.of("Stored bytes begin with", data[:1])
    return read(data[1:])


def _decompressed(frame: bytes) -> bytes:
    if frame[:1] >= _LONG:
        _check_size(frame)
    coder = _take()
    try:
        return coder.decompress(frame)
    except zstandard.ZstdError as error:
        raise StoreCorrupt(f"Stored bytes cannot be decompressed: {error}") from error
    except MemoryError as error:
        # A block takes three bytes at least, and makes 128 KB at most: what claims more asks for memory in vain.
        if zstandard.frame_content_size(MAGIC + frame[: _HEADER - 1]) > len(frame) << 17:
            raise StoreCorrupt("Stored bytes claim to be more than they can be once decompressed.") from error
        raise
    finally:
        _idle.append(coder)


_LONG = b"\x80"
"""From this first byte on, a frame says its size in four or eight bytes; the others are of less than 66 kB."""


def _check_size(frame: bytes) -> None:
    """Refuse a frame that says it holds more than it may: so much would be allocated before it is looked at."""
    try:
        size = zstandard.frame_content_size(MAGIC + frame[:_HEADER])
    except zstandard.ZstdError as error:
        raise StoreCorrupt(f"Stored bytes cannot be decompressed: {error}") from error
    if size > unpacked_bound(len(frame)):
        raise StoreCorrupt(
            f"{len(frame):,} stored bytes say that they unpack to {size:,}, which nothing is packed to: they are "
            "damaged, or made to exhaust memory."
        )


UNPACK: dict[bytes, Callable[[bytes], bytes]] = {RAW: bytes, ZSTD: _decompressed}
"""How to unpack what stands behind each first byte."""
