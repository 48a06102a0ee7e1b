"""The checkpointer's methods on hand-made checkpoints: every one of LangGraph's `BaseCheckpointSaver`."""

from __future__ import annotations

import inspect
import random
from enum import Enum
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from charm_checkpoint.errors import ConfigError, ThreadExists, TypeNotLoaded
from charm_checkpoint.testing.base import Open, Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import Point, checkpoint, config, exact, ids, values, versions


def put(saver: InMode, parent: Any, made: Any = None, **metadata: Any) -> Any:
    """Put a checkpoint after ``parent`` with all its channels new; return its config."""
    made = made or checkpoint()
    return saver.put(parent, made, {"source": "loop", "step": 0, "parents": {}, **metadata}, versions(made))


def chain(saver: InMode, length: int, thread: str = "t", ns: str = "") -> list[Any]:
    """Put that many checkpoints one after another; return their configs, oldest first."""
    configs = [config(thread, ns)]
    for step in range(length):
        configs.append(put(saver, configs[-1], checkpoint({"n": step}), step=step))
    return configs[1:]


class SaverMethods(Suite):
    """Putting, getting, listing, deleting, copying."""

    def test_every_method_is_the_savers_own_in_both_halves(self, saver: InMode) -> None:
        inherited = {"config_specs", "get", "aget", "serde", "with_allowlist"}
        for name, member in inspect.getmembers(BaseCheckpointSaver, callable):
            if not name.startswith("_") and name not in inherited:
                assert getattr(type(saver.raw), name) is not member, name

    def test_setup_may_be_awaited_or_not(self, opened: Open, mode: CallMode) -> None:
        saver = opened(auto_setup=False).get_langgraph_checkpointer()

        async def awaited() -> None:
            await saver.setup()

        mode.run(saver.setup, awaited)
        mode.run(saver.setup, saver.asetup)
        assert InMode(saver, mode).get_tuple(config()) is None

    def test_nothing_is_found_where_nothing_is(self, saver: InMode) -> None:
        assert saver.get_tuple(config()) is None
        assert saver.get_tuple(config(id="x")) is None
        assert saver.get(config()) is None
        assert saver.list(config()) == saver.list(None) == []
        saver.delete_thread("t")
        saver.prune(["t"])
        saver.delete_for_runs(["r"])
        saver.copy_thread("t", "u")
        assert saver.list(None) == []

    def test_a_checkpoint_comes_back_type_for_type(self, saver: InMode) -> None:
        made = checkpoint(values())
        made["versions_seen"] = {"node": {"a": 1, "b": "2.5", "c": 3.5}}
        made["channel_versions"].update(none=2, flags="00001.5", numbers=2.5)
        where = put(saver, config(), made, writes=None, nested={"a": [1, True, None]})
        assert where == config(id=made["id"]) | {}
        for found in (saver.get_tuple(config()), saver.get_tuple(where), saver.list(config())[0]):
            assert found.config == where
            assert found.parent_config is None
            assert found.pending_writes == []
            assert {key: exact(item) for key, item in found.checkpoint["channel_values"].items()} == {
                key: exact(item) for key, item in values().items()
            }
            for part in ("v", "id", "ts", "channel_versions", "versions_seen", "updated_channels"):
                assert exact(found.checkpoint[part]) == exact(made[part])
            assert found.metadata["nested"] == {"a": [1, True, None]}
            assert found.metadata["source"] == "loop"
        assert exact(saver.get(config())) == exact(saver.get_tuple(where).checkpoint)

    def test_what_a_caller_gets_is_his_to_change(self, saver: InMode) -> None:
        put(saver, config(), checkpoint(values()))
        first = saver.get(config())["channel_values"]
        first["long"][3]["n"] = "changed"
        first["nested"]["a"].append("more")
        first["messages"][0].content = "changed"
        first["wide"].clear()
        again = saver.get(config())["channel_values"]
        assert {key: exact(item) for key, item in again.items()} == {key: exact(item) for key, item in values().items()}

    def test_the_parent_is_the_one_the_config_names(self, saver: InMode) -> None:
        first, second = chain(saver, 2)
        assert saver.get_tuple(second).parent_config == first
        assert saver.get_tuple(first).parent_config is None

    def test_put_takes_metadata_from_the_config_too(self, saver: InMode) -> None:
        where: Any = config()
        where["configurable"] |= {"user": "ann", "__private": 1, "big": {"not": "plain"}}
        where["metadata"] = {"run_id": "r", "source": "not this"}
        put(saver, where, step=3)
        metadata = saver.get_tuple(config()).metadata
        assert metadata == {"source": "loop", "step": 3, "parents": {}, "user": "ann", "run_id": "r"}

    def test_an_exact_retry_changes_nothing(self, strict: InMode) -> None:
        first, second = chain(strict, 2)
        made = checkpoint({"a": list(range(500))})
        third = put(strict, second, made)
        before = [exact(item) for item in strict.list(config())]
        for _ in range(2):
            assert put(strict, second, made) == third
            assert put(strict.elsewhere(), second, made) == third
        assert [exact(item) for item in strict.list(config())] == before

    def test_a_channel_that_did_not_change_need_not_be_named_new(self, saver: InMode) -> None:
        big = {"kept": values()["long"], "moved": 1}
        first = put(saver, config(), checkpoint(big))
        made = checkpoint({**big, "moved": 2})
        saver.put(first, made, {"source": "loop", "step": 1}, {"moved": 2})
        assert exact(saver.get(config())["channel_values"]) == exact({**big, "moved": 2})

    def test_a_channel_may_be_emptied_and_filled_again(self, saver: InMode) -> None:
        where: Any = config()
        for held in ({"a": 1, "b": values()["long"]}, {"a": 1}, {}, {"b": values()["long"]}):
            where = put(saver, where, checkpoint(held))
            assert exact(saver.get(config())["channel_values"]) == exact(held)

    @pytest.mark.parametrize("edit", ["item", "attribute", "nested", "append", "trim", "key", "type"])
    def test_a_value_changed_in_place_is_noticed(self, saver: InMode, edit: str) -> None:
        held = values()
        where = put(saver, config(), checkpoint(held))
        saver.get_tuple(where)
        edits: dict[str, Any] = {
            "item": lambda: held["long"][150].update(n="changed"),
            "attribute": lambda: setattr(held["messages"][1], "content", "changed"),
            "nested": lambda: held["large"][1]["deep"].append("more"),
            "append": lambda: held["long"].append({"n": 1}),
            "trim": lambda: held["long"].pop(0),
            "key": lambda: held["wide"].update({"key 50": "changed"}),
            "type": lambda: held["long"][7].update(n=7.0),
        }
        edits[edit]()
        put(saver, where, checkpoint(held, version=2))
        assert exact(saver.get(config())["channel_values"]) == exact(held)

    @pytest.mark.parametrize("kind", [int, float, str])
    def test_versions_of_every_kind_go_up(self, saver: InMode, kind: type) -> None:
        start: Any = {int: 1, float: 1.5, str: "00000000000000000000000000000009.5"}[kind]
        steps = [start]
        for _ in range(3):
            steps.append(saver.raw.get_next_version(steps[-1], None))
        assert [type(step) for step in steps] == [kind] * 4
        assert sorted(set(steps)) == steps
        where: Any = config()
        for step in steps:
            where = put(saver, where, checkpoint({"a": [step]}, version=step))
            assert exact(saver.get(where)["channel_versions"]) == exact({"a": step})

    def test_the_first_version_is_the_same_everywhere(self, saver: InMode) -> None:
        assert saver.raw.get_next_version(None, None) == 1

    def test_ids_of_threads_may_be_members_of_an_enum(self, saver: InMode) -> None:
        class Name(str, Enum):
            FIRST = "the first"

        put(saver, config(Name.FIRST))
        found = saver.get_tuple(config("the first")).config["configurable"]
        assert (found["thread_id"], type(found["thread_id"])) == ("the first", str)

    def test_ids_of_threads_may_be_numbers(self, saver: InMode) -> None:
        put(saver, {"configurable": {"thread_id": 7, "checkpoint_ns": ""}})
        assert saver.get_tuple(config("7")).config["configurable"]["thread_id"] == "7"

    def test_a_config_that_names_nothing_is_refused(self, saver: InMode) -> None:
        wrongs: list[Any] = [{}, {"thread_id": None}, {"thread_id": b"t"}, {"thread_id": "t", "checkpoint_id": 1}]
        for wrong in wrongs:
            with pytest.raises(ConfigError, match="configurable"):
                saver.get_tuple({"configurable": wrong})
            with pytest.raises(ConfigError, match="configurable"):
                put(saver, {"configurable": wrong})

    def test_writes_need_a_checkpoint_id(self, saver: InMode) -> None:
        with pytest.raises(ConfigError, match="checkpoint_id"):
            saver.put_writes(config(), [("a", 1)], "task")

    def test_delete_thread_takes_every_namespace(self, saver: InMode) -> None:
        for ns in ("", "sub", "sub|deep:1"):
            saver.put_writes(chain(saver, 2, ns=ns)[-1], [("a", 1)], "task")
        [other] = chain(saver, 1, "u")
        saver.delete_thread("t")
        assert saver.list(config()) == []
        assert saver.get_tuple(config(ns="sub")) is None
        assert [item.config for item in saver.list(None)] == [other]

    def test_copies_are_equal_and_then_go_on_apart(self, saver: InMode) -> None:
        configs = chain(saver, 3) + chain(saver, 1, ns="sub")
        saver.put_writes(configs[1], [("a", values()["long"])], "task", "path")
        put(saver, configs[2], checkpoint(values()))
        before = [exact((item.checkpoint, item.metadata, item.pending_writes)) for item in saver.list(config_all("t"))]
        saver.copy_thread("t", "u")
        copied = saver.list(config_all("u"))
        assert [exact((item.checkpoint, item.metadata, item.pending_writes)) for item in copied] == before
        assert {item.config["configurable"]["thread_id"] for item in copied} == {"u"}
        put(saver, copied[0].config, checkpoint({"a": 1}))
        saver.delete_thread("t")
        assert len(saver.list(config_all("u"))) == len(before) + 1
        assert exact(saver.get(copied[0].config)["channel_values"]) == exact(values())

    def test_metadata_that_names_the_thread_names_the_copy_in_a_copy(self, saver: InMode) -> None:
        put(saver, put(saver, config(), thread_id="t"), thread_id="another")
        saver.copy_thread("t", "u")
        for thread in ("t", "u"):
            assert [item.metadata["thread_id"] for item in saver.list(config(thread))] == ["another", thread]
            assert len(saver.list(config(thread), filter={"thread_id": thread})) == 1
            assert len(saver.list(None, filter={"thread_id": thread})) == 1
        assert len(saver.list(None, filter={"thread_id": "another"})) == 2

    def test_a_copy_onto_a_thread_that_holds_something_is_refused(self, saver: InMode) -> None:
        chain(saver, 1)
        [held] = chain(saver, 1, "u")
        with pytest.raises(ThreadExists, match="'u'"):
            saver.copy_thread("t", "u")
        assert [item.config for item in saver.list(config("u"))] == [held]

    def test_delete_for_runs_finds_them_in_all_threads(self, saver: InMode) -> None:
        where: dict[str, Any] = {"t": config("t"), "u": config("u")}
        for thread, run in (("t", "1"), ("t", "2"), ("t", "1"), ("u", "1"), ("u", "3")):
            where[thread] = put(saver, where[thread], run_id=run)
        saver.delete_for_runs(["1", "nobody"])
        assert [item.metadata["run_id"] for item in saver.list(config("t"))] == ["2"]
        assert [item.metadata["run_id"] for item in saver.list(config("u"))] == ["3"]
        assert saver.get_tuple(config("t")).metadata["run_id"] == "2"
        saver.delete_for_runs(["2"])
        assert saver.list(config("t")) == []

    def test_prune_keeps_the_last_of_each_namespace(self, saver: InMode) -> None:
        heads = [chain(saver, 3)[-1], chain(saver, 4, ns="sub")[-1]]
        [other, *_] = chain(saver, 2, "u")
        for head in heads:
            saver.put_writes(head, [("a", values()["long"])], "task")
        before = [exact(saver.get_tuple(head)._replace(parent_config=None)) for head in heads]
        saver.prune(["t", "nobody"])
        kept = saver.list(config_all("t"))
        assert sorted(ids(kept)) == sorted(head["configurable"]["checkpoint_id"] for head in heads)
        assert [exact(saver.get_tuple(head)._replace(parent_config=None)) for head in heads] == before
        assert saver.get_tuple(other) is not None
        put(saver, heads[0], checkpoint(values()))
        assert exact(saver.get(config())["channel_values"]) == exact(values())

    def test_prune_gives_back_room(self, saver: InMode, memory: Any) -> None:
        where: Any = config()
        for n in range(4):
            where = put(saver, where, checkpoint({"a": random.Random(n).randbytes(5000)}))
        before = InMode(memory, saver.mode).usage("t")
        saver.prune(["t"])
        after = InMode(memory, saver.mode).usage("t")
        assert (after.checkpoints, after.chunks) == (1, 1)
        assert after.payload_bytes < before.payload_bytes / 3

    @pytest.mark.parametrize("strategy", ["delete", "delete_all"])
    def test_prune_may_delete(self, saver: InMode, strategy: str) -> None:
        chain(saver, 2)
        chain(saver, 2, "u")
        saver.prune(["t"], strategy=strategy)
        assert saver.list(config_all("t")) == []
        assert len(saver.list(config_all("u"))) == 2

    def test_an_unknown_strategy_is_refused(self, saver: InMode) -> None:
        chain(saver, 2)
        with pytest.raises(ConfigError, match="keep_latest"):
            saver.prune(["t"], strategy="everything")
        assert len(saver.list(config())) == 2

    def test_an_allowlist_says_what_is_revived(self, saver: InMode, raising: InMode) -> None:
        put(saver, config(), checkpoint({"p": Point(1)}))
        assert saver.get(config())["channel_values"] == {"p": Point(1)}
        bare = InMode(raising.raw.with_allowlist(()), saver.mode)
        with pytest.raises(TypeNotLoaded, match="Point"):
            bare.get_tuple(config())
        for allowed in ([Point], [(Point.__module__, "Point")]):
            listed = InMode(saver.raw.with_allowlist(allowed), saver.mode)
            assert listed.get(config())["channel_values"] == {"p": Point(1)}
        assert saver.get(config())["channel_values"] == {"p": Point(1)}


