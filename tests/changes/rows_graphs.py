"""Graphs that changed: channels, reducers, nodes, subgraphs, and classes that went with them; two versions at once."""

from __future__ import annotations

from textwrap import dedent

from changes.rows import Story, story

CLASS = "class O(BaseModel):\n    id: str\n"


def plain(channels: str = "", head: str = "") -> str:
    """Return a version whose graph has a text, a count of its turns, and other channels."""
    return dedent(head) + dedent("""
    class State(TypedDict, total=False):
        text: str
        turns: Annotated[int, operator.add]
        {}
    def turn(state):
        return {{"turns": 1}}
    def graph(saver):
        return StateGraph(State).add_node(turn).add_edge(START, "turn").compile(checkpointer=saver)
    """).format(channels or "pass")


def asking(node: str = "ask", head: str = "", first: str = "", value: str = "'why?'") -> str:
    """Return a version whose graph waits in a node, beside one that is done."""
    ways = f".add_edge(START, {node!r})"
    if first:
        ways = f'.add_node("first", lambda state: None).add_edge(START, "first").add_edge("first", {node!r})'
    done = "O(id='7')" if head else "1"
    return dedent(head) + dedent("""
    class State(TypedDict, total=False):
        log: Annotated[list[Any], operator.add]
    def ask(state):
        return {{"log": [interrupt({})]}}
    def beside(state):
        return {{"log": [{}]}}
    def waits(graph_state):
        return next(task.interrupts[0].value for task in graph_state.tasks if task.interrupts)
    def graph(saver):
        made = StateGraph(State).add_node({!r}, ask).add_node(beside).add_edge(START, "beside")
        return made{}.compile(checkpointer=saver)
    """).format(value, done, node, ways)


AT_ONCE: tuple[Story, ...] = (
    story(
        "a channel was added, and the old version has a turn after the new one (a rolling deploy)",
        plain(),
        plain("notes: str"),
        (1, "run({'text': 'a'})"),
        (2, "run({'notes': 'precious'})"),
        (1, "run({'text': 'b'}); run({'text': 'c'})"),
        (2, "found = state().values; assert found == {'text': 'c', 'notes': 'precious', 'turns': 4}"),
        everywhere=True,
    ),
    story(
        "a channel was added that holds objects of a class that the old version has not, and the old one has a turn",
        plain(),
        plain("notes: Annotated[list[Any], operator.add]", CLASS),
        (1, "run({'text': 'a'})"),
        (2, "run({'notes': [O(id='7')]})"),
        (1, "run({'text': 'b'})"),
        (2, "run({'notes': [O(id='8')]}); found = state().values; assert found['notes'] == [O(id='7'), O(id='8')]"),
        says="app:O is not loaded",
    ),
    story(
        "a field was added to a class, and the old version writes its objects anew",
        plain("order: Any", CLASS),
        plain("order: Any", CLASS + "    note: str = ''\n"),
        (2, "run({'order': O(id='7', note='precious')})"),
        (1, "run({'order': state().values['order']})"),
        (2, "found = state().values['order']; assert found == O(id='7', note='precious')"),
        everywhere=True,
    ),
    story(
        "a class was added, and the old version, which has it not, writes its objects anew",
        plain("order: Any"),
        plain("order: Any", CLASS),
        (2, "run({'order': O(id='7')})"),
        (1, "run({'order': state().values['order'], 'text': 'b'})"),
        (2, "found = state().values['order']; assert found == O(id='7')"),
        says="app:O is not loaded",
    ),
)

