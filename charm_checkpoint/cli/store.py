"""Commands about the stores themselves: their kinds, their SQL, a trial, a project that uses one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from charm_checkpoint.cli import benching
from charm_checkpoint.cli.groups import Part, did_you_mean
from charm_checkpoint.cli.opening import named, what
from charm_checkpoint.cli.options import URL_VARIABLE, Json, Url, one_of
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.terminal import echo
from charm_checkpoint.config.url import os_path, parse_url
from charm_checkpoint.errors import CharmError, ConfigError

CHARM_STORES = ("sqlite", "postgres", "redis", "supabase", "local")


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app, "Stores")
    part.add(stores, examples="charm-checkpoint stores\ncharm-checkpoint stores redis")
    part.add(schema, examples="charm-checkpoint schema --url postgresql://?schema=agents > charm_checkpoint.sql")
    benching.add_commands(part)
    part.add(init_charm, examples="charm-checkpoint init-charm my-agent --store redis")
    part.add(demo, examples="charm-checkpoint demo\ncharm-checkpoint demo --store postgres")


def demo(
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The store to run it on; default: a SQLite file of its own.", show_default=False
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="{sqlite,postgres,supabase,redis}",
            help="Start a store of this kind for it, and stop it in the end (needs the extra 'servers').",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what was stored, and say where it is.")] = False,
    delay: Annotated[float, typer.Option(min=0, max=60, metavar="SECONDS", help="Pause before each step.")] = 0.2,
) -> int:
    """Run an agent on two devices, kill it midway, and check the store."""
    from charm_checkpoint.demo.director import run_demo
    from charm_checkpoint.demo.place import place

    with place(store, url, keep=keep) as there:
        return run_demo(there, keep=keep, delay=delay)


def stores(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="This kind alone, such as sqlite.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """List the kinds of stores with their options, and how to install what they need."""
    from charm_checkpoint.config import registry

    known = registry.available()
    if kind is not None and kind not in known:
        hint = did_you_mean(kind, list(known)) or f"; there are: {', '.join(known)}"
        raise ConfigError(f"there is no store {kind!r}{hint}")
    wanted = known if kind is None else {kind: known[kind]}
    if as_json:
        print_json({"stores": [_told(scheme, place) for scheme, place in wanted.items()]})
        return 0
    for scheme, place in wanted.items():
        echo(f"{scheme}://  {place}")
        lacks, options = _options(scheme)
        for line in [f"not ready: {lacks}"] if lacks else [f"?{name}=  {about}" for name, about in options]:
            echo(f"    {line}")
    return 0


def _told(scheme: str, place: str) -> dict[str, Any]:
    lacks, options = _options(scheme)
    return {"scheme": scheme, "place": place, "ready": not lacks, "lacks": lacks or None, "options": dict(options)}


def _options(scheme: str) -> tuple[str, list[tuple[str, str]]]:
    """Return what has to be installed first, or what a kind of store understands."""
    from charm_checkpoint.config import registry

    try:
        kind = registry.resolve(scheme)
    except Exception as error:  # a module of another package may raise anything, and hides no other store
        return (str(error) if isinstance(error, CharmError) else what(error)), []
    return "", [(option.name, f"{option.help}; default {option.default!r}") for option in kind.options]


def schema(
    tenant_roles: Annotated[
        bool, typer.Option("--tenant-roles", help="What gives each role the tenant of its own name, and no other.")
    ] = False,
    url: Url = None,
) -> int:
    """Print the SQL that sets up a Postgres database or Supabase project.

    The URL is postgresql:// or supabase://, with ?schema=NAME for other than the default; nothing is connected to.
    """
    from charm_checkpoint.stores.postgres_schema.schema import SCHEMA, script
    from charm_checkpoint.stores.postgres_schema.tenant_roles import tenant_roles as roles_of
    from charm_checkpoint.stores.supabase.rpc import supabase_sql

    if not url:
        raise ConfigError(f"name the store: --url postgresql:// or supabase://, or set {URL_VARIABLE}")
    with named(url):
        location = parse_url(url)
    name = location.query.get("schema", SCHEMA)
    if location.scheme in ("postgres", "postgresql"):
        made = script(name, owner=location.query.get("owner"))
    elif location.scheme in ("http", "https", "supabase"):
        made = supabase_sql(name)
    else:
        raise ConfigError(
            f"a {location.scheme} store has no SQL to run by hand: it sets itself up. "
            "Name one with --url postgresql:// or --url supabase://"
        )
    for line in (roles_of(name) if tenant_roles else made).splitlines():
        echo(line)
    return 0


def init_charm(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where to; default: here.", show_default=False)] = ".",
    store: Annotated[
        str, typer.Option(metavar="{" + ",".join(CHARM_STORES) + "}", help="Where threads are kept.")
    ] = "sqlite",
) -> int:
    """Write a small agent project for Charm that keeps its threads."""
    from charm_checkpoint.hosts.charm.scaffold import write_project

    steps = write_project(Path(os_path(folder)), one_of("--store", store, CHARM_STORES))
    echo(f"wrote an agent project to {folder}; next:")
    for step in steps:
        echo(f"    {step}")
    return 0
