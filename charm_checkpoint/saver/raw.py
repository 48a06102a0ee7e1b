"""Looking at what a saver refuses to read: values of classes that are not here, and records in another's place."""

from __future__ import annotations

from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.saver.plans import SaverPlans
from charm_checkpoint.store import Store
from charm_checkpoint.values.chunk_reader import ChunkReader
from charm_checkpoint.values.serde.raw import PlainSerializer


def without_classes(store: Store) -> CharmSaver:
    """Return a saver that builds plain values, the fields that instances hold, and opens whatever its seal says.

    It is for looking: nothing is to be put with it.
    """
    saver = CharmSaver(store, serde=PlainSerializer())
    reader = ChunkReader(store.backend, store.budget, store.limits)
    saver._plans = SaverPlans(store.backend, saver.serde, reader, store.budget, store.limits, trusting=True)
    return saver
