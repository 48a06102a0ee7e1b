"""The contract suite: tests that every store must pass, for authors of stores.

A test module adopts it with a class and one fixture, which returns the URL of a new, empty store for each test::

    import pytest
    from charm_checkpoint.testing import ContractSuite

    class TestMyStore(ContractSuite):
        @pytest.fixture
        def url(self, tmp_path):
            return f"mystore://{tmp_path}/db"

Each test is written once and runs in both modes, blocking and async. What a store does not declare in its
`Capabilities` is skipped, and says so. Nothing but pytest is needed; tests with graphs need langgraph and are skipped
without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

_MODULES = (
    "accidents",
    "backend_checkpoints",
    "backend_erasing",
    "backend_keeping",
    "backend_threads",
    "base",
    "caches",
    "carrying",
    "changing",
    "conflicts",
    "contexts",
    "damage",
    "delta_lines",
    "durable_memories",
    "durable_showing",
    "durable_truth",
    "erasing",
    "foreign",
    "integrity",
    "items_backend",
    "items_entries",
    "items_samples",
    "items_sharing",
    "kept_by_itself",
    "large",
    "long_term_base",
    "long_term_kept",
    "long_term_lifetimes",
    "long_term_methods",
    "long_term_searches",
    "looking_changes",
    "looking_states",
    "looking_threads",
    "messages",
    "plain_types",
    "removed_parents",
    "retention",
    "runs",
    "samples",
    "saver_lists",
    "saver_methods",
    "scenarios",
    "sharing",
    "stopped_removals",
    "texts",
    "thread_lists",
    "thread_names",
    "thread_turns",
    "transfer_samples",
    "transfers",
    "unknown_values",
    "write_cases",
    "write_rule",
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

# Samples and ways of calling are used by programs, too, which need not wait until all tests are imported.
if TYPE_CHECKING:
    from charm_checkpoint.testing.suites import AccidentSuite as AccidentSuite
    from charm_checkpoint.testing.suites import BackendSuite as BackendSuite
    from charm_checkpoint.testing.suites import ContractSuite as ContractSuite
    from charm_checkpoint.testing.suites import DurableSuite as DurableSuite
    from charm_checkpoint.testing.suites import GuaranteeSuite as GuaranteeSuite
    from charm_checkpoint.testing.suites import ItemSuite as ItemSuite
    from charm_checkpoint.testing.suites import LongTermSuite as LongTermSuite
    from charm_checkpoint.testing.suites import LookingSuite as LookingSuite
    from charm_checkpoint.testing.suites import SaverSuite as SaverSuite


def __getattr__(name: str) -> Any:
    """Return a suite, or a part of one; modules are imported as such."""
    if name[:1].isupper():
        suites = vars(import_module(f"{__name__}.suites"))
        if name in suites:
            return globals().setdefault(name, suites[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
