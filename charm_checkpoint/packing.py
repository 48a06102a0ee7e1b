"""Compress the bytes that are stored; pure.

Most of what is stored is small (a message, a checkpoint's record), where a compressor has
little to learn from. A fixed dictionary of the words that such records are made of lends it
a start: it halves a typical record.
"""

from __future__ import annotations

import zstandard

from charm_checkpoint.errors import StoreCorrupt

RAW = b"\x00"
ZSTD = b"\x01"

# Part of the storage format: what was packed with it can only be unpacked with it, so it
# never changes; another dictionary would need another leading byte.
_WORDS = (
    b"invalid_tool_calls\x90\xafusage_metadata\xc0\xaaresponse_metadata\xaffinish_reason\xa4stop"
    b"\xabinput_tokens\xadoutput_tokens\xactotal_tokens\xb3input_token_details\xb4output_token_details"
    b"\xaafunction\xa9arguments\xa4args\xa9tool_call\xactool_call_id\xa8artifact\xa6status\xa7success"
    b"\xa5error\xaa__pregel_tasks\xab__interrupt__\xa9__error__\xaa__resume__\xa8__no_writes__"
    b"\xa7example\xc2\xa4chat\xa6system\xa4tool\xa2ai\xa5human\xa4type\xa4name\xc0\xa2id\xd9$lc_run--"
    b"langchain_core.messages.ai:AIMessagelangchain_core.messages.human:HumanMessage"
    b"\xa7content\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa5human\xa4name\xc0\xa2id\xd9$"
    b"\xa7content\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa2ai\xa4name\xc0\xa2id\xd9$"
    b"\xaatool_calls\x90\xb2invalid_tool_calls\x90\xaeusage_metadata\xc0"
    b"+00:00\x86\xa6source\xa5input\xa6source\xa4loop\xa6source\xa6update\xa6source\xa4fork\xa4step"
    b"\xa7parents\x80\xa6run_id\xd9$\xa6writes\xa9thread_id\x2d4\x2d8\x2d9\x2da\x2db"
    b"\xa9__start__\xa9__input__\xab__interrupt__\xa7__end__\xacbranch:to:\xa5model\xa5agent\xa5tools"
    b"\x82\xa9__start__\x01\x83\xa8messages\x02\xa9__input__\x80\xa9__start__\x81\xa9__start__\x01"
    b"\xa8messages\xaebranch:to:\xa5agent\xd9 2026-01-01T00:00:00.000000+00:00"
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
    coder = _take()
    packed = coder.compress(payload)
    _idle.append(coder)
    if len(packed) <= len(payload) - (len(payload) >> 3) - 1:
        return ZSTD + packed
    return RAW + payload


def unpack(data: bytes) -> bytes:
    """Undo `pack`; raises `StoreCorrupt` on anything it did not make."""
    kind = data[:1]
    if kind == RAW:
        return data[1:]
    if kind != ZSTD:
        raise StoreCorrupt(f"Stored bytes start with {kind!r}, which no version up to this one writes.")
    coder = _take()
    try:
        return coder.decompress(data[1:])
    except zstandard.ZstdError as error:
        raise StoreCorrupt(f"Stored bytes cannot be decompressed: {error}") from error
    finally:
        _idle.append(coder)
