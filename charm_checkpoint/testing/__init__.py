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

_MODULES = (
    "backend_checkpoints",
    "backend_threads",
    "base",
    "conflicts",
    "messages",
    "runs",
    "samples",
    "saver_lists",
    "saver_methods",
    "sharing",
    "texts",
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

from charm_checkpoint.testing.backend_checkpoints import BackendCheckpoints, BackendPages  # noqa: E402
from charm_checkpoint.testing.backend_threads import BackendMessages, BackendThreads  # noqa: E402
from charm_checkpoint.testing.conflicts import Conflicts, Deletion, NoConflicts  # noqa: E402
from charm_checkpoint.testing.messages import Growth, Messages  # noqa: E402
from charm_checkpoint.testing.runs import Pruned, Runs  # noqa: E402
from charm_checkpoint.testing.saver_lists import DeltaHistory, SaverFilters, SaverLists  # noqa: E402
from charm_checkpoint.testing.saver_methods import PendingWrites, SaverMethods  # noqa: E402
from charm_checkpoint.testing.sharing import NoCaps, Processes, Sharing  # noqa: E402
from charm_checkpoint.testing.texts import AnyText, DataIsNotCode, Paths  # noqa: E402


class BackendSuite(BackendCheckpoints, BackendPages, BackendThreads, BackendMessages):
    """What a backend does with records: start here with a new store."""


class SaverSuite(SaverMethods, PendingWrites, SaverLists, SaverFilters, DeltaHistory):
    """What the checkpointer does on top of it."""


class GuaranteeSuite(
    Runs, Pruned, Conflicts, NoConflicts, Deletion, AnyText, DataIsNotCode, Paths, Sharing, Processes, NoCaps, Growth
):
    """What users are promised, shown by real graphs and awkward values."""


class ContractSuite(BackendSuite, SaverSuite, GuaranteeSuite, Messages):
    """All of it; a subclass adds the fixture ``url``."""
