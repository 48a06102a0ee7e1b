"""Durable memories: the object that programs use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from charm_checkpoint.long_term.bundles.bundling import Bundling
from charm_checkpoint.long_term.commands.commands import Commanding
from charm_checkpoint.long_term.forgetting import Forgetting
from charm_checkpoint.long_term.markdown.filing import Filing
from charm_checkpoint.long_term.project import Project
from charm_checkpoint.long_term.remembering import Remembering
from charm_checkpoint.long_term.reviewing import Reviewing
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.settings import Settings
from charm_checkpoint.long_term.showing import Showing
from charm_checkpoint.long_term.snapshots.snapshotting import Snapshotting
from charm_checkpoint.long_term.tidying import Keeper, Tidying
from charm_checkpoint.runtime.handle import Handle
from charm_checkpoint.store import Store

if TYPE_CHECKING:
    from typing_extensions import Self


class LongTermMemory(
    Remembering, Showing, Forgetting, Reviewing, Bundling, Filing, Tidying, Commanding, Snapshotting, Handle
):
    """What an agent is to know in later threads: facts, rules and lessons, in scopes, for any thread and event loop.

    `charm_checkpoint.Memory.long_term` makes it. Every method has an async twin with an ``a`` in front. Close it with
    `close` or `aclose`, or close the memory it comes from.
    """

    def __init__(
        self,
        scopes: Mapping[str, Scope],
        project: Project | None = None,
        settings: Settings | None = None,
        owned: Sequence[Store] = (),
    ) -> None:
        self.scopes = dict(scopes)
        self.project = project or Project("default")
        self.settings = settings or Settings()
        self._owned = owned
        self._keeper = None if self.settings.tidy is None else Keeper(self, self.settings.tidy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.scopes.values()))})"

    def close(self) -> None:
        """Release what was opened for this object alone, which the store of the project is not."""
        if self._keeper is not None:
            self._keeper.close()
        for store in self._owned:
            store.close()

    async def aclose(self) -> None:
        """Release what was opened for this object alone; see `close`."""
        if self._keeper is not None:
            await self._keeper.aclose()
        for store in self._owned:
            await store.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
