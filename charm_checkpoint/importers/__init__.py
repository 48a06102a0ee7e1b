"""Take over the threads of LangGraph's own savers: a SqliteSaver's file or a PostgresSaver's database."""

from __future__ import annotations

from charm_checkpoint.importers.importing import Failure, ImportReport, Progress, import_official

__all__ = ["Failure", "ImportReport", "Progress", "import_official"]