WENT: tuple[Story, ...] = (
    story(
        "a class was deleted with the channel that held it",
        plain("order: Any", CLASS),
        plain(),
        (1, "run({'order': O(id='7'), 'text': 'a'})"),
        (2, "found = run({'text': 'b'}); assert found == {'text': 'b', 'turns': 2}"),
        (2, "found = len(history()); assert found == 6"),
        (2, "update({'text': 'c'}, history()[2].config); found = state().values['text']; assert found == 'c'"),
        (1, "found = state().values; assert found['order'] == O(id='7') and found['text'] == 'c'"),
        everywhere=True,
        says="app:O is not loaded",
    ),
    story(
        "a class was deleted, and its channel is there",
        plain("order: Any", CLASS),
        plain("order: Any"),
        (1, "run({'order': O(id='7'), 'text': 'a'}); run({'order': None})"),
        (2, "found = run({'text': 'b'}); assert found == {'text': 'b', 'turns': 3, 'order': None}"),
        (2, "found = [each.values.get('text') for each in history()]; assert len(found) == 9"),
        says="app:O is not loaded",
    ),
    story(
        "a class was deleted, and what its head holds is pruned to the head",
        plain("order: Any", CLASS),
        plain("order: Any"),
        (1, "run({'order': O(id='7'), 'text': 'a'})"),
        (2, "saver.prune([state().config['configurable']['thread_id']]); run({'text': 'b'})"),
        (1, "found = state().values; assert found['order'] == O(id='7') and found['text'] == 'b'"),
        says="app:O is not loaded",
        official=False,
    ),
    story(
        "a node was removed that a thread waits at",
        asking("ask"),
        plain("log: Annotated[list[Any], operator.add]"),
        (1, "run({'log': []})"),
        (2, "found = state().values; assert found['log'] == []"),
        (1, "found = run(Command(resume='yes'))['log']; assert sorted(map(str, found)) == ['1', 'yes']"),
    ),
    story(
        "a node was added before the one that a thread waits at",
        asking("ask"),
        asking("ask", first="first"),
        (1, "run({'log': []})"),
        (2, "found = run(Command(resume='yes'))['log']; assert sorted(map(str, found)) == ['1', 'yes']"),
    ),
    story(
        "a class was deleted whose object a finished task wrote while another task waits",
        asking("ask", CLASS),
        asking("ask"),
        (1, "run({'log': []})"),
        (2, "found = state(); assert 'ask' in found.next and waits(found) == 'why?'"),
        (2, "found = run(Command(resume='yes'))['log']; assert 'yes' in found and len(found) == 2"),
        (1, "found = state().values['log']; assert O(id='7') in found and 'yes' in found"),
        says="app:O is not loaded",
    ),
    story(
        "a class was deleted of which an interrupt's question is",
        asking("ask", CLASS, value="O(id='why?')"),
        asking("ask"),
        (1, "run({'log': []})"),
        (2, "found = state(); assert 'ask' in found.next"),
        (1, "found = waits(state()); assert found == O(id='why?')"),
        (2, "found = run(Command(resume='yes'))['log']; assert 'yes' in found"),
        says="app:O is not loaded",
    ),
    story(
        "a message class of the program was deleted",
        plain(
            "messages: Annotated[list[Any], add_messages]",
            "from langchain_core.messages import HumanMessage\nclass Mine(HumanMessage): mood: str = 'good'\n",
        ),
        plain("messages: Annotated[list[Any], add_messages]"),
        (1, "run({'messages': [Mine('a', id='1'), ('user', 'b')]})"),
        (2, "found = state().values['messages']; assert found[1].content == 'b'"),
        (2, "run({'text': 'b'})"),
        (
            1,
            "found = run({'messages': [('user', 'c')]})['messages']; assert found[0].mood == 'good' != found[2:]",
        ),
        says="app:Mine is not loaded",
    ),
)

CHANGED: tuple[Story, ...] = (
    story(
        "the state was a TypedDict, and is a pydantic model",
        plain("order: Any", CLASS),
        plain("", CLASS).replace("class State(TypedDict, total=False)", "class State(BaseModel)").replace(
            "text: str", "text: str = ''"
        ).replace("turns: Annotated[int, operator.add]", "turns: Annotated[int, operator.add] = 0\n    order: O"),
        (1, "run({'order': O(id='7'), 'text': 'a'})"),
        (2, "found = run({'text': 'b'}); assert found == {'text': 'b', 'turns': 2, 'order': O(id='7')}"),
        (1, "found = run({'text': 'c'}); assert found == {'text': 'c', 'turns': 3, 'order': O(id='7')}"),
    ),
    story(
        "a channel got a reducer that takes what is stored",
        plain("log: list[Any]"),
        plain("log: Annotated[list[Any], operator.add]"),
        (1, "run({'log': ['a']})"),
        (2, "found = run({'log': ['b']})['log']; assert found == ['a', 'b']"),
    ),
    story(
        "a channel got a reducer that cannot take what is stored",
        plain("log: str"),
        plain("log: Annotated[list[Any], operator.add]"),
        (1, "run({'log': 'a'})"),
        (2, "try: run({'log': ['b']})\nexcept TypeError: found = 'told'\nassert found == 'told'"),
        (1, "found = [each.values.get('log') for each in history()]; assert 'a' in found"),
    ),
    story(
        "a class moved, is imported where it was, and is the only one allowed",
        plain("order: Any", CLASS),
        plain("order: Any", "import sys, types\nshop = sys.modules['shop'] = types.ModuleType('shop')\nexec("
              + repr("from pydantic import BaseModel\n" + CLASS) + ", vars(shop))\nO = shop.O\n"),
        (1, "run({'order': O(id='7')})"),
        (
            2,
            "found = again(graph(saver.raw.with_allowlist([O]))).state().values['order']; assert type(found) is O",
        ),
        official=False,
    ),
)  # fmt: skip

ROWS = (*AT_ONCE, *WENT, *CHANGED)
