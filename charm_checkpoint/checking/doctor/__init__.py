"""How a store is doing: whether it is reached, how quickly, what its settings promise, and what to change."""

from __future__ import annotations

from charm_checkpoint.checking.doctor.report import DoctorFinding, DoctorReport

__all__ = ["DoctorFinding", "DoctorReport"]
