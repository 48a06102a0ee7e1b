"""What is wrong with files of memories, told by the object that programs use."""

from __future__ import annotations

from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.markdown.index import FileProblem
from charm_checkpoint.long_term.markdown.scope import MarkdownScope
from charm_checkpoint.long_term.parts import LongTermParts


class Filing(LongTermParts):
    """Tells of the files in scopes that are folders."""

    def file_problems(self, scope: str | None = None) -> list[FileProblem]:
        """Return the files that hold no memory, or not quite what they say, and what is wrong with each.

        They keep no other memory from being found; nothing is told of scopes that are no folders.
        """
        return self._run(self._file_problems(scope))

    async def afile_problems(self, scope: str | None = None) -> list[FileProblem]:
        """Return the files that hold no memory, or not quite what they say; see `file_problems`."""
        return await self._arun(self._file_problems(scope))

    def _file_problems(self, scope: str | None) -> Flow[list[FileProblem]]:
        found: list[FileProblem] = []
        for place in self._scopes(scope):
            if isinstance(place, MarkdownScope):
                found += yield from place.problems()
        return found
