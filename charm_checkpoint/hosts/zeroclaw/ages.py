"""At what age memories go, as ZeroClaw's settings say it: its days count from the last change, not from archiving."""

from __future__ import annotations

from typing import Final

from charm_checkpoint.hosts.zeroclaw.settings import MemorySettings
from charm_checkpoint.long_term.ages import Age, Ages

AT_ONCE: Final = 0.01
"""Days between archiving and deleting, where both are to be at the same age: the next round of hygiene does it."""


def ages_of(told: MemorySettings) -> Ages:
    """Return the ages of the categories: daily and conversation pass, core if that is set, others never do.

    A memory of theirs is archived after ``archive_after_days``; it is deleted ``purge_after_days`` or what its
    category has as ``…_retention_days`` after it was changed last. What is used meanwhile stays, as everywhere here.
    """
    archive = told.archive_after_days
    return Ages(
        default=Age(None, None),
        categories={
            "daily": age(archive, told.daily_retention_days or told.purge_after_days),
            "conversation": age(archive, told.conversation_retention_days),
            "core": age(0, told.core_retention_days),
        },
    )


def age(archive: int, delete: int) -> Age:
    """Return an age from the days after which a memory is archived and deleted, both since its last use; 0 is never."""
    if not delete:
        return Age(archive or None, None)
    archived = min(archive or delete, delete)
    return Age(archived, max(delete - archived, AT_ONCE))


PASSING: Final = ("conversation", "daily", "core")
"""The categories of which hygiene deletes what is old enough."""
