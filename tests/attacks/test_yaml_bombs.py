"""Files of settings that are more than they look: aliases of aliases, depths, and sizes without end.

The attacker may write a file that a program reads by itself: a charm.yaml, a memory in Markdown that a colleague
shared, another agent's TOML. Nine lines of YAML, each of which names the one before nine times, are a billion values.
He wants whoever reads it to run out of memory, or out of stack.

What he gets is an error that names the file: aliases are counted as what they stand for, and bytes, values and depth
are bounded, before anything is made of them. In the head of a memory no alias is taken at all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from charm_checkpoint.config.plain_files import DEEPEST, MOST_BYTES, plain_yaml, read_bounded
from charm_checkpoint.errors import ConfigError, DataError
from charm_checkpoint.hosts.charm.project import from_charm
from charm_checkpoint.hosts.zeroclaw.toml import _File
from charm_checkpoint.long_term.markdown import front_matter


def laughs(lines: int = 30) -> str:
    text = "a0: &a0 [lol, lol]\n"
    for n in range(1, lines):
        text += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    return text + f"runtime: {{memory: {{provider: local, config: {{path: *a{lines - 1}}}}}}}\n"


def merged(lines: int = 40) -> str:
    text = "m0: &m0 {a: 1}\n"
    for n in range(1, lines):
        text += f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n"
    return text


BOMBS = {
    "laughs": laughs(),
    "merged": merged(),
    "in itself": "runtime: &r\n  memory: {config: {a: *r}}\n",
    "deep": "runtime: " + "[" * 5000 + "]" * 5000,
    "deep maps": "runtime: " + "{a: " * 5000 + "}" * 5000,
    "large": "runtime: {}\n#" + "x" * MOST_BYTES,
    "no date": "runtime: 2026-99-99\n",
    "a number": "runtime: " + "9" * 10_000 + "\n",
    "many": "runtime: [" + "1," * 200_000 + "]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_charm_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    file = tmp_path / "charm.yaml"
    file.write_text(BOMBS[name])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="charm.yaml"):
        from_charm(file)


@pytest.mark.parametrize("name", BOMBS)
def test_the_head_of_a_memory(name: str) -> None:
    with pytest.raises(DataError):
        front_matter.parsed(BOMBS[name])


TOML = {
    "deep": "a = " + "[" * 20_000 + "]" * 20_000,
    "large": "a = 1\n#" + "x" * MOST_BYTES,
}


@pytest.mark.parametrize("text", TOML.values(), ids=TOML)
def test_toml(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="config.toml"):
        _File(file)


def test_aliases_of_ordinary_settings_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "charm.yaml"
    text = "base: &base {ttl: 30d, tags: [a, b]}\nruntime: {memory: {config: {<<: *base, tags: *t}}}\n"
    file.write_text("t: &t [x]\n" + text)
    found = plain_yaml(read_bounded(file), file)
    assert found["runtime"]["memory"]["config"] == {"ttl": "30d", "tags": ["x"]}
    depth = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    assert plain_yaml(f"a: {depth}".encode(), file)
