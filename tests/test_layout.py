"""The tree shows the way data goes: no circle of imports, each room below another, short files and functions.

An import counts for the circles if it is made when the module is: one inside a function, or under
``if TYPE_CHECKING``, is not. ``from package import name`` is an import of the module ``package.name`` where there
is one, and of the package's ``__init__`` where there is none; that Python runs the ``__init__`` of every package
above as well is left out. For the direction of rooms every import counts, wherever it stands.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("charm_checkpoint", "benchmarks")
FILE_LINES, FUNCTION_LINES = 400, 60

Graph = dict[str, set[str]]

LAYERS = (
    "printable",
    "errors moved plain",
    "plan contract_records",
    "contract contract_items",
    "runtime",
    "telemetry",
    "config values",
    "store",
    "followers opening session",
    "messages saver stores",
    "items",
    "checking long_term",
    "inspection transfer",
    "retention",
    "memory",
    "providers",
    "agents hosts importers servers",
    "charm_checkpoint langgraph_server",
    "demo testing ui",
    "cli",
    "__main__",
)
"""The rooms of the package, from the bottom up: a room imports itself and those of earlier lines, no others."""

UPWARD = {
    ("config.registry", "store"): "for types",
    ("telemetry.providers", ""): "what measures is named with the version",
    ("transfer", "memory"): "for types",
    ("transfer.methods", "memory"): "a copy opens its target by a URL",
    ("transfer.archive.importing", "memory"): "a large thread is unpacked into a store",
}
"""What is imported against that direction, and why."""

SHARED_BY_STORES = {
    "shared": None,
    "postgres_schema": {"postgres", "supabase"},
    "ram": {"none"},
    "ram_contents": {"ram", "ram_threads"},
    "ram_items": {"ram", "ram_threads"},
    "ram_threads": {"ram"},
}
"""What a store imports of another's room: who may, None is all."""


@cache
def sources(package: str) -> dict[str, ast.Module]:
    """Return the parsed modules of a package by their dotted names."""
    paths = [path for path in (ROOT / package).rglob("*.py") if "template" not in path.parts]
    return {dotted(path.relative_to(ROOT)): ast.parse(path.read_text(), str(path)) for path in paths}


def dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph_of(modules: dict[str, ast.Module], *, everywhere: bool = False) -> Graph:
    """Return which of the modules each of them imports."""
    return {
        name: {target for found in imports(tree, everywhere) for target in targets(found, modules)} - {name}
        for name, tree in modules.items()
    }


def imports(node: ast.AST, everywhere: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        left_out = isinstance(node, ast.If) and not everywhere and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.orelse if left_out else ast.iter_child_nodes(node):
            yield from imports(child, everywhere)


def targets(found: ast.Import | ast.ImportFrom, modules: dict[str, ast.Module]) -> Iterator[str]:
    if isinstance(found, ast.Import):
        named = [alias.name for alias in found.names]
    else:
        assert found.level == 0, "imports are absolute here"
        whole = [f"{found.module}.{alias.name}" for alias in found.names]
        named = [name if name in modules else str(found.module) for name in whole]
    yield from (name for name in named if name in modules)


def circle(graph: Graph) -> list[str]:
    """Return the names along a circle, none if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_goes_in_a_circle(package: str) -> None:
    graph = graph_of(sources(package))
    assert len(graph) > 20 and any(graph.values())
    assert circle(graph) == []


def room(module: str) -> str:
    """Return the first part of a name below the package; of the package itself, its name."""
    return module.split(".")[1] if "." in module else module


def below(module: str) -> str:
    return module.partition(".")[2]


def test_rooms_import_what_is_below_them() -> None:
    level = {name: height for height, line in enumerate(LAYERS) for name in line.split()}
    graph = graph_of(sources("charm_checkpoint"), everywhere=True)
    assert {room(name) for name in graph} == set(level)
    upward = {
        (below(name), below(target))
        for name, found in graph.items()
        for target in found
        if room(name) != room(target) and level[room(target)] >= level[room(name)]
    }
    assert upward == UPWARD.keys()


def test_a_store_imports_no_other_store() -> None:
    graph = graph_of(sources("charm_checkpoint"), everywhere=True)
    stores = {name: name.split(".")[2] for name in graph if room(name) == "stores" and name.count(".") > 1}
    assert {"sqlite", "postgres", "supabase", "redis", "files", "ram", "none", "shared"} <= {*stores.values()}
    wrong = {
        (name, target)
        for name, store in stores.items()
        for target in graph[name] & stores.keys()
        if stores[target] != store and not may_share(store, stores[target])
    }
    assert wrong == set()


def may_share(store: str, other: str) -> bool:
    who = SHARED_BY_STORES.get(other, set())
    return who is None or store in who


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def test_all_log_to_loggers_that_are_kept_harmless() -> None:
    """A filter keeps the records of a logger harmless, and is asked for none of a logger below: each has its own."""
    calls = [
        (name, ast.unparse(node.args[0]))
        for name, tree in sources("charm_checkpoint").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger")
    ]
    assert len(calls) > 20
    assert {(name, which) for name, which in calls if which != "'charm_checkpoint'"} == {
        ("charm_checkpoint.printable", "name"),
        ("charm_checkpoint.telemetry.watching", "CALLS"),
    }


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_functions_are_short(folder: str) -> None:
    functions = [
        (name, node)
        for name, tree in sources(folder).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 50
    assert [f"{name}:{node.lineno} {node.name}" for name, node in functions if length(node) > FUNCTION_LINES] == []


@pytest.mark.parametrize("folder", PACKAGES)
def test_files_are_short(folder: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert len(lengths) > 20
    assert [f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines > FILE_LINES] == []
