"""Two versions of a program that are alive at once on one store, and take turns: what each writes, and what it finds.

Version 2 has a field more, one less, one under another name (both versions know both names, as a deploy in two steps
has it), a class more, inside a channel that both have, and a channel more.
"""

from __future__ import annotations

from changes.rows import version

OLD = version(
    """
    class Item(BaseModel):
        id: int
        note: str = Field("", validation_alias=AliasChoices("note", "remark"))
    class Order(BaseModel):
        old_turns: int = 0
        went: str = ""
    @dataclass
    class Total:
        sum: int = 0
        went: str = ""
    class State(TypedDict, total=False):
        order: Order
        total: Total
        items: list[Item]
        bag: dict[str, Any]
        turns: int
    def turn(state, n):
        order, total = state.get("order") or Order(), state.get("total") or Total()
        assert (order.old_turns, order.went) == (n, f"old {n}" if n else ""), (n, order)
        assert (total.sum, total.went) == (state.get("turns", 0), f"old {n}" if n else ""), (n, total)
        assert all(item.note == f"note {item.id}" for item in state.get("items", [])), state
        assert state.get("bag", {}).get("old", 0) == n, state
        order.old_turns, order.went = n + 1, f"old {n + 1}"
        total.sum, total.went = total.sum + 1, f"old {n + 1}"
        number = state.get("turns", 0)
        items = [*state.get("items", []), Item(id=number, note=f"note {number}")][-9:]
        bag = {**state.get("bag", {}), "old": n + 1}
        return {"order": order if n % 2 else order.model_copy(), "total": total, "items": items, "bag": bag,
                "turns": number + 1}
    """
)
NEW = version(
    """
    import copy
    class Item(BaseModel):
        id: int
        remark: str = Field("", validation_alias=AliasChoices("remark", "note"))
    class Order(BaseModel):
        old_turns: int = 0
        new_turns: int = 0
    @dataclass
    class Total:
        sum: int = 0
        tags: list[str] = field(default_factory=list)
    class Audit(BaseModel):
        count: int
    class State(TypedDict, total=False):
        order: Order
        total: Total
        items: list[Item]
        bag: dict[str, Any]
        turns: int
        audits: list[Audit]
    def turn(state, n):
        order, total, bag = state["order"], state["total"], state["bag"]
        assert (order.old_turns, order.new_turns) == (n + 1, n), (n, order)
        assert (total.sum, total.tags) == (state["turns"], [f"new {n}"] if n else []), (n, total)
        assert all(item.remark == f"note {item.id}" for item in state["items"]), state
        assert bag.get("audit") == (Audit(count=n) if n else None), (n, bag)
        assert state.get("audits", []) == [Audit(count=number) for number in range(max(0, n - 5), n)], (n, state)
        order.new_turns = n + 1
        total = copy.copy(total)
        total.sum, total.tags = total.sum + 1, [f"new {n + 1}"]
        number = state["turns"]
        items = [*state["items"], Item(id=number, remark=f"note {number}")][-9:]
        return {"order": order if n % 2 else order.model_copy(deep=True), "total": total, "items": items,
                "bag": {**bag, "audit": Audit(count=n + 1)}, "turns": number + 1,
                "audits": [*state.get("audits", []), Audit(count=n)][-5:]}
    """
)