class PendingWrites(Suite):
    """Pending writes: their order, what replaces and what stays."""

    def written(self, saver: InMode, *calls: tuple[list[tuple[str, Any]], str, str]) -> list[tuple[str, str, Any]]:
        """Put writes one call after another; return what comes back."""
        where = put(saver, config())
        for writes, task, path in calls:
            saver.put_writes(where, writes, task, path)
        found = saver.get_tuple(config()).pending_writes
        assert saver.list(config())[0].pending_writes == found
        return list(found)

    def test_the_order_is_path_task_position(self, saver: InMode) -> None:
        places = [(path, f"{task}{path}") for path in ("b", "", "a") for task in "zyx"]
        calls = [([("x", (path, task, n)) for n in range(12)], task, path) for path, task in places]
        random.Random(0).shuffle(calls)
        expected = [(path, task, n) for path, task in sorted(places) for n in range(12)]
        assert [value for _, _, value in self.written(saver, *calls)] == expected

    def test_paths_sort_as_text(self, saver: InMode) -> None:
        paths = ["~__pregel_pull, 10", "~__pregel_pull, 9", "Z", "\xe9", "\0", "\ud800", "a" * 300]
        found = self.written(saver, *(([("x", path)], f"task {n}", path) for n, path in enumerate(paths)))
        assert [value for _, _, value in found] == sorted(paths)

    def test_ordinary_writes_stay_as_first_put(self, saver: InMode) -> None:
        found = self.written(
            saver, ([("x", 1), ("y", 2)], "t1", ""), ([("x", "other"), ("y", "other"), ("z", 3)], "t1", "")
        )
        assert found == [("t1", "x", 1), ("t1", "y", 2), ("t1", "z", 3)]

    @pytest.mark.parametrize("channel", [ERROR, INTERRUPT, RESUME])
    def test_special_writes_are_replaced(self, saver: InMode, channel: str) -> None:
        found = self.written(saver, ([(channel, 1)], "t1", ""), ([(channel, 2)], "t1", ""), ([(channel, 3)], "t2", ""))
        assert found == [("t1", channel, 2), ("t2", channel, 3)]

    def test_a_call_may_mix_both(self, saver: InMode) -> None:
        calls = [([("x", n), (INTERRUPT, n), ("y", n), (RESUME, n)], "t1", "") for n in range(3)]
        found = self.written(saver, *calls)
        assert sorted(found) == [("t1", INTERRUPT, 2), ("t1", RESUME, 2), ("t1", "x", 0), ("t1", "y", 0)]
        assert [channel for _, channel, _ in found][-2:] == ["x", "y"]

    def test_values_come_back_type_for_type(self, saver: InMode) -> None:
        found = self.written(saver, (list(values().items()), "t1", "p"), ([], "t2", ""))
        assert exact(found) == exact([("t1", name, value) for name, value in values().items()])

    def test_writes_belong_to_one_checkpoint(self, saver: InMode) -> None:
        first, second = chain(saver, 2)
        [sub] = chain(saver, 1, ns="sub")
        saver.put_writes(first, [("x", 1)], "t1")
        saver.put_writes(sub, [("x", 2)], "t1")
        assert saver.get_tuple(second).pending_writes == []
        assert saver.get_tuple(first).pending_writes == [("t1", "x", 1)]
        assert saver.get_tuple(sub).pending_writes == [("t1", "x", 2)]

    def test_writes_may_come_before_their_checkpoint(self, saver: InMode) -> None:
        made = checkpoint()
        saver.put_writes(config(id=made["id"]), [("x", 1)], "t1")
        assert saver.get_tuple(config()) is None
        assert saver.list(config()) == []
        put(saver, config(), made)
        assert saver.get_tuple(config()).pending_writes == [("t1", "x", 1)]


def config_all(thread: str) -> Any:
    """Return a config that lists all namespaces of a thread."""
    return {"configurable": {"thread_id": thread}}
