"""Ordered, recorded migrations for stores that speak SQL; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charm_checkpoint.errors import SchemaMismatch


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a schema. It is applied in one transaction with the record of it."""

    version: int
    name: str
    statements: tuple[str, ...]


def pending(migrations: Sequence[Migration], applied: int) -> Sequence[Migration]:
    """Return the migrations still to apply to a store at version ``applied``, in order.

    Raises `SchemaMismatch` if the store is newer than the newest of them.
    """
    newest = migrations[-1].version
    if applied > newest:
        raise SchemaMismatch(
            f"The store's schema is version {applied}; this charm_checkpoint knows up to {newest}. "
            "Upgrade charm_checkpoint on this machine: pip install -U charm-checkpoint."
        )
    return [migration for migration in migrations if migration.version > applied]
