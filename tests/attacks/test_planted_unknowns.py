"""Objects of classes that nobody has, planted so that a program carries them about.

The attacker may write to the store. What cannot be restored is kept and written back as it is stored, so he plants
objects of classes that are not there, or that do not fit: very many names of classes, each to be searched for; names
that forge a log; bodies that are nothing; and objects that pretend to be LangGraph's own, to steer a run or to be
passed over by it.

What he gets: an opaque value where his object stands, which holds no more bytes than he wrote, and runs nothing when it
is printed, compared, hashed, copied or written back. It passes for no other class, and he could have written any of
that there himself.
"""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import ormsgpack
import pytest

from attacks.forging import stored
from charm_checkpoint import Serializer, Unknown, open_memory
from charm_checkpoint.errors import NotSerializable, StoreCorrupt, TypeNotLoaded
from charm_checkpoint.testing.samples import checkpoint, config, versions
from charm_checkpoint.values.serde import class_lookup, searches, telling

SERDE = Serializer()
CODES = range(48)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_told", set())


def planted(name: str, **fields: Any) -> Any:
    """Return what is read of an object of a class that is not there."""
    return SERDE.loads(stored(of_class(name, **fields)))


def of_class(name: str, **fields: Any) -> ormsgpack.Ext:
    """Return a dataclass's object as it is stored, of any name."""
    return ormsgpack.Ext(42, ormsgpack.packb([name, fields]))


class Searching:
    """A clock that stands still but for searches of all classes, of which each takes a millisecond; counts these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.count = 1000.0, 0
        self._living = class_lookup._all_classes
        monkeypatch.setattr(searches, "_searched", {})
        monkeypatch.setattr(class_lookup, "_all_classes", self._all_classes)
        for module in (class_lookup, searches):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def _all_classes(self) -> Any:
        self.count += 1
        self.now += 0.001
        return self._living()


def test_very_many_names_are_not_searched_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "MOST", 0.05)
    searching = Searching(monkeypatch)
    read = SERDE.loads(stored([of_class(f"gone:C{n}") for n in range(5_000)]))
    assert {type(each) for each in read} == {Unknown}
    assert 50 <= searching.count <= 51
    SERDE.loads(stored([of_class("gone:C1") for _ in range(5_000)]))
    assert searching.count <= 51


def test_all_classes_are_searched_once_for_a_name_that_none_has(monkeypatch: pytest.MonkeyPatch) -> None:
    searching = Searching(monkeypatch)
    assert type(planted("gone:C")) is Unknown
    assert searching.count == 1


def test_what_no_module_holds_is_found_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = Searching(monkeypatch).now
    monkeypatch.setattr(searches, "_searched", {"gone:C": (now - 1, searches.MOST + 1)})
    assert not searches.may_search("gone:D")
    monkeypatch.setattr(searches, "_searched", {"gone:C": (now - searches.WINDOW - 1, 1.0)})
    assert searches.may_search("gone:D") and not searches.may_search("gone:C")


def test_names_in_the_log_are_told_once_and_harmless(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "evil\nWARNING nobody: all is well\x1b[2J:Thing"
    monkeypatch.setattr(telling, "MOST", 20)
    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        for _ in range(3):
            read = SERDE.loads(stored([of_class(name), of_class(name, x=1)]))
    told = [record.getMessage() for record in caplog.records if "Thing" in record.getMessage()]
    assert len(told) == 1 and told[0].isprintable()
    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        SERDE.loads(stored([of_class(f"gone:D{n}") for n in range(30)]))
    assert len(caplog.records) == 21 and "others are not" in caplog.records[-1].getMessage()
    monkeypatch.setattr(telling, "HOUR", 0.0)
    SERDE.loads(stored([of_class("gone:E")]))
    assert "gone:E" in caplog.records[-1].getMessage()
    assert repr(read).isprintable() and str(read[0]._asdict()["unknown"]) == name
    with pytest.raises(TypeNotLoaded) as caught:
        _ = read[0].x
    assert str(caught.value).isprintable()


def test_it_runs_nothing_and_passes_for_nothing() -> None:
    read = planted("os:system", command="echo harm", __class__="builtins:list", __reduce__="x", id=7)
    assert type(read) is Unknown and not isinstance(read, (list, dict, str))
    assert read == copy.deepcopy(read) == pickle.loads(pickle.dumps(read)) and read in {read}
    assert read.fields["command"] == "echo harm" and read.__class__ is Unknown
    assert SERDE.dumps(read) == stored(of_class("os:system", **read.fields))
    for use in (lambda: read.command, lambda: read.id, lambda: read(), lambda: f"{read}"):
        with pytest.raises(TypeNotLoaded):
            use()


def test_bodies_that_are_nothing_are_damage_or_kept() -> None:
    for code in CODES:
        for body in (b"", b"\xc1", b"\x90", b"\x91\x01", b"\x92\xa1x", b"\x80", b"\x91\xa4gone", b"\x92\xa6gone:C\x80"):
            try:
                read = SERDE.loads(b"\1" + ormsgpack.packb(ormsgpack.Ext(code, body)))
            except (StoreCorrupt, TypeNotLoaded):
                continue
            if type(read) is Unknown:
                assert repr(read) and SERDE.loads(SERDE.dumps(read)) == read and "x" not in read.class_name


@pytest.mark.parametrize("name", ["Send", "Interrupt", "Command", "Overwrite"])
def test_nothing_stands_in_for_what_steers_a_run(name: str) -> None:
    forged = stored([ormsgpack.Ext(43, ormsgpack.packb([name, 1]))])
    with pytest.raises(TypeNotLoaded, match="was stored as"):
        SERDE.loads(forged)


def test_with_registered_classes_alone_it_is_carried_and_not_restored() -> None:
    strict = Serializer(classes="registered")
    data = stored([of_class(f"{__name__}:Loaded", x=1)])
    read = strict.loads(data)
    assert type(read[0]) is Unknown and strict.dumps(read) == data
    with pytest.raises(NotSerializable):
        strict.dumps([Loaded()])
    with open_memory("memory://", classes="registered") as memory:
        saver = memory.get_langgraph_checkpointer()
        made = checkpoint({"x": read})
        saver.put(config(), made, {}, versions(made))
        found = saver.get(config())
        assert found is not None and found["channel_values"]["x"] == read


class Loaded:
    pass
