"""numpy, where it is installed and where there is enough to do for it; results are the same without it."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final

WORTH_IT: Final = 500
"""So many items, or ten times as many numbers in vectors, are reckoned faster with numpy than without."""


@cache
def _installed() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


def numpy_for(amount: int) -> Any:
    """Return numpy if there is so much to do that it pays, and if it is there; else None."""
    return _installed() if amount >= WORTH_IT else None
