"""What memories cite: paths, lines, hashes, and whether they hold."""

from __future__ import annotations

import hashlib
import io
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.errors import DataError
from charm_checkpoint.long_term import file_hashes
from charm_checkpoint.long_term.citations import Check, Files, Place, cite, shown
from charm_checkpoint.long_term.file_hashes import NOTHING, WHOLE, FileHashes, Lines, hashes
from charm_checkpoint.long_term.project import Project
from charm_checkpoint.long_term.records import Citation

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as POSIX has them")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project with some files."""
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "charm.py").write_bytes(b"one\ntwo\nthree\n")
    (project / "src" / "a:3").write_bytes(b"odd\n")
    (tmp_path / "secret.txt").write_bytes(b"of somebody else\n")
    return project


def cited(given: Any, root: Path | None, **place: Any) -> tuple[Citation, ...]:
    return tuple(cite(Project("p", root), given, **place))


def check(citation: Citation, root: Path | None, **place: Any) -> Check:
    [found] = Files(Place(root, **place), FileHashes()).check([citation])
    return found


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ------------------------------------------------------------------------------------------------------------ hashes


def expected(text: str, lines: Lines) -> str:
    """Return the hash by plain means: text with universal newlines, and lines of it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if lines == WHOLE:
        return sha(text)
    kept = [line + "\n" for line in text.split("\n")]
    kept[-1] = kept[-1][:-1]
    first, last = lines
    return sha("".join(kept[(first or 1) - 1 : last]))


def test_hashes_are_of_text_with_plain_ends_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(3)
    for _ in range(300):
        monkeypatch.setattr(file_hashes, "_CHUNK", dice.choice((1, 2, 3, 7, 1 << 20)))
        text = "".join(dice.choices(("a", "é", "\n", "\r", "\r\n", "\0", "\f", "long line "), k=dice.randrange(20)))
        wanted: list[Lines] = [WHOLE]
        for _ in range(3):
            first = dice.choice((None, 1, 2, 5))
            wanted.append((first, dice.choice((None, first or 1, (first or 1) + dice.randrange(4)))))
        found = hashes(io.BytesIO(text.encode()), wanted)
        assert found == {lines: expected(text, lines) for lines in wanted}


def test_what_is_no_text_has_a_hash(root: Path) -> None:
    data = bytes(byte for byte in range(256) if byte != 13) * 3
    (root / "image").write_bytes(data)
    assert cited("image", root) == (Citation("image", hashlib.sha256(data).hexdigest()),)


def test_a_file_is_read_again_only_if_it_was_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_hashes, "RACY_NS", -1)
    known, path = FileHashes(), str(root / "src" / "charm.py")
    assert known.of(path, [WHOLE]) == known.of(path, [WHOLE]) == {WHOLE: sha("one\ntwo\nthree\n")}
    assert known.reads == 1
    assert known.of(path, [(2, 2), WHOLE])[2, 2] == known.of(path, [(2, 2)])[2, 2] == sha("two\n")
    assert known.reads == 2  # for what had not been asked for
    stamp = os.stat(path)
    Path(path).write_bytes(b"one\ntwo\nthrae\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    if sys.platform != "win32":  # where no time tells of that change
        assert known.of(path, [WHOLE]) == {WHOLE: sha("one\ntwo\nthrae\n")}
    os.replace(root / "src" / "a:3", path)
    assert known.of(path, [WHOLE]) == {WHOLE: sha("odd\n")}
    os.remove(path)
    with pytest.raises(FileNotFoundError):
        known.of(path, [WHOLE])


def test_what_was_changed_just_now_is_read_again(root: Path) -> None:
    known, path = FileHashes(), root / "src" / "charm.py"
    for number in range(200):  # all of one size, many within one tick of the file system's clock
        path.write_bytes(b"%03d" % number)
        assert known.of(str(path), [WHOLE]) == {WHOLE: sha(f"{number:03}")}
    assert known.reads == 200


def test_a_file_that_is_being_written_is_not_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_hashes, "RACY_NS", -(10**15))
    known, path = FileHashes(), root / "src" / "charm.py"
    plain = hashes

    def meanwhile(file: Any, wanted: Any) -> Any:
        found = plain(file, wanted)
        path.write_bytes(path.read_bytes() + b"more\n")
        return found

    monkeypatch.setattr(file_hashes, "hashes", meanwhile)
    known.of(str(path), [WHOLE])
    monkeypatch.setattr(file_hashes, "hashes", plain)
    assert known.of(str(path), [WHOLE]) == {WHOLE: sha(path.read_text())}


def test_hashes_are_kept_and_damage_is_read_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_hashes, "RACY_NS", -1)
    known, path = FileHashes(), str(root / "src" / "charm.py")
    found = known.of(path, [WHOLE, (2, 3)])
    text = known.dump(str(root))
    assert known.changed(str(root)) == [path] and known.changed(str(root)) == []
    other = FileHashes()
    other.load(text, str(root))
    assert other.of(path, [WHOLE, (2, 3)]) == found and other.reads == 0
    for damaged in ("", "[]", "7", '{"src/charm.py": 3}', '{"src/charm.py": [1, 2, "x", 4, []]}', text[:-9], None):
        other = FileHashes()
        other.load(damaged, str(root))
        assert other.of(path, [WHOLE, (2, 3)]) == found and other.reads == 1


# ------------------------------------------------------------------------------------------------------ what is given


@pytest.mark.parametrize(
    ("given", "path", "first", "last"),
    [
        ("src/charm.py", "src/charm.py", None, None),
        (Path("src", "charm.py"), "src/charm.py", None, None),
        ("./src/../src//charm.py", "src/charm.py", None, None),
        ("src/charm.py:2", "src/charm.py", 2, 2),
        ("src/charm.py:2-3", "src/charm.py", 2, 3),
        ("src/charm.py:2-", "src/charm.py", 2, None),
        ("src/charm.py:2-99", "src/charm.py", 2, 99),
        ("src/a:3", "src/a:3", None, None),
        ("src/a:3:1", "src/a:3", 1, 1),
        ({"path": "src/charm.py", "line_end": 2}, "src/charm.py", None, 2),
        ({"path": "src/charm.py", "line_start": 3, "line_end": None, "sha": None}, "src/charm.py", 3, None),
        (Citation("src/charm.py", line_start=1, line_end=1), "src/charm.py", 1, 1),
    ],
)
@posix
def test_citations_are_read(root: Path, given: Any, path: str, first: int | None, last: int | None) -> None:
    text = (root / path).read_text()
    [citation] = cited(given, root)
    assert citation == Citation(path, expected(text, (first, last)), first, last)
    assert cited([given, citation, given], root) == (citation,)
    assert check(citation, root).holds is True
    absolute = root / given if isinstance(given, (str, Path)) else root / path
    if isinstance(given, (str, Path)):
        assert cited(str(absolute), root) == (citation,)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("src/none.py", "citations\\[1\\]: src/none.py is gone; give its sha"),
        ("src", "src is no file"),
        (".", "is the project's folder itself"),
        ("../secret.txt", "is not in the project"),
        ("src/../../secret.txt", "is not in the project"),
        ("/etc/passwd", "is not in the project"),
        ("", "path of a file"),
        ("a\0b", "path of a file"),
        (7, "a citation is a path"),
        (None, "a citation is a path"),
        ({"file": "x"}, "no 'file'"),
        ({"path": 3}, "path of a file"),
        ({"path": "src/charm.py", "line_start": 0}, "count from 1"),
        ({"path": "src/charm.py", "line_start": True}, "count from 1"),
        ({"path": "src/charm.py", "line_start": 3, "line_end": 2}, "line 3 or a later one"),
        ({"path": "src/charm.py", "line_start": 9}, "has no line 9"),
        ("src/charm.py:9-12", "has no line 9"),
        ("src/charm.py:3-2", "a later one"),
        ({"path": "src/charm.py", "sha": "abc"}, "64 hex digits"),
        ({"path": "../secret.txt", "sha": NOTHING}, "is not in the project"),
    ],
)
def test_what_is_no_citation_is_refused(root: Path, given: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        cited(["src/charm.py", given], root)


def test_what_is_no_list_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="citations: they are a list"):
        cited(7, root)
    assert cited([], root) == cited(iter(()), root) == ()


def test_a_hash_that_is_given_is_kept(root: Path) -> None:
    given = {"path": "src/none.py", "sha": "A" * 64}
    [citation] = cited(given, root)
    assert citation == Citation("src/none.py", "a" * 64)
    assert cited(given, None) == (citation,)
    assert str(check(citation, root)) == "src/none.py is gone"


def test_without_a_folder_nothing_is_told(root: Path) -> None:
    with pytest.raises(DataError, match="has no folder here"):
        cited("src/charm.py", None)
    with pytest.raises(DataError, match="has no folder here"):
        cited("/etc/passwd", None)
    [citation] = cited("src/charm.py", root)
    for nowhere in (None, root / "moved"):
        assert check(citation, nowhere).holds is None
        assert cited([citation], nowhere, anew=True) == (citation,)


def test_a_memory_of_no_project_cites_absolute_paths(root: Path) -> None:
    path = (root / "src" / "charm.py").as_posix()
    [citation] = cited(f"{path}:2", None, anywhere=True)
    assert citation == Citation(path, sha("two\n"), 2, 2)
    assert check(citation, None, anywhere=True).holds is True
    assert check(citation, root).holds is True  # it is in the project
    with pytest.raises(DataError, match="absolute paths"):
        cited("src/charm.py", root, anywhere=True)
    assert check(Citation("src/charm.py", sha("x")), root, anywhere=True).holds is None


@posix
def test_links_lead_where_they_may(root: Path, tmp_path: Path) -> None:
    (root / "inner").symlink_to("src")
    (root / "link.py").symlink_to("src/charm.py")
    (root / "out.txt").symlink_to("../secret.txt")
    (root / "outer").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (tmp_path / "alias").symlink_to("project")
    whole = sha("one\ntwo\nthree\n")
    assert cited(["inner/charm.py", "link.py"], root) == (Citation("inner/charm.py", whole), Citation("link.py", whole))
    assert cited("inner/../link.py", root) == (Citation("link.py", whole),)
    assert cited(str(tmp_path / "alias" / "src" / "charm.py"), root) == (Citation("src/charm.py", whole),)
    assert cited(str(root / "src" / "charm.py"), tmp_path / "alias") == (Citation("src/charm.py", whole),)
    for path in ("out.txt", "outer/secret.txt"):
        with pytest.raises(DataError, match=r"leads out of the project"):
            cited(path, root)
        with pytest.raises(DataError, match=r"leads out of the project"):
            cited({"path": path, "sha": sha("of somebody else\n")}, root)
        found = check(Citation(path, sha("of somebody else\n")), root)
        assert (found.holds, found.why) == (False, "leads out of the project")
    for path in ("../secret.txt", str(tmp_path / "secret.txt"), "src/../../secret.txt"):
        assert check(Citation(path, sha("of somebody else\n")), root).holds is False
        assert check(Citation(path), root).holds is False
    assert check(Citation("loop", whole), root).holds is False
    assert check(Citation("a\0b", whole), root).holds is False


@posix
def test_no_pipe_is_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(DataError, match="is no file"):
        cited("pipe", root)
    assert check(Citation("pipe", NOTHING), root).holds is False


# ---------------------------------------------------------------------------------------------------- do they hold


def test_what_was_changed_or_is_gone_is_told(root: Path) -> None:
    path = root / "src" / "charm.py"
    whole, part, there = cited(["src/charm.py", "src/charm.py:1-2"], root) + (Citation("src/charm.py"),)
    path.write_bytes(b"one\r\ntwo\r\nthree\r\n")  # as a checkout on another system has it
    assert [check(each, root).holds for each in (whole, part, there)] == [True, True, True]
    path.write_bytes(b"one\ntwo\nfour\n")
    assert [str(check(each, root)) for each in (whole, part, there)] == [
        "src/charm.py was changed", "src/charm.py:1-2 holds", "src/charm.py holds"
    ]  # fmt: skip
    assert cited([whole, part, there], root, anew=True) == tuple(
        Citation("src/charm.py", sha(text), *lines)
        for text, *lines in (("one\ntwo\nfour\n", None, None), ("one\ntwo\n", 1, 2), ("one\ntwo\nfour\n", None, None))
    )
    path.unlink()
    assert [str(check(each, root)) for each in (whole, part, there)] == [
        "src/charm.py is gone", "src/charm.py:1-2 is gone", "src/charm.py is gone"
    ]  # fmt: skip
    assert cited([whole], root, anew=True) == (whole,)
    path.mkdir()
    assert str(check(whole, root)) == "src/charm.py is no file any more"


def test_parts_of_one_file_are_read_at_once(root: Path) -> None:
    some = cited([f"src/charm.py:{line}" for line in (1, 2, 3)] + ["src/charm.py"], root)
    known = FileHashes()
    assert all(found.holds for found in Files(Place(root), known).check(some))
    assert known.reads == 1  # though it was written just now
    assert [shown(each) for each in some] == ["src/charm.py:1", "src/charm.py:2", "src/charm.py:3", "src/charm.py"]


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_does_not_hold(root: Path) -> None:
    [citation] = cited("src/charm.py", root)
    os.chmod(root / "src" / "charm.py", 0)
    assert "cannot be read" in str(check(citation, root))


@pytest.mark.parametrize("form", [str, Path])
def test_one_citation_needs_no_list(root: Path, form: type) -> None:
    with open_memory("memory://") as memory:
        memories = memory.long_term(root, {"global": False, "shared": False})
        made = memories.remember("fact", "a", "b", citations=form("src/charm.py"))
        assert [citation.path for citation in made.citations] == ["src/charm.py"]
        with pytest.raises(DataError, match="a list of paths"):
            memories.remember("fact", "a", "b", citations=7)  # type: ignore[arg-type]
