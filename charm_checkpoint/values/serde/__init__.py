"""Values to bytes and back, exactly; data is not code."""

from __future__ import annotations

from charm_checkpoint.values.serde.registration import register_moved, register_type
from charm_checkpoint.values.serde.serializer import Fingerprint, Serializer, checked
from charm_checkpoint.values.serde.unknown import Unknown

__all__ = ["Fingerprint", "Serializer", "Unknown", "checked", "register_moved", "register_type"]
