"""Values to bytes and back, exactly; data is not code."""

from __future__ import annotations

from charm_checkpoint.serde.classes import register_type
from charm_checkpoint.serde.serializer import Serializer

__all__ = ["Serializer", "register_type"]
