"""The pages of the documentation: their code blocks, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

_FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?^ *(?P<fence>`{3,})(?P<language>[^\n]*)\n"
    r"(?P<code>.*?)^ *(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_CODE = re.compile(r"^ *(`{3,}).*?^ *\1$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: ``line`` is where its code begins, ``mark`` what the comment above it says."""

    language: str
    code: str
    line: int
    mark: str

    @property
    def runs(self) -> bool:
        """Tell whether the block is run, and not marked as one that is only looked at, or run by CI."""
        return not self.mark.startswith(("not run:", "ci:")) and not self.installs

    @property
    def installs(self) -> bool:
        """Tell whether all it does is to install packages: it is not run, but what it names is looked up."""
        return all(line.startswith("pip install ") for line in self.code.splitlines())

    @property
    def file(self) -> str:
        """Return the name of the file that the block is, as its first line says in a comment; "" if it is none."""
        named = re.match(r"# ([\w/.-]+\.\w+)\n", self.code)
        return named[1] if named else ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: ``name`` is its path from the root of the project."""

    name: str
    text: str

    def blocks(self, *languages: str) -> list[Block]:
        """Return the code blocks in some languages, or all."""
        found = [self._block(match) for match in _FENCE.finditer(self.text)]
        return [block for block in found if not languages or block.language in languages]

    def _block(self, match: re.Match[str]) -> Block:
        line = self.text.count("\n", 0, match.start("code")) + 1
        return Block(match["language"], dedent(match["code"]), line, match["mark"] or "")

    def links(self) -> list[str]:
        """Return where its links lead, those within code left out."""
        return _LINK.findall(_CODE.sub("", self.text))

    def anchors(self) -> set[str]:
        """Return what its headings are called in links, as GitHub makes it."""
        prose = re.sub(r"^ *(`{3,}).*?^ *\1$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose))
        return {word.replace(" ", "-") for word in words}


def read(path: Path) -> Page:
    """Read a page."""
    return Page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


PAGES = [read(path) for path in (README, *sorted((ROOT / "docs").rglob("*.md"))) if "_build" not in path.parts]
"""The README and all pages of docs/."""

BY_NAME = {page.name: page for page in PAGES}
