"""Commands that put items and delete them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from charm_checkpoint.cli.asking import confirm
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.items.finding import as_dict
from charm_checkpoint.cli.items.options import Key, Namespace, dotted, labels, mapping, open_items
from charm_checkpoint.cli.options import DryRun, Json, Url, Yes
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.cli.values import plural
from charm_checkpoint.config.masking import mask


def add_commands(part: Part) -> None:
    """Add these commands."""
    part.add(
        put, examples='charm-checkpoint items put users.7 taste \'{"text": "window seats"}\' --url sqlite:///agent.db'
    )
    part.add(
        delete,
        examples="charm-checkpoint items delete users.7 taste --url sqlite:///agent.db\n"
        "charm-checkpoint items delete users.7 --dry-run --url sqlite:///agent.db",
    )


def put(
    namespace: Namespace,
    key: Key,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="A JSON object; - reads it from standard input.", show_default=False)
    ],
    ttl: Annotated[
        float | None, typer.Option(min=0, metavar="MINUTES", help="How long it lives.", show_default=False)
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Put an item, in place of the one that may be there.

    It is found by its words; a program with a model makes its vectors with reindex.
    """
    held = mapping("VALUE", sys.stdin.read() if value == "-" else value)
    with open_items(url) as store:
        where = labels(namespace)
        was = store.get(where, key, refresh_ttl=False)
        store.put(where, key, held, ttl=ttl)
        made = store.get(where, key, refresh_ttl=False)
    if as_json:
        items: list[Any] = [] if made is None else [as_dict(made)]
        print_json({"items": items, "replaced": was is not None})
        return 0
    echo(f"{'replaced' if was else 'put'} {key} in {dotted(where)}")
    return 0


def delete(
    namespace: Namespace,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="[KEY]", help="This item alone; default: the namespace and those below.", show_default=False
        ),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    url: Url = None,
) -> int:
    """Delete an item, or all of a namespace and of those below; asks first."""
    with open_items(url) as store:
        where = labels(namespace)
        if key is None:
            count = store.count(where)
        else:
            count = int(store.get(where, key, refresh_ttl=False) is not None)
        name = dotted(where) if key is None else f"{key} in {dotted(where)}"
        if not count:
            echo_error(f"there is nothing to delete: no item {'in ' if key is None else ''}{name}")
            return 1
        if not dry_run:
            what = f"the item {name}" if key is not None else f"{plural(count, 'item')} in {name} and below"
            confirm(f"Delete {what} from {mask(str(url))}?", yes)
            if key is None:
                count = store.delete_namespace(where)
            else:
                store.delete(where, key)
    if as_json:
        print_json({"deleted": 0 if dry_run else count, "would_delete": count if dry_run else 0})
        return 0
    echo(f"{plural(count, 'item')} {'would be deleted' if dry_run else 'deleted'}: {name}")
    return 0
