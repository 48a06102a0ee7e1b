"""The ways to call that every attack is tried in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from attacks.planted import Wrap
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    """Yield a way to call: blocking, and async."""
    mode: CallMode = CALL_MODES[request.param]()
    yield mode
    mode.close()


@pytest.fixture
def in_mode(mode: CallMode) -> Wrap:
    """Return what wraps an object so that it is called in one way."""
    return lambda thing: InMode(thing, mode)
