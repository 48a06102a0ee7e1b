"""The text of a bundle: a SKILL.md of Cantrip's form, from which comes back exactly what was put in; pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from charm_checkpoint.errors import DataError
from charm_checkpoint.long_term.bundles.portable import Portable
from charm_checkpoint.long_term.markdown import front_matter

VERSION = 1
"""The form that is written; Cantrip's own bundles have no version."""
FORM, CHECKSUM = "charm_bundle", "checksum"
EMPTY = "_(no memories in scope)_\n"

_HEADING = "## Memory:"
_STRUCTURE = re.compile(r"\\*(?:## Memory:|\*Kind:\*|\*Tags:\*)")
"""What begins a line that says where something begins, if no backslash is before it."""
_KIND = re.compile(r"\*Kind:\*\s*(\S.*?)\s*")
_TAGS = re.compile(r"\*Tags:\*\s*(\S.*?)\s*")


class Bundle(NamedTuple):
    """What a bundle holds: memories, and whether somebody changed it since it was written."""

    memories: list[Portable]
    changed: bool


def render(name: str, description: str, memories: Sequence[Portable]) -> str:
    """Return the text of a bundle."""
    body = f"# {name}\n\n" + ("\n".join(map(_section, memories)) or EMPTY)
    head = {"name": name, "description": description, FORM: VERSION, CHECKSUM: _checksum(body)}
    return f"---\n{front_matter.rendered(head)}---\n\n{body}"


def _section(memory: Portable) -> str:
    tags = f"*Tags:* {', '.join(map(_tag, memory.tags))}\n" if memory.tags else ""
    body = "".join(f"\n{_escaped(line)}" for line in memory.body.split("\n")) if memory.body else ""
    return f"{_HEADING} {_title(memory.title)}\n\n*Kind:* {memory.kind}\n{tags}{body}\n"


def _escaped(line: str) -> str:
    """Return a line of a body that is taken for nothing else: Markdown shows it as it was."""
    return "\\" + line if _STRUCTURE.match(line) else line


def _unescaped(line: str) -> str:
    return line[1:] if line.startswith("\\") and _STRUCTURE.match(line) else line


def _title(title: str) -> str:
    """Return a title in one line: in quotes, as JSON, if it would not come back as it is."""
    plain = title.isprintable() and title == title.strip() and not title.startswith('"') and title
    return title if plain else json.dumps(title)


def _tag(tag: str) -> str:
    plain = tag.isprintable() and tag == tag.strip() and not tag.startswith('"') and "," not in tag and tag
    return tag if plain else json.dumps(tag)


def _checksum(text: str) -> str:
    return f"sha256:{hashlib.sha256(front_matter.encoded(text.strip())).hexdigest()}"


# --------------------------------------------------------------------------------------------------------- reading


def parse(head: Mapping[Any, Any], body: str) -> Bundle:
    """Return the memories of a bundle, from its frontmatter and what is below; raises `DataError` for a newer form."""
    version = head.get(FORM)
    if version is not None and (not isinstance(version, int) or version > VERSION or version < 1):
        raise DataError(
            f"it is a bundle of form {version!r}, and this version reads forms up to {VERSION}: "
            "pip install -U charm-checkpoint"
        )
    lines = body.split("\n")
    starts = [at for at, line in enumerate(lines) if line.startswith(_HEADING) and line[len(_HEADING) :].strip()]
    ends = [*starts[1:], len(lines)]
    found = [_memory(lines[start:end], version is not None) for start, end in zip(starts, ends, strict=False)]
    return Bundle(found, version is not None and head.get(CHECKSUM) != _checksum(body))


def _memory(lines: list[str], ours: bool) -> Portable:
    title = lines[0][len(_HEADING) :].strip()
    kind, tags = "fact", ""
    rest = lines[1:]
    seen: set[str] = set()
    while rest:  # kind and tags, each once, in Cantrip's order or the other
        if match := _KIND.fullmatch(rest[0]) if "kind" not in seen else None:
            kind = match[1].lower()
            seen.add("kind")
        elif match := _TAGS.fullmatch(rest[0]) if "tags" not in seen else None:
            tags = match[1]
            seen.add("tags")
        elif rest[0].strip() or (ours and "kind" in seen):
            break
        rest = rest[1:]
    body = "\n".join(map(_unescaped, rest) if ours else rest)
    return Portable(
        _read_title(title) if ours else title,
        kind,
        front_matter.normal_body(body),
        _read_tags(tags) if ours else tuple(filter(None, map(str.strip, tags.split(",")))),
    )


def _read_title(text: str) -> str:
    if text.startswith('"'):
        try:
            title = json.loads(text)
        except ValueError:
            return text
        if isinstance(title, str):
            return title
    return text


def _read_tags(text: str) -> tuple[str, ...]:
    """Undo what `_tag` and commas made of tags; what somebody wrote otherwise is taken as it stands."""
    tags: list[str] = []
    decoder = json.JSONDecoder()
    while text := text.strip():
        if text.startswith('"'):
            try:
                tag, end = decoder.raw_decode(text)
            except ValueError:
                return (*tags, text)
            text = text[end:].lstrip().removeprefix(",")
        else:
            tag, _, text = text.partition(",")
            tag = tag.strip()
        tags.append(tag)
    return tuple(tags)
