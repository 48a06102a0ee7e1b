"""Whose threads are whose on Supabase, by its API: users who are signed in, strangers, and the service key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from children.jobs import config
from langgraph.checkpoint.base import empty_checkpoint
from stores import have, shared_project, supabase_server

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import NewMessages, NewWrites, Query
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey, ItemQuery
from charm_checkpoint.errors import ConfigError, StoreError, StoreUnavailable
from charm_checkpoint.servers import SupabaseServer
from charm_checkpoint.stores.supabase.rpc import STRANGER
from charm_checkpoint.testing import BackendSuite
from charm_checkpoint.testing.call_modes import BlockingMode, CallMode
from charm_checkpoint.testing.conflicts import Conflicts
from charm_checkpoint.testing.samples import chunk, new


@pytest.fixture
def server() -> SupabaseServer:
    have(shared_project)
    return supabase_server()


def user_url(server: SupabaseServer, user: str) -> str:
    """Return the URL that a user who is signed in opens the store by."""
    return f"supabase://127.0.0.1:{server.port}?key={server.publishable_key}&token={server.sign_token(user)}"


def fill(memory: Memory, thread: str = "t") -> None:
    """Put into a store one of everything."""
    saver = memory.get_langgraph_checkpointer()
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"secret": ["a long enough value to get a chunk of its own"] * 100}
    checkpoint["channel_versions"] = {"secret": 1}
    put = saver.put(config(thread), checkpoint, {"source": "loop", "step": 1, "run_id": "run"}, {"secret": 1})
    saver.put_writes(put, [("secret", "pending")], "task")
    memory.save_messages(thread, [{"role": "user", "content": "for me alone"}])
    memory.append_messages(thread, [{"role": "assistant", "content": "for you alone"}])
    items: Any = memory.store.items
    new = [ItemChange(*ITEM, b"mine alone", entry=b"my words", vectors=b"vv"), ItemChange(*ENDING, b"x", ttl=5)]
    memory.store.run(partial(items.change, ItemBatch(10, changes=new)), write=True)


ITEM, ENDING = ItemKey(b"is\0", b"k"), ItemKey(b"is\0", b"ending")


def contents(memory: Memory) -> Any:
    """Return all that a tenant has, as it sees it."""
    saver = memory.get_langgraph_checkpointer()
    items: Any = memory.store.items
    known = memory.store.run(partial(items.entries, b""), write=False).spaces
    vectors = memory.store.run(partial(items.fetch, [ITEM, ENDING], True), write=False)
    return list(saver.list(None)), memory.load_messages("t"), memory.usage(), known, vectors


class TestSignedIn(BackendSuite, Conflicts):
    """A user has in his own tenant what the service key has."""

    @pytest.fixture
    def url(self, server: SupabaseServer) -> str:
        return user_url(server, str(uuid4()))

    @pytest.fixture
    def mode(self) -> CallMode:
        return BlockingMode()


LEAF = chunk("leaf")
METHODS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "put": lambda thread: (new("2", None, thread=thread, on_conflict="allow"),),
    "put_writes": lambda thread: (NewWrites(thread, "", "1", b"w", None),),
    "find": lambda thread: (thread, "", None),
    "ancestors": lambda thread: (thread, "", "1", 10),
    "page": lambda thread: (Query(thread), None, 10),
    "chunks": lambda thread: (thread, [LEAF.address]),
    "remove": lambda thread: (thread, [("", "1")], None),
    "runs": lambda thread: (["run"],),
    "delete_thread": lambda thread: (thread,),
    "copy_thread": lambda thread: (thread, "mine"),
    "messages": lambda thread: (thread,),
    "put_messages": lambda thread: (NewMessages(thread, b"x", b"", [], None),),
    "append_messages": lambda thread: (thread, b"x"),
    "usage": lambda thread: (thread,),
    "threads": lambda thread: (None, 10),
    "erase_thread": lambda thread: (thread, 4_000_000_000),
    "forget_erased": lambda thread: (0,),
    "pin": lambda thread: (thread, True),
}

ITEM_METHODS: dict[str, Callable[[ItemKey], tuple[Any, ...]]] = {
    "change": lambda item: (ItemBatch(11, changes=[ItemChange(*item, b"stolen", b"", b"entry", b"vector")]),),
    "entries": lambda item: (item.space,),
    "fetch": lambda item: ([item],),
    "page": lambda item: (ItemQuery(item.space, 11, 10),),
    "spaces": lambda item: (item.space, 11),
    "count": lambda item: (item.space, 11),
    "expire": lambda item: (99, 10),
    "erase": lambda item: (item.space,),
    "usage": lambda item: (item.space,),
}
BATCHES = [
    ItemBatch(11, [ITEM, ENDING], [ITEM, ENDING]),
    ItemBatch(11, touches=[ENDING]),
    ItemBatch(11, changes=[ItemChange(*ITEM, None)]),
    ItemBatch(99, changes=[ItemChange(*ENDING, None, expired=True)]),
    ItemBatch(11, changes=[ItemChange(*ITEM, b"x", expect=0)]),
]


def test_another_users_items_are_refused_and_whether_one_is_there_is_not_told(server: SupabaseServer) -> None:
    ann, bob = str(uuid4()), str(uuid4())
    with open_memory(user_url(server, ann)) as victim, open_memory(user_url(server, bob), tenant=ann) as thief:
        fill(victim)
        before = contents(victim)
        items: Any = thief.store.items
        for name, arguments in ITEM_METHODS.items():
            calls = [partial(getattr(items, name), *arguments(item)) for item in (ITEM, ItemKey(b"never", b"heard of"))]
            calls += [partial(items.change, batch) for batch in BATCHES if name == "change"]
            said = set()
            for call in calls:
                with pytest.raises(StoreError) as caught:
                    thief.store.run(call, write=True)
                said.add(str(caught.value))
            assert len(said) == 1 and STRANGER in said.pop(), name
        assert contents(victim) == before


def test_the_same_items_of_two_users_are_two(server: SupabaseServer) -> None:
    ann, bob = str(uuid4()), str(uuid4())
    with open_memory(user_url(server, ann)) as one, open_memory(user_url(server, bob)) as other:
        fill(one)
        before = contents(one)
        items: Any = other.store.items
        for batch in BATCHES[:4]:
            assert not any(other.store.run(partial(items.change, batch), write=True).rows)
        assert other.store.run(partial(items.spaces, b"", 0), write=False) == []
        for batch in (BATCHES[4], BATCHES[0], BATCHES[2]):
            assert other.store.run(partial(items.change, batch), write=True).outcome == "stored"
        assert other.store.run(partial(items.expire, 99, 10), write=True) == 0
        assert other.store.run(partial(items.erase, b""), write=True) == 0
        assert contents(one) == before


def test_another_users_tenant_is_refused_and_whether_a_thread_is_there_is_not_told(server: SupabaseServer) -> None:
    ann, bob = str(uuid4()), str(uuid4())
    with open_memory(user_url(server, ann)) as victim, open_memory(user_url(server, bob), tenant=ann) as thief:
        fill(victim)
        before = contents(victim)
        for name, arguments in METHODS.items():
            said = set()
            for thread in ("t", "never heard of"):
                call = partial(getattr(thief.store.backend, name), *arguments(thread))
                with pytest.raises(StoreError) as caught:
                    thief.store.run(call, write=True)
                said.add(str(caught.value))
            assert len(said) == 1 and STRANGER in said.pop(), name
        with open_memory(server.store_url(), tenant=ann) as service:
            assert contents(service) == before


def test_what_is_erased_of_one_user_is_not_anothers(server: SupabaseServer) -> None:
    ann, bob = str(uuid4()), str(uuid4())
    with open_memory(user_url(server, ann)) as one, open_memory(user_url(server, bob)) as other:

        def run(memory: Memory, method: str, *args: Any) -> Any:
            return memory.store.run(partial(getattr(memory.store.backend, method), *args), write=True)

        for memory in (one, other):
            fill(memory)
            assert run(memory, "erase_thread", "t", 4_000_000_000).checkpoints == 1
        assert run(other, "forget_erased", 4_000_000_000) == 1
        assert run(one, "find", "t", "", None).state.deletes == 1
        assert run(other, "find", "t", "", None).state.deletes == 0
        # How much room all tenants take is no user's to know.
        assert run(one, "space").taken is None
        with open_memory(server.store_url(), tenant=ann) as service:
            assert run(service, "space").taken > 0
            assert run(service, "find", "t", "", None).state.deletes == 1


def test_users_and_the_service_key_see_what_is_theirs(server: SupabaseServer) -> None:
    ann, bob = str(uuid4()), str(uuid4())
    with open_memory(user_url(server, ann)) as one, open_memory(user_url(server, bob)) as other:
        fill(one)
        empty = contents(other)
        assert empty[:2] == ([], []) and empty[3:] == ([], {})
        fill(other)
        other.delete_thread("t")
        other.store.run(partial(other.store.items.erase, b""), write=True)  # type: ignore[union-attr]
        assert contents(other) == empty
        with open_memory(server.store_url(), tenant=ann) as service:
            assert contents(service) == contents(one) and service.usage().checkpoints == 1


@pytest.mark.parametrize(
    "kind", ["none", "garbage", "expired", "forged", "forged service", "anon", "wrong key", "no sub"]
)
def test_strangers_get_nothing_but_a_clear_error(server: SupabaseServer, kind: str) -> None:
    other = SupabaseServer.__new__(SupabaseServer)
    other._sign_key = "x" * 48
    user = str(uuid4())
    tokens = {
        "none": lambda: None,
        "garbage": lambda: "garbage",
        "expired": lambda: server.sign_token(user, seconds=-10),
        "forged": lambda: other.sign_token(user),
        "forged service": lambda: other.sign_token(user, role="service_role"),
        "anon": lambda: server.sign_token(user, role="anon"),
        "wrong key": lambda: None,
        "no sub": lambda: server.sign_token(""),
    }
    key = "sb_secret_0123456789abcdef" if kind == "wrong key" else server.publishable_key
    with open_memory(server.url, key=key, token=tokens[kind](), tenant=user) as memory:
        for call in (memory.usage, partial(memory.load_messages, "t"), partial(memory.append_messages, "t", [{}])):
            with pytest.raises((StoreError, StoreUnavailable), match=r"lacks rights|refused the key") as caught:
                call()
            assert key not in str(caught.value)


def test_a_token_that_names_nobody_is_refused_at_once(server: SupabaseServer) -> None:
    for token in ("garbage", "a.b.c", server.sign_token("")):
        with pytest.raises(ConfigError, match="not an access token"):
            open_memory(server.url, key=server.publishable_key, token=token)


def test_a_callback_gives_each_call_its_token(server: SupabaseServer) -> None:
    user, asked = str(uuid4()), []

    def token() -> str:
        asked.append(server.sign_token(user, seconds=3600 + len(asked)))
        return asked[-1]

    with open_memory(server.url, key=server.publishable_key, token=token) as memory:
        memory.append_messages("t", [{"role": "user", "content": "x"}])
        before = len(asked)
        memory.load_messages("t")
        assert len(asked) > before and len(set(asked)) == len(asked)
