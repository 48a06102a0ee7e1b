"""Looking at histories and states: what graphs leave, what waits, what failed, what cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from charm_checkpoint.contract import NewWrites
from charm_checkpoint.errors import CheckpointNotFound, ConfigError, PathNotFound, ThreadNotFound
from charm_checkpoint.inspection import StateView
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, PlansInMode
from charm_checkpoint.testing.damage import JUNK
from charm_checkpoint.testing.samples import Color, Point, chat, checkpoint, config, new, unsealed
from charm_checkpoint.testing.saver_methods import config_all, put


class Looking(Suite):
    """Fixtures of those who look."""

    @pytest.fixture
    def looked(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    @pytest.fixture
    def stranger(self, memory: Memory, mode: CallMode, monkeypatch: pytest.MonkeyPatch) -> InMode:
        """Return the store as a program sees it that has none of the classes."""
        monkeypatch.setattr(memory, "_serde", memory.get_langgraph_checkpointer().with_allowlist(()).serde)
        return InMode(memory, mode)


class Histories(Looking):
    """`Memory.history` over what graphs leave, and `CharmSaver.list` without values."""

    def test_a_run_step_by_step(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        InMode(graphs.counting(saver.raw), saver.mode).invoke({"log": ["begun"]}, config("t"))
        found = looked.history("t")
        assert [item.checkpoint_id for item in found] == [item.checkpoint["id"] for item in saver.list(config("t"))]
        assert [(item.step, item.source) for item in found] == [
            (3, "loop"), (2, "loop"), (1, "loop"), (0, "loop"), (-1, "input"),
        ]  # fmt: skip
        assert [item.nodes for item in found] == [("three",), ("two",), ("one",), ("__start__",), ()]
        assert [item.next for item in found] == [(), ("three",), ("two",), ("one",), ("__start__",)]
        assert [item.is_head for item in found] == [True, False, False, False, False]
        assert [item.parent_id for item in found] == [item.checkpoint_id for item in found[1:]] + [None]
        assert not any(item.is_fork or item.error or item.interrupts or item.note for item in found)
        assert [item.changed for item in found] == [("log",)] * 4 + [()]
        assert all(item.size > 0 and item.created_at is not None for item in found)

    def test_nodes_beside_each_other_and_those_that_were_sent_to(
        self, looked: InMode, graphs: Any, saver: InMode
    ) -> None:
        InMode(graphs.branching(saver.raw), saver.mode).invoke({"log": []}, config("sent"))
        found = looked.history("sent")
        assert [item.nodes for item in found] == [("work",), ("__start__",), ()]
        assert found[1].next == ("work",) * 5

    def test_what_waits_and_what_was_answered(self, looked: InMode, asking: Any, saver: InMode) -> None:
        graph = InMode(asking.paused(saver.raw), saver.mode)
        graph.invoke({"log": ["begun"]}, config("t"))
        head = looked.history("t", limit=1)[0]
        assert (head.interrupts, head.next, head.is_head) == (1, ("ask",), True)
        graph.invoke(asking.Command(resume="one"), config("t"))
        assert looked.history("t", limit=1)[0].interrupts == 1
        graph.invoke(asking.Command(resume="two"), config("t"))
        found = looked.history("t")
        assert [item.interrupts for item in found] == [0, 0, 1, 0]
        assert [item.nodes for item in found[:2]] == [("end",), ("ask",)]

    def test_what_failed(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        def fail(node: str) -> None:
            if node == "two":
                raise ValueError("on purpose")

        with pytest.raises(ValueError, match="on purpose"):
            InMode(graphs.counting(saver.raw, fail), saver.mode).invoke({"log": []}, config("t"))
        found = looked.history("t")
        assert [item.error for item in found] == [True, False, False]
        assert found[0].next == ("two",)
        InMode(graphs.counting(saver.raw), saver.mode).invoke(None, config("t"))
        assert [item.error for item in looked.history("t")] == [False, False, True, False, False]

    def test_branches_forks_and_updates(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        graph = InMode(graphs.counting(saver.raw), saver.mode)
        graph.invoke({"log": []}, config("t"))
        old = looked.history("t")[2]
        graph.invoke({"log": ["again"]}, config("t", id=old.checkpoint_id))
        graph.update_state(config("t"), {"log": ["corrected"]}, as_node="three")
        found = looked.history("t")
        assert (found[0].source, found[0].is_fork, found[0].is_head) == ("update", False, True)
        [fork] = [item for item in found if item.is_fork]
        assert fork.parent_id == old.checkpoint_id
        assert len({item.checkpoint_id for item in found if item.parent_id == old.checkpoint_id}) == 2

    def test_runs_that_met(self, looked: InMode, saver: InMode) -> None:
        first = put(saver, config("t"), checkpoint({"log": []}, id="1"))
        put(saver, first, checkpoint({"log": ["a"]}, id="2"))
        put(saver, first, checkpoint({"log": ["b"]}, id="3"))
        found = {item.checkpoint_id: item for item in looked.history("t")}
        assert (found["3"].conflict, found["3"].is_fork, found["2"].conflict) == ("2", True, None)

    def test_subgraphs_have_namespaces(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        InMode(graphs.nested(saver.raw), saver.mode).invoke({"log": ["begun"]}, config("t"))
        found = looked.history("t")
        below = [item for item in found if item.checkpoint_ns]
        assert {item.checkpoint_ns.partition(":")[0] for item in below} == {"sub"}
        roots = {item.checkpoint_id for item in looked.history("t", ns="")}
        assert len(roots) + len(below) == len(found)
        assert {item.parents[""] for item in below} <= roots
        assert sum(item.is_head for item in found) == 2
        assert looked.history("t", ns=below[0].checkpoint_ns) == below
        with pytest.raises(CheckpointNotFound, match="no checkpoint in namespace 'elsewhere'"):
            looked.history("t", ns="elsewhere")

    @pytest.mark.parametrize("ns", [None, ""])
    def test_a_cursor_goes_on_behind_each_checkpoint(
        self, looked: InMode, graphs: Any, saver: InMode, ns: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("charm_checkpoint.inspection.history.PAGE", 3)
        graph = InMode(graphs.nested(saver.raw, stable=True), saver.mode)
        for n in range(2):
            graph.invoke({"log": [n]}, config("t"))
        found = looked.history("t", ns=ns)
        for number, item in enumerate(found, 1):
            assert looked.history("t", ns=ns, after=item.cursor) == found[number:]
            assert looked.history("t", ns=ns, limit=number) == found[:number]

    def test_a_device_and_a_run_are_told(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        said = {**config("t"), "metadata": {"run_id": "r1", "hostname": "tablet"}}
        InMode(graphs.chat(saver.raw), saver.mode).invoke({"messages": [("user", "hi")]}, said)
        assert {(item.run_id, item.device) for item in looked.history("t")} == {("r1", "tablet")}

    def test_what_is_not_there_is_an_error(self, looked: InMode, saver: InMode) -> None:
        put(saver, config("t"), checkpoint({}))
        looked.save_messages("said", [{"role": "user", "content": "hi"}])
        for call in (looked.history, looked.state, looked.conversation, looked.size):
            with pytest.raises(ThreadNotFound, match="There is no thread 'nobody'"):
                call("nobody")
        with pytest.raises(ThreadNotFound):
            looked.diff("nobody", None)
        with pytest.raises(ThreadNotFound):
            looked.blame("nobody", "log")
        assert looked.history("said") == []
        with pytest.raises(ConfigError, match="cursor"):
            looked.history("t", after="!")
        put(saver, config("other"), checkpoint({}))
        [other] = looked.history("other")
        with pytest.raises(ConfigError, match="another thread's history"):
            looked.history("t", after=other.cursor)

    def test_what_is_damaged_is_noted(self, looked: InMode, saver: InMode, backend: PlansInMode) -> None:
        put(saver, config("bad"), checkpoint({"log": [1]}, id="first"))
        backend.put(new("second", "first", thread="bad", body=JUNK))
        put(saver, config("bad", id="second"), checkpoint({"log": [1, 2]}, id="third"))
        backend.put_writes(NewWrites("bad", "", "third", JUNK, None))
        found = {item.checkpoint_id: item for item in looked.history("bad")}
        assert list(found) == ["third", "second", "first"]
        assert found["second"].note and found["third"].note and found["first"].note is None
        assert found["third"].channels == ("log",) and found["third"].parent_id == "second"
        view = looked.state("bad")
        assert view.values == {"log": [1, 2]} and "pending writes" in str(view.checkpoint.note)
        assert looked.state("bad", "second").values == {}

    def test_a_listing_without_values(self, saver: InMode, graphs: Any, backend: PlansInMode, monkeypatch: Any) -> None:
        InMode(graphs.counting(saver.raw), saver.mode).invoke({"log": ["x" * 3000]}, config("t"))
        put(saver, config("other"), checkpoint({"log": ["y" * 3000]}))
        whole = saver.list(None)

        def none(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a chunk was read")

        monkeypatch.setattr(type(backend.backend), "chunks", none)
        bare = saver.list(None, values=False)
        assert len(bare) == len(whole) == 6
        for one, other in zip(whole, bare, strict=True):
            assert other.checkpoint["channel_values"] == {}
            wanted = {**one.checkpoint, "channel_values": {}}
            assert (other.config, other.checkpoint, other.metadata) == (one.config, wanted, one.metadata)
            assert (other.parent_config, other.pending_writes) == (one.parent_config, one.pending_writes)
        [second] = saver.list(config("t"), filter={"step": 2}, values=False)
        assert second.metadata["step"] == 2
        assert saver.list(config("t"), values=False, limit=2, before=second.config)[0].metadata["step"] == 1

    def test_a_listing_without_values_needs_no_classes(self, saver: InMode, raising: InMode) -> None:
        put(saver, config("t"), checkpoint({"points": [Point(n) for n in range(90)]}))
        bare = InMode(raising.raw.with_allowlist(()), saver.mode)
        assert [item.checkpoint["channel_values"] for item in bare.list(config_all("t"), values=False)] == [{}]


class States(Looking):
    """`Memory.state` and `Memory.conversation`."""

    def test_the_state_at_each_checkpoint(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        InMode(graphs.counting(saver.raw), saver.mode).invoke({"log": ["begun"]}, config("t"))
        found = looked.history("t")
        logs = [looked.state("t", item.checkpoint_id).values.get("log") for item in found]
        assert logs == [
            ["begun", "one", "two", "three"], ["begun", "one", "two"], ["begun", "one"], ["begun"], None,
        ]  # fmt: skip
        assert [looked.state("t", -n).checkpoint for n in range(5)] == found
        assert looked.state("t", "-1").checkpoint == looked.state("t", found[1].checkpoint_id[-12:]).checkpoint
        view = looked.state("t")
        assert view.at("log[1]") == view.at("log[-3]") == view.at(("log", 1)) == "one"
        for path in ("log[9]", "nothing", "log.name", "log[0].x"):
            with pytest.raises(PathNotFound):
                view.at(path)
        assert view.writes == () and looked.state("t", -1).writes[0].value == ["three"]

    def test_a_checkpoint_is_named_by_a_part_of_its_id(self, looked: InMode, saver: InMode) -> None:
        at = config("t")
        for id in ("aaaa-1-zzzz", "aaaa-2-yyyy"):
            at = put(saver, at, checkpoint({"log": [id]}, id=id))
        assert looked.state("t", "aaaa-1").values == looked.state("t", "zzzz").values == {"log": ["aaaa-1-zzzz"]}
        with pytest.raises(CheckpointNotFound, match="several checkpoints begin or end with 'aaaa'"):
            looked.state("t", "aaaa")
        absent: list[Any] = ["bbbb", "a", -2, "-7"]
        for name in absent:
            with pytest.raises(CheckpointNotFound):
                looked.state("t", name)
        wrong: list[Any] = [1, 2.5, "", b"x"]
        for name in wrong:
            with pytest.raises(ConfigError, match="checkpoint"):
                looked.state("t", name)

    def test_the_question_that_waits(self, looked: InMode, asking: Any, saver: InMode) -> None:
        graph = InMode(asking.paused(saver.raw), saver.mode)
        graph.invoke({"log": ["begun"]}, config("t"))
        [question] = looked.state("t").questions
        assert (question.node, question.value, question.waits) == ("ask", "first?", True)
        graph.invoke(asking.Command(resume={question.id: "one"}), config("t"))
        [question] = looked.state("t").questions
        assert (question.value, question.waits) == ("second?", True)
        graph.invoke(asking.Command(resume="two"), config("t"))
        assert looked.state("t").questions == ()
        assert [question.waits for question in looked.state("t", -2).questions] == [False]

    def test_a_question_below(self, looked: InMode, asking: Any, saver: InMode) -> None:
        InMode(asking.nested(saver.raw, pause=True), saver.mode).invoke({"log": ["begun"]}, config("t"))
        assert [question.value for question in looked.state("t").questions] == ["inner?"]
        [ns] = {item.checkpoint_ns for item in looked.history("t")} - {""}
        [below] = looked.state("t", ns=ns).questions
        assert (below.node, below.value, below.waits) == ("inner", "inner?", True)

    def test_the_error_that_stopped_it(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        def fail(node: str) -> None:
            raise ValueError("on purpose")

        with pytest.raises(ValueError, match="on purpose"):
            InMode(graphs.counting(saver.raw, fail), saver.mode).invoke({"log": []}, config("t"))
        [error] = looked.state("t").errors
        assert error.node == "one" and "ValueError" in error.text and "on purpose" in error.text

    def test_messages_are_a_conversation(self, looked: InMode, saver: InMode) -> None:
        call = {"name": "search", "args": {"q": "trains"}, "id": "c1"}
        messages = [
            HumanMessage("Where is my train?", name="Ann"),
            AIMessage([{"type": "text", "text": "Let me look."}, {"type": "image_url"}], tool_calls=[call]),
            ToolMessage("late", tool_call_id="c1", artifact=Point(1)),
            {"role": "assistant", "content": "It is late."},
            ("user", "Thanks"),
        ]
        put(saver, config("t"), checkpoint({"other": [1], "messages": messages}))
        turns = looked.state("t").conversation.turns
        assert [(turn.role, turn.text) for turn in turns] == [
            ("human", "Where is my train?"), ("ai", "Let me look."), ("tool", "late"), ("ai", "It is late."),
            ("human", "Thanks"),
        ]  # fmt: skip
        assert turns[0].name == "Ann" and turns[1].parts == ("image_url",) and turns[2].answers == "c1"
        assert turns[1].tool_calls[0].as_dict() == call
        assert [turn.position for turn in turns] == [0, 1, 2, 3, 4]
        assert looked.conversation("t").turns == turns

    def test_a_long_conversation_is_read_a_page_at_a_time(
        self, looked: InMode, saver: InMode, backend: PlansInMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        messages = [HumanMessage(f"message {n}", id=f"{n}") for n in range(3000)]
        put(saver, config("t"), checkpoint({"messages": messages, "other": ["x" * 200] * 2000}))
        asked: list[int] = []
        kind: Any = type(backend.backend)
        chunks = kind.chunks

        def counted(self: Any, thread: str, addresses: Any, messages: bool = False) -> Any:
            asked.append(len(addresses))
            return chunks(self, thread, addresses, messages)

        monkeypatch.setattr(kind, "chunks", counted)
        page = looked.conversation("t", last=40)
        assert [turn.text for turn in page.turns] == [f"message {n}" for n in range(2960, 3000)]
        assert sum(asked) <= 24
        del asked[:]
        older = looked.conversation("t", last=40, before=page.before)
        assert [turn.text for turn in older.turns] == [f"message {n}" for n in range(2920, 2960)]
        assert [turn.position for turn in older.turns] == list(range(-80, -40))
        assert sum(asked) <= 24
        pages = [page, older]
        while pages[-1].before is not None:
            pages.append(looked.conversation("t", last=999, before=pages[-1].before))
        assert [turn.id for page in reversed(pages) for turn in page.turns] == [f"{n}" for n in range(3000)]
        view = looked.state("t", last=10)
        assert [turn.id for turn in view.conversation.turns] == [f"{n}" for n in range(2990, 3000)]
        assert view.channels["messages"].before is not None

    def test_a_thread_of_messages_only(self, looked: InMode) -> None:
        said = [{"role": "user", "content": f"message {n}"} for n in range(400)]
        looked.save_messages("said", said)
        for n in range(400, 403):
            looked.append_messages("said", [{"role": "user", "content": f"message {n}"}])
        view = looked.state("said")
        assert view.checkpoint is None and view.channels == {}
        assert view.conversation.turns[-1].text == "message 402"
        for last in (2, 30, 500):
            pages = [looked.conversation("said", last=last)]
            while pages[-1].before is not None:
                pages.append(looked.conversation("said", last=last, before=pages[-1].before))
            turns = [turn for page in reversed(pages) for turn in page.turns]
            assert [turn.text for turn in turns] == [f"message {n}" for n in range(403)]
            if last == 30:
                assert [turn.position for turn in turns] in ([*range(-403, 0)], [*range(403)])
        cursor = looked.conversation("said", last=2).before
        looked.save_messages("said", said)
        if looked.raw.store.history is None:  # a list that is kept in another way goes by numbers, which stay good
            with pytest.raises(ConfigError, match="changed since"):
                looked.conversation("said", before=cursor)

    def test_classes_that_are_not_loaded_are_shown_as_they_are_stored(self, stranger: InMode, saver: InMode) -> None:
        values: dict[str, Any] = {
            "user": Point(1, [Point(2)]),
            "many": [Point(n) for n in range(400)],
            "messages": [*chat(30), ToolMessage("x", tool_call_id="c", artifact=Point(1))],
            "map": {Color.RED: 1},
        }
        put(saver, config("t"), checkpoint(values))
        view = stranger.state("t")
        assert view.at("user") == {"x": 1, "y": [{"x": 2, "y": None}]}
        assert view.at("many[399].x") == 399
        assert len(view.conversation.turns) == len(values["messages"])
        notes = {note.path: note.text for note in view.notes}
        assert (
            "Point" in notes["user"]
            and "Point" in notes["many[3]"]
            and "Point" in notes[f"messages[{len(values['messages']) - 1}].artifact"]
        )
        json.dumps(view.as_dict())

    def test_a_damaged_chunk_is_a_note_where_it_is(self, looked: InMode, saver: InMode, backend: PlansInMode) -> None:
        log = [f"entry {n} " + "x" * 200 for n in range(900)]
        at = put(saver, config("t"), checkpoint({"log": log, "sound": ["y" * 90] * 90}, id="large"))
        row = backend.find("t", "", "large").row
        roots = [row.roots[n : n + 16] for n in range(0, len(row.roots), 16)]
        backend.put(new("lost", "large", thread="lost", body=unsealed(row.body), roots=row.roots, chunks=()))
        view = looked.state("lost")
        assert {note.path for note in view.notes} == {"log", "sound"} and view.at("log") is None
        manifest = backend.chunks("t", roots)[roots[0]]
        leaves = [manifest.refs[n : n + 16] for n in range(0, len(manifest.refs), 16)]
        kept = _reached(backend, "t", roots, without=leaves[0])
        backend.put(new("part", thread="part", body=unsealed(row.body), roots=row.roots, chunks=kept))
        view = looked.state("part")
        [note] = [note for note in view.notes if note.path.startswith("log")]
        assert "missing" in note.text and note.path == "log[0]"
        rest = view.at("log")[1:]
        assert 0 < len(rest) < 900 and rest == log[-len(rest) :]
        assert view.at("sound") == ["y" * 90] * 90
        assert looked.conversation("part").turns == () and at is not None

    def test_a_delta_channel_is_shown_as_its_changes(self, looked: InMode, graphs: Any, saver: InMode) -> None:
        graph = InMode(graphs.delta(saver.raw), saver.mode)
        for n in range(2):
            graph.invoke({"log": [n]}, config("t"))
        assert (view := looked.state("t")).at("log") == [0, ["first", 1], ["second", 2], 1, ["first", 4], ["second", 5]]
        assert "stored as changes" in str(view.notes)
        [entry] = looked.blame("t", "log")
        assert (entry.nodes, entry.is_oldest, entry.value[0]) == (("second",), True, 0)
        with pytest.raises(PathNotFound, match="stored as changes"):
            looked.blame("t", "log[0]")

    def test_what_is_shown_is_plain_json(self, looked: InMode, asking: Any, saver: InMode) -> None:
        InMode(asking.paused(saver.raw), saver.mode).invoke({"log": [b"\0", {1, 2}, 1.5, Point(1)]}, config("t"))
        view: StateView = looked.state("t")
        told = json.loads(json.dumps(view.as_dict()))
        assert told["values"]["log"] == [{"bytes": 1, "base64": "AA=="}, [1, 2], 1.5, {"x": 1, "y": None}]
        assert told["questions"][0]["value"] == "first?"
        json.dumps([item.as_dict() for item in looked.history("t")])


def _reached(backend: PlansInMode, thread: str, names: Any, without: bytes) -> list[Any]:
    """Return chunks and all they name, but for one."""
    found: dict[bytes, Any] = {}
    waiting = list(names)
    while waiting:
        chunks = backend.chunks(thread, waiting)
        found.update(chunks)
        refs = [chunk.refs[n : n + 16] for chunk in chunks.values() for n in range(0, len(chunk.refs), 16)]
        waiting = [ref for ref in dict.fromkeys(refs) if ref not in found and ref != without]
    found.pop(without, None)
    return list(found.values())
