"""Values to bytes and back, exactly; data is not code."""

from __future__ import annotations

from charm_checkpoint.values.serde.registration import register_type
from charm_checkpoint.values.serde.serializer import Fingerprint, Serializer, checked

__all__ = ["Fingerprint", "Serializer", "checked", "register_type"]
