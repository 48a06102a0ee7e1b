"""The parts of the contract suite, put together."""

from __future__ import annotations

from charm_checkpoint.testing.accidents import Closing, Forks, Interrupts
from charm_checkpoint.testing.backend_checkpoints import BackendCheckpoints, BackendPages
from charm_checkpoint.testing.backend_erasing import BackendErasing, BackendForgetting, ErasedBytes
from charm_checkpoint.testing.backend_keeping import BackendPins, BackendRoom, BackendRows, BackendSizes
from charm_checkpoint.testing.backend_threads import BackendMessages, BackendThreads
from charm_checkpoint.testing.caches import Caches
from charm_checkpoint.testing.carrying import Carrying, Rolling
from charm_checkpoint.testing.changing import Changing
from charm_checkpoint.testing.conflicts import Conflicts, Deletion, NoConflicts
from charm_checkpoint.testing.contexts import Streams
from charm_checkpoint.testing.damage import Damage
from charm_checkpoint.testing.delta_lines import DeltaLines
from charm_checkpoint.testing.durable_memories import DurableForgetting, DurableMemories
from charm_checkpoint.testing.durable_showing import DurableShowing
from charm_checkpoint.testing.durable_truth import DurableTruth
from charm_checkpoint.testing.erasing import Erasing
from charm_checkpoint.testing.foreign import ForeignValues
from charm_checkpoint.testing.going_back import GoingBack
from charm_checkpoint.testing.integrity import Integrity, IntegrityOfThreads
from charm_checkpoint.testing.items_backend import ItemChanges
from charm_checkpoint.testing.items_entries import ItemEntries, ItemListings
from charm_checkpoint.testing.items_sharing import ItemInterrupts, ItemModel, ItemSharing
from charm_checkpoint.testing.kept_by_itself import KeptByItself
from charm_checkpoint.testing.large import Large
from charm_checkpoint.testing.long_term_kept import ItemsOfLargeNamespaces
from charm_checkpoint.testing.long_term_lifetimes import ItemFiles, ItemLifetimes
from charm_checkpoint.testing.long_term_methods import ItemMethods, ItemUpdates
from charm_checkpoint.testing.long_term_searches import ItemFilters, ItemQueries, ItemsAtRandom
from charm_checkpoint.testing.looking_changes import Changes
from charm_checkpoint.testing.looking_states import Histories, States
from charm_checkpoint.testing.looking_threads import LookingForThreads
from charm_checkpoint.testing.messages import Growth, Messages
from charm_checkpoint.testing.plain_types import Depth, PlainTypes
from charm_checkpoint.testing.removed_parents import RemovedParents
from charm_checkpoint.testing.retention import IdleThreads, Sweeps, WhatGoes
from charm_checkpoint.testing.runs import Pruned, Runs
from charm_checkpoint.testing.saver_lists import DeltaHistory, SaverFilters, SaverLists
from charm_checkpoint.testing.saver_methods import PendingWrites, SaverMethods
from charm_checkpoint.testing.sharing import NoCaps, Processes, Sharing
from charm_checkpoint.testing.stopped_removals import StoppedRemovals
from charm_checkpoint.testing.texts import AnyText, DataIsNotCode, Paths
from charm_checkpoint.testing.thread_lists import BackendThreadLists, ThreadLists
from charm_checkpoint.testing.thread_names import ThreadNames
from charm_checkpoint.testing.transfers import Transfers
from charm_checkpoint.testing.unknown_values import UnknownValues
from charm_checkpoint.testing.write_rule import WriteRule


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
    DeltaLines,
    Pruned,
    RemovedParents,
    StoppedRemovals,
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


class LookingSuite(LookingForThreads, Histories, States, Changes, GoingBack):
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
