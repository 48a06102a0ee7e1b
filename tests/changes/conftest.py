"""The process that forks the versions: it has imported LangGraph and the package, and no version."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from workers import WorkerPool, worker_pool


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    """Return what starts versions."""
    with worker_pool(tmp_path_factory.mktemp("versions"), "changes.versions") as pool:
        yield pool
