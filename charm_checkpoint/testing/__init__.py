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
    "retention",
    "runs",
    "samples",
    "saver_lists",
    "saver_methods",
    "scenarios",
    "sharing",
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

from charm_checkpoint.testing.accidents import Closing, Forks, Interrupts  # noqa: E402
from charm_checkpoint.testing.backend_checkpoints import BackendCheckpoints, BackendPages  # noqa: E402
from charm_checkpoint.testing.backend_erasing import BackendErasing, BackendForgetting, ErasedBytes  # noqa: E402
from charm_checkpoint.testing.backend_keeping import BackendPins, BackendRoom, BackendRows, BackendSizes  # noqa: E402
from charm_checkpoint.testing.backend_threads import BackendMessages, BackendThreads  # noqa: E402
from charm_checkpoint.testing.caches import Caches  # noqa: E402
from charm_checkpoint.testing.carrying import Carrying, Rolling  # noqa: E402
from charm_checkpoint.testing.changing import Changing  # noqa: E402
from charm_checkpoint.testing.conflicts import Conflicts, Deletion, NoConflicts  # noqa: E402
from charm_checkpoint.testing.contexts import Streams  # noqa: E402
from charm_checkpoint.testing.damage import Damage  # noqa: E402
from charm_checkpoint.testing.durable_memories import DurableForgetting, DurableMemories  # noqa: E402
from charm_checkpoint.testing.durable_showing import DurableShowing  # noqa: E402
from charm_checkpoint.testing.durable_truth import DurableTruth  # noqa: E402
from charm_checkpoint.testing.erasing import Erasing  # noqa: E402
from charm_checkpoint.testing.foreign import ForeignValues  # noqa: E402
from charm_checkpoint.testing.integrity import Integrity, IntegrityOfThreads  # noqa: E402
from charm_checkpoint.testing.items_backend import ItemChanges  # noqa: E402
from charm_checkpoint.testing.items_entries import ItemEntries, ItemListings  # noqa: E402
from charm_checkpoint.testing.items_sharing import ItemInterrupts, ItemModel, ItemSharing  # noqa: E402
from charm_checkpoint.testing.kept_by_itself import KeptByItself  # noqa: E402
from charm_checkpoint.testing.large import Large  # noqa: E402
from charm_checkpoint.testing.long_term_kept import ItemsOfLargeNamespaces  # noqa: E402
from charm_checkpoint.testing.long_term_lifetimes import ItemFiles, ItemLifetimes  # noqa: E402
from charm_checkpoint.testing.long_term_methods import ItemMethods, ItemUpdates  # noqa: E402
from charm_checkpoint.testing.long_term_searches import ItemFilters, ItemQueries, ItemsAtRandom  # noqa: E402
from charm_checkpoint.testing.looking_changes import Changes  # noqa: E402
from charm_checkpoint.testing.looking_states import Histories, States  # noqa: E402
from charm_checkpoint.testing.looking_threads import LookingForThreads  # noqa: E402
from charm_checkpoint.testing.messages import Growth, Messages  # noqa: E402
from charm_checkpoint.testing.plain_types import Depth, PlainTypes  # noqa: E402
from charm_checkpoint.testing.retention import IdleThreads, Sweeps, WhatGoes  # noqa: E402
from charm_checkpoint.testing.runs import Pruned, Runs  # noqa: E402
from charm_checkpoint.testing.saver_lists import DeltaHistory, SaverFilters, SaverLists  # noqa: E402
from charm_checkpoint.testing.saver_methods import PendingWrites, SaverMethods  # noqa: E402
from charm_checkpoint.testing.sharing import NoCaps, Processes, Sharing  # noqa: E402
from charm_checkpoint.testing.texts import AnyText, DataIsNotCode, Paths  # noqa: E402
from charm_checkpoint.testing.thread_lists import BackendThreadLists, ThreadLists  # noqa: E402
from charm_checkpoint.testing.thread_names import ThreadNames  # noqa: E402
from charm_checkpoint.testing.transfers import Transfers  # noqa: E402
from charm_checkpoint.testing.unknown_values import UnknownValues  # noqa: E402
from charm_checkpoint.testing.write_rule import WriteRule  # noqa: E402


class BackendSuite(
    BackendCheckpoints,
    BackendPages,
    WriteRule,
    BackendThreads,
    BackendThreadLists,
    BackendMessages,
    BackendErasing,
    BackendForgetting,
    ErasedBytes,
    BackendPins,
    BackendRows,
    BackendSizes,
    BackendRoom,
):
    """What a backend does with records: start here with a new store."""


class ItemSuite(ItemChanges, ItemEntries, ItemListings, ItemModel, ItemSharing):
    """What a store's items do, its long-term memory; skipped where a store has none."""


class SaverSuite(SaverMethods, PendingWrites, SaverLists, SaverFilters, DeltaHistory, Carrying):
    """What the checkpointer does on top of it."""


class LongTermSuite(
    ItemMethods,
    ItemUpdates,
    ItemFilters,
    ItemQueries,
    ItemsOfLargeNamespaces,
    ItemLifetimes,
    ItemFiles,
    ItemsAtRandom,
):
    """What LangGraph's store of long-term memory does."""


class DurableSuite(DurableMemories, DurableForgetting, DurableShowing, DurableTruth):
    """What durable memories do, which stand on that store."""


class GuaranteeSuite(
    Runs,
    Rolling,
    ThreadLists,
    ThreadNames,
    Changing,
    Large,
    Damage,
    Integrity,
    IntegrityOfThreads,
    Pruned,
    WhatGoes,
    IdleThreads,
    Sweeps,
    KeptByItself,
    Erasing,
    Conflicts,
    NoConflicts,
    Deletion,
    Streams,
    AnyText,
    DataIsNotCode,
    Paths,
    UnknownValues,
    PlainTypes,
    ForeignValues,
    Depth,
    Sharing,
    Processes,
    NoCaps,
    Growth,
):
    """What users are promised, shown by real graphs and awkward values."""


class LookingSuite(LookingForThreads, Histories, States, Changes):
    """What is seen of a store by whoever looks into it."""


class AccidentSuite(Interrupts, ItemInterrupts, Closing, Forks):
    """What goes wrong around a store: the calls after it work."""


class ContractSuite(
    BackendSuite,
    ItemSuite,
    SaverSuite,
    GuaranteeSuite,
    LookingSuite,
    AccidentSuite,
    Messages,
    Caches,
    LongTermSuite,
    DurableSuite,
    Transfers,
):
    """All of it; a subclass adds the fixture ``url``."""
