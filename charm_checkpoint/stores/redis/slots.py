"""Short texts for the slots of a cluster, so that a key can be beside others without naming what these name; pure."""

from __future__ import annotations

from binascii import crc_hqx
from functools import lru_cache
from itertools import product

SLOTS = 1 << 14
_LETTERS = b"@ABCDEFGHIJKLMNO"
_PAIRS = tuple(bytes(pair) for pair in product(_LETTERS, repeat=2))

# A slot is the low 14 bits of the CRC-16 of what a key has in braces. That of a text is that of its first half with
# zeros behind, exclusive or that of its second half: so none has to be looked for.
_FIRST = tuple((pair, crc_hqx(pair + b"\0\0", 0)) for pair in _PAIRS)
_SECOND = {crc_hqx(pair, 0): pair for pair in _PAIRS}


@lru_cache(maxsize=1024)
def slot_text(slot: int) -> bytes:
    """Return the first, by the alphabet, of the texts of four letters ``@`` to ``O`` that are in a slot."""
    wanted = [slot | high for high in range(0, 1 << 16, SLOTS)]
    for pair, crc in _FIRST:
        found = [_SECOND[crc ^ whole] for whole in wanted if crc ^ whole in _SECOND]
        if found:
            return pair + min(found)
    raise AssertionError(f"no text is in slot {slot}")


def slot_of(text: bytes) -> int:
    """Return the slot of keys that have this text in braces."""
    return crc_hqx(text, 0) % SLOTS
