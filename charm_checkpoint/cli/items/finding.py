"""Commands that find items and show them."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.items.options import Below, Filter, Key, Namespace, dotted, labels, matching, open_items
from charm_checkpoint.cli.listing import ListingLimit, counted, say_more, shown_limit
from charm_checkpoint.cli.options import Every, Json, Url
from charm_checkpoint.cli.output import Column, is_terminal, one_line, paint, print_json, print_table
from charm_checkpoint.cli.terminal import echo_error, put
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.cli.yamlish import Cut, scalar, yamlish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from charm_checkpoint.cli.values import Cell
    from charm_checkpoint.items.results import FoundItem, StoredItem

IN_A_TERMINAL = 50
_PREVIEW = Cut(text=200, elements=3, lines=1)


def add_commands(part: Part) -> None:
    """Add these commands."""
    part.add(list_, examples="charm-checkpoint items list users --url sqlite:///agent.db")
    part.add(namespaces, examples="charm-checkpoint items namespaces --url sqlite:///agent.db")
    part.add(get, examples="charm-checkpoint items get users.7 taste --url sqlite:///agent.db")
    part.add(search, examples="charm-checkpoint items search users 'window seats' --url sqlite:///agent.db")


def list_(
    namespace: Below = "",
    filter: Filter = None,
    limit: ListingLimit = None,
    every: Every = False,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """List items, those that were put last first."""
    most = shown_limit(limit, every, as_json, IN_A_TERMINAL)
    wanted = matching(filter)

    with open_items(url) as store:

        def read(upto: int | None) -> Iterator[FoundItem]:
            found = store.items(labels(namespace), filter=wanted)
            return (item for item, _ in zip(found, range(upto), strict=False)) if upto is not None else found

        found = counted(read, most)
    if as_json:
        print_json({"items": [as_dict(item) for item in found.shown], "more": found.more})
        return 0
    _print(found.shown)
    say_more(found, "item")
    return 0


def namespaces(
    namespace: Below = "",
    depth: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The first N labels alone.", show_default=False)
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """List the namespaces that hold items, and how many each holds."""
    with open_items(url) as store:
        counts = Counter(item.namespace[:depth] for item in store.items(labels(namespace)))
    ordered = sorted(counts.items())
    if as_json:
        print_json({"namespaces": [{"namespace": list(name), "items": count} for name, count in ordered]})
        return 0
    print_table([Column("namespace"), Column("items", right=True)], [[dotted(name), count] for name, count in ordered])
    return 0


def get(namespace: Namespace, key: Key, as_json: Json = False, url: Url = None) -> int:
    """Show an item, all of its value."""
    with open_items(url) as store:
        item = store.get(labels(namespace), key, refresh_ttl=False)
    if item is None:
        listing = to_type(url, "items list", namespace)
        echo_error(f"there is no item {key!r} in {namespace}; keys are exact: {listing}")
        return 1
    if as_json:
        print_json({"items": [as_dict(item)]})
        return 0
    put(f"{paint(f'{one_line(dotted(item.namespace))}  {one_line(item.key)}', 'bold')}\n")
    put(f"created {item.created_at:%Y-%m-%d %H:%M:%S} UTC  put {item.updated_at:%Y-%m-%d %H:%M:%S} UTC\n")
    put("".join(f"{line}\n" for line in yamlish(item.value)))
    return 0


def search(
    namespace: Namespace,
    query: Annotated[str, typer.Argument(metavar="QUESTION", help="What to find.", show_default=False)],
    filter: Filter = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="N at most.")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each score is made of.")] = False,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Find the items that say most about a question, by their words."""
    with open_items(url) as store:
        found = store.search(
            labels(namespace), query=query, filter=matching(filter), limit=limit, refresh_ttl=False, explain=explain
        )
    if as_json:
        print_json({"items": [as_dict(item) for item in found]})
        return 0
    _print(found, scored=True)
    for item in found if explain else ():
        parts = ", ".join(f"{name} {value:.3f}" for name, value in (item.parts or {}).items())
        put(f"{one_line(item.key)}: {parts}\n")
    return 0


def as_dict(item: StoredItem | FoundItem) -> dict[str, Any]:
    """Return an item as plain JSON."""
    from langgraph.store.base import SearchItem

    told: dict[str, Any] = {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at.isoformat(),
        "updated_at": item.updated_at.isoformat(),
        "revision": item.revision,
    }
    if isinstance(item, SearchItem):
        told["score"] = item.score
        if parts := getattr(item, "parts", None):
            told["parts"] = dict(parts)
    return told


def _preview(value: Any) -> str:
    return scalar(value, _PREVIEW) if is_terminal() else json.dumps(value, ensure_ascii=False)


def _print(found: Sequence[FoundItem], scored: bool = False) -> None:
    columns = [Column("namespace"), Column("key"), Column("put"), Column("value", gives=2)]
    rows: list[Sequence[Cell]] = [
        [dotted(item.namespace), item.key, item.updated_at, _preview(item.value)] for item in found
    ]
    if scored:
        columns.insert(0, Column("score", right=True))
        scores = ["-" if item.score is None else f"{item.score:.2f}" for item in found]
        rows = [list(chain([score], row)) for score, row in zip(scores, rows, strict=True)]
    print_table(columns, rows)
