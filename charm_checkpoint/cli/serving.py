"""Commands that serve a store to a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from charm_checkpoint.cli.checking import load_graph
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import open_store
from charm_checkpoint.cli.options import Import, Url
from charm_checkpoint.cli.terminal import echo, echo_error
from charm_checkpoint.errors import ConfigError, MissingExtra


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app, "Look")
    part.add(ui, examples="charm-checkpoint ui --url sqlite:///agent.db")


def ui(
    write: Annotated[bool, typer.Option("--write", help="Let the page fork, answer, pin and delete threads.")] = False,
    graph: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="With --write: go on with this graph when a question is answered, as in app:graph.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="The port, by default a free one.", show_default=False)
    ] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only print the link; open no browser.")] = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Show a store as a page in the browser, on this machine alone.

    The link opens it once. Ctrl-C ends it. Needs the extra: pip install 'charm-checkpoint[ui]'.
    """
    serve = _server()
    if graph is not None and not write:
        raise ConfigError("--graph is what answers go on with; it needs --write")
    made = None if graph is None else _compiled(graph)
    with open_store(url, modules) as memory:
        try:
            serve(
                memory, port=port, write=write, graph=made, open_browser=not no_open, say=echo, complain=echo_error
            )  # fmt: skip
        except KeyboardInterrupt:
            echo_error("ended")  # as was asked: there is no other way to end it
    return 0


def _server() -> Callable[..., None]:
    try:
        from charm_checkpoint.ui.serving import serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise MissingExtra(f"the page needs {error.name}: pip install 'charm-checkpoint[ui]'") from error
    return serve


def _compiled(graph: str) -> Any:
    from charm_checkpoint.checking.graphs import graph_of

    return graph_of(load_graph(graph))
