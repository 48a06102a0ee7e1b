"""The contract suite: tests that every store must pass, for authors of stores.

A test module adopts it with a class and one fixture, which returns the URL of a new, empty store for each test:

    import pytest
    from charm_checkpoint.testing import ContractSuite

    class TestMyStore(ContractSuite):
        @pytest.fixture
        def url(self, tmp_path):
            return f"mystore://{tmp_path}/db"

Each test is written once and runs in both halves, blocking and async. What a store does not declare in its
`Abilities` is skipped, and says so. Nothing but pytest is needed; tests with graphs need langgraph and are skipped
without it.
"""

from __future__ import annotations

import pytest

for _module in ("backend_checkpoints", "backend_threads", "samples", "base"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from charm_checkpoint.testing.backend_checkpoints import BackendCheckpoints, BackendPages  # noqa: E402
from charm_checkpoint.testing.backend_threads import BackendMessages, BackendThreads  # noqa: E402

PARTS = (BackendCheckpoints, BackendPages, BackendThreads, BackendMessages)
"""The parts of the suite; a store that is being written may adopt them one by one."""


class ContractSuite(BackendCheckpoints, BackendPages, BackendThreads, BackendMessages):
    """All parts of the suite; a subclass adds the fixture ``url``."""
