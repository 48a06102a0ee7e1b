"""A store that holds something of everything, and all that can be told of a store."""

from __future__ import annotations

from typing import Any

from langgraph.types import Interrupt

from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.items.namespaces import ITEMS
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.items.store.sealed_items import SealedItems
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.samples import chat, checkpoint, config, exact, values, versions
from charm_checkpoint.transfer.hops import drive
from charm_checkpoint.transfer.reading import Reader
from charm_checkpoint.transfer.records import Mark

AWKWARD = "a\0b\ud800/../{x}%_:é"
"""A thread's name that naive storage confuses."""
THREADS = ("chat", AWKWARD, "branches", "pruned", "both", "only batches", "only a list")


class Vectors:
    """A model that embeds by the letters of a text."""

    def __call__(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        return [[float(text.count(letter)) for letter in "aeiou"] for text in texts]


def put(memory: Memory, parent: Any, state: dict[str, Any], **metadata: Any) -> Any:
    """Put a checkpoint behind another one; return its config."""
    made = checkpoint(state)
    told: Any = {"source": "loop", "step": 0, "parents": {}, **metadata}
    return memory.get_langgraph_checkpointer().put(parent, made, told, versions(made))


def fill(memory: Memory) -> None:
    """Put something of everything into a store."""
    fill_chat(memory, 12)
    _fill_branches(memory)
    _fill_pruned(memory)
    put(memory, config(AWKWARD), values(), user={"name": "é", "n": 2**70})
    messages = [{"role": "user", "content": f"{number} " + "x" * 500} for number in range(90)]
    memory.save_messages("chat", messages)
    memory.save_messages("both", messages[:20])
    for number in range(3):
        memory.append_messages("both", messages[20 + number : 21 + number])
        memory.append_messages("only batches", messages[number : number + 2])
    memory.save_messages("only a list", messages[:2])
    fill_items(memory)
    memory.pin("branches")


def fill_chat(memory: Memory, steps: int, thread: str = "chat", begin: int = 0) -> None:
    """Take steps of a conversation, with what tasks wrote, and a subgraph."""
    saver = memory.get_langgraph_checkpointer()
    found = saver.get_tuple(config(thread))
    where = found.config if found else config(thread)
    for step in range(begin, begin + steps):
        told = {"step": step, "run_id": f"run {step // 3}", "tags": ["a", step]}
        where = put(memory, where, {"messages": chat(step), "step": step, "blob": b"x" * 3000}, **told)
        saver.put_writes(where, [("messages", [f"said {step}"]), ("step", step)], f"task {step}", "~path")
        saver.put_writes(where, [("__error__", f"no {step}")], f"other {step}")
        put(memory, config(thread, f"child:{step % 2}"), {"inner": list(range(step))}, step=step)
    saver.put_writes(where, [("__interrupt__", [Interrupt("Go on?", id="i1")])], "asks")


def _fill_branches(memory: Memory) -> None:
    """Leave forks, and two writers of whom each did not know the other."""
    first = put(memory, config("branches"), {"n": 1})
    put(memory, first, {"n": 2})
    put(memory, first, {"n": 3}, source="fork")
    put(memory, first, {"n": 4})  # a conflict


def _fill_pruned(memory: Memory) -> None:
    """Leave the marks of conflicts with checkpoints that are gone."""
    first = put(memory, config("pruned"), {"n": [1] * 500})
    gone = put(memory, first, {"n": [2] * 500})
    branch = put(memory, first, {"n": [3] * 500})  # in conflict with the second
    put(memory, branch, {"n": [4] * 500})
    key = gone["configurable"]
    backend = memory.store.backend
    doomed = [(key["checkpoint_ns"], key["checkpoint_id"])]
    memory.store.run(lambda: backend.remove("pruned", doomed, None), write=True)


def fill_items(memory: Memory) -> None:
    """Put items with and without an end, with vectors, in namespaces below each other."""
    plain = memory.get_langgraph_store()
    plain.put(("users", "é"), "k", {"text": "hello world", "deep": {"n": [1, 2.5, None]}})
    plain.put(("users",), "k", {"text": "above"})
    plain.put(("users",), "mortal", {"text": "ends"}, ttl=60)
    for number in range(150):
        plain.put(("many",), f"k{number}", {"number": number})
    model = _model(memory)
    model.put(("vectors",), "a", {"text": "aaaa eeee"})
    model.put(("vectors",), "mortal", {"text": "oooo"}, ttl=90)


def _model(memory: Memory) -> CharmStore:
    return memory.get_langgraph_store(index={"embed": Vectors(), "dims": 5})


def marks(memory: Memory, thread: str) -> list[Mark]:
    """Return what tells a thread's checkpoints from others."""
    return drive(Reader(memory.store).outline(thread)).marks


def everything(memory: Memory) -> dict[str, Any]:
    """Return all that can be told of a store, values and records, as it is to be the same in a copy."""
    found = _model(memory).search(("vectors",), query="aa", refresh_ttl=False)
    return {
        "threads": {info.thread_id: (info.title, info.status, info.step, info.pinned) for info in memory.threads()},
        "checkpoints": {thread: _checkpoints(memory, thread) for thread in THREADS},
        "records": {thread: marks(memory, thread) for thread in THREADS},
        "messages": {thread: memory.load_messages(thread) for thread in THREADS},
        "items": items(memory),
        "found": [(item.key, item.score) for item in found],
    }


def _checkpoints(memory: Memory, thread: str) -> list[str]:
    saver = memory.get_langgraph_checkpointer()
    listed = list(saver.list({"configurable": {"thread_id": thread}}))
    heads = [saver.get_tuple(config(thread, ns)) for ns in ("", "child:0", "child:1")]
    return [exact(found) for found in [*listed, *heads]]


def items(memory: Memory) -> dict[Any, Any]:
    """Return all items with their entries, vectors and times."""
    backend = memory.store.items
    assert backend is not None
    opened = SealedItems(backend)
    reply = memory.store.run(lambda: backend.entries(ITEMS), write=False)
    entries = {ItemKey(space.space, entry.key): entry.entry for space in reply.spaces for entry in space.entries}
    rows = memory.store.run(lambda: opened.fetch(list(entries)), write=False)
    vectors = memory.store.run(lambda: opened.fetch(list(entries), vectors=True), write=False)
    return {key: (rows[key], vectors[key].value, entry) for key, entry in entries.items()}
