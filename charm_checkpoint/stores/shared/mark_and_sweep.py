"""Mark and sweep: which chunks nothing reaches any more. For stores that find that out in Python; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from charm_checkpoint.contract import ADDRESS_SIZE


def unreached(refs: Mapping[bytes, bytes], roots: Iterable[bytes]) -> list[bytes]:
    """Return the addresses in ``refs`` (address: addresses it names, end to end) that no root reaches."""
    reached: set[bytes] = set()
    waiting = [name for joined in roots for name in addresses(joined)]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(addresses(refs.get(name, b"")))
    return [name for name in refs if name not in reached]


def addresses(joined: bytes) -> Iterable[bytes]:
    """Cut addresses that stand end to end."""
    return (joined[start : start + ADDRESS_SIZE] for start in range(0, len(joined), ADDRESS_SIZE))
