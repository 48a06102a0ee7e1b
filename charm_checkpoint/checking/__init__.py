"""Before a deploy: what this code makes of the threads that a store holds, and heads rewritten under it."""

from __future__ import annotations

from charm_checkpoint.checking.report import AliasUse, CheckFinding, CheckReport, MigrateReport

__all__ = ["AliasUse", "CheckFinding", "CheckReport", "MigrateReport"]
