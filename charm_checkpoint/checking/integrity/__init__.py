"""Whether all that a store holds is there, can be read, and agrees with itself; and what can be mended without loss."""

from __future__ import annotations

from charm_checkpoint.checking.integrity.report import IntegrityFinding, IntegrityProgress, IntegrityReport

__all__ = ["IntegrityFinding", "IntegrityProgress", "IntegrityReport"]
