"""Hypothesis strategies for values a state may hold."""

from __future__ import annotations

import ipaddress
import pathlib
import re
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import SecretStr

TEXT = st.text(st.characters() | st.characters(categories=["Cs"]) | st.just("\0"), max_size=12)
ZONES = st.sampled_from(
    [timezone.utc, timezone(timedelta(hours=5.5)), timezone(-timedelta(hours=3), "X"), ZoneInfo("Europe/Paris")]
)


def scalars() -> st.SearchStrategy[Any]:
    """Return a strategy of safe values that hold no others and can be dict keys."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(2**130), 2**130),
        st.floats(),
        TEXT,
        st.binary(max_size=12),
        st.complex_numbers(),
        st.datetimes(timezones=st.none() | ZONES, allow_imaginary=False),
        st.dates(),
        st.times(timezones=st.none() | st.just(timezone.utc)),
        st.timedeltas(),
        ZONES,
        st.uuids(),
        st.decimals().filter(lambda number: not number.is_snan()),  # those cannot be hashed
        st.fractions(),
        st.ip_addresses(),
        st.ip_addresses().map(ipaddress.ip_interface),
        st.ip_addresses().map(ipaddress.ip_network),
        st.sampled_from([pathlib.Path("a/b"), pathlib.PurePosixPath("/"), pathlib.PureWindowsPath("c:\\x")]),
        st.sampled_from([re.compile("a+", re.I), re.compile(b"[\xc4-\xc6]"), range(1, 9, 3), SecretStr("s")]),
    )


def values(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Return a strategy of nested mixes of safe types."""
    leaves = scalars() | st.binary(max_size=8).map(bytearray)
    return st.recursive(leaves, _containers, max_leaves=max_leaves)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    dicts = st.dictionaries(TEXT, inner, max_size=3)
    mappings = st.dictionaries(scalars() | st.tuples(scalars(), TEXT), inner, max_size=3)
    return st.one_of(
        lists,
        dicts,
        mappings,
        lists.map(tuple),
        st.builds(deque, lists, st.none() | st.integers(4, 9)),
        st.sets(scalars(), max_size=4),
        st.frozensets(scalars(), max_size=4),
        mappings.map(OrderedDict),
        mappings.map(lambda items: defaultdict(list, items)),
        st.lists(scalars(), max_size=4).map(Counter),
        _messages(inner),
    )


def _messages(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    kwargs = st.dictionaries(TEXT, inner, max_size=2)
    return st.one_of(
        st.builds(HumanMessage, content=TEXT, additional_kwargs=kwargs),
        st.builds(AIMessage, content=TEXT, response_metadata=kwargs, name=st.none() | TEXT),
        st.builds(ToolMessage, content=TEXT, artifact=inner, tool_call_id=TEXT),
        st.builds(Document, page_content=TEXT, metadata=kwargs),
    )
