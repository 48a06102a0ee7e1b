"""One program under all the names that Python has for it: what it stored as one, it reads as any other.

Each process is a real one, started as the program's user would.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Generic, NamedTuple, Optional, TypeVar

from pydantic import BaseModel, create_model

from charm_checkpoint import Serializer, register_type

T = TypeVar("T")


class Level(Enum):
    LOW = "low"
    HIGH = "high"


class Order(BaseModel):
    number: int
    level: Level = Level.LOW

    class Line(BaseModel):
        text: str


class Box(BaseModel, Generic[T]):
    item: T


@dataclass
class Item:
    order: Order
    others: list = field(default_factory=list)


class Pair(NamedTuple):
    left: Order
    right: int


@register_type
class Bag:
    def __init__(self) -> None:
        self.held = [1]

    def __eq__(self, other):
        return type(self) is type(other) and self.held == other.held


def local():
    class Inner(BaseModel):
        x: int

    return Inner


LOCAL = local()
MADE = create_model("Made", __module__=__name__, x=(int, 1))


def values():
    order = Order(number=1, level=Level.HIGH)
    boxes = [Box[int](item=1), Box[Order](item=order), Box[list[Order]](item=[order]), Box[Optional[Order]](item=None)]
    return [order, Order.Line(text="x"), Item(order), Pair(order, 1), Level.LOW, Bag(), LOCAL(x=1), MADE(x=2), *boxes]


def turn(folder):
    """Read what all others have written, and write."""
    mine, stored = values(), Serializer(on_unknown="raise").dumps(values())
    strict = Serializer(on_unknown="raise", allowed=[type(each) for each in (*mine, Level.LOW)])
    listed = [(type(each).__module__, type(each).__name__) for each in (*mine, Level.LOW)]
    langgraphs = Serializer(on_unknown="raise").with_allowlist(listed)
    for file in sorted(Path(folder).iterdir()):
        for serde in (Serializer(on_unknown="raise"), strict, langgraphs):
            found = serde.loads(file.read_bytes())
            assert found == mine and list(map(type, found)) == list(map(type, mine)), (file, found)
        assert file.read_bytes() == stored, file
    (Path(folder) / f"{len(list(Path(folder).iterdir()))}").write_bytes(stored)


if __name__ == "__main__":
    turn(sys.argv[1])
'''


def run(*args: str, cwd: Path, fails: bool = False) -> str:
    """Run Python and return what it printed; its errors, if it is to fail."""
    ran = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert (ran.returncode != 0) == fails, ran.stderr
    return ran.stderr if fails else ran.stdout


@pytest.mark.parametrize(
    "path, ways",
    [
        ("app.py", [["app.py"], ["-m", "app"], ["-c", "import app, sys; app.turn(sys.argv[1])"], ["app.py"]]),
        (
            "shop/agents/app.py",
            [
                ["shop/agents/app.py"],
                ["-m", "shop.agents.app"],
                ["-c", "import sys; from shop.agents import app; app.turn(sys.argv[1])"],
            ],
        ),
        ("shop/__main__.py", [["shop"], ["-m", "shop"], ["shop/__main__.py"]]),
    ],
    ids=["script", "in a package", "of a package"],
)
def test_every_way_to_start_it_reads_what_the_others_stored(path: str, ways: list[list[str]], tmp_path: Path) -> None:
    program, data = tmp_path / path, tmp_path / "data"
    program.parent.mkdir(parents=True, exist_ok=True)
    data.mkdir()
    for folder in program.relative_to(tmp_path).parents[:-1]:
        (tmp_path / folder / "__init__.py").touch()
    program.write_text(PROGRAM)
    for way in ways:
        run(*way, str(data), cwd=tmp_path)
    assert len(list(data.iterdir())) == len(ways)


def test_from_inside_a_package_its_name_may_be_there_or_not(tmp_path: Path) -> None:
    package, data = tmp_path / "shop", tmp_path / "data"
    for folder in (package, data):
        folder.mkdir()
    (package / "__init__.py").touch()
    (package / "app.py").write_text(PROGRAM.replace("        assert file.read_bytes() == stored, file\n", ""))
    imported = ["-c", "import app, sys; app.turn(sys.argv[1])"]
    for way in (["app.py"], ["-m", "app"], imported, ["app.py"]):
        run(*way, str(data), cwd=package)
    assert len({file.read_bytes() for file in data.iterdir()}) == 2  # the first and the last, and the others


TWICE = PROGRAM.replace(
    "class Level(Enum)",
    """if __name__ == "__main__":
    import app  # as a module that it imports may do

class Level(Enum)""",
    1,
)
SERVED = PROGRAM.replace(
    "    turn(sys.argv[1])\n",
    """    before = Serializer(on_unknown="raise").dumps(values())
    import app  # as a server does that is given its name
    app.turn(sys.argv[1])
    assert type(Serializer(on_unknown="raise").loads(before)[0]) is app.Order
""",
)


@pytest.mark.parametrize("source", [TWICE, SERVED], ids=["by a module", "by a server"])
def test_a_program_that_is_loaded_twice_gets_the_classes_it_uses(source: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "app.py").write_text(source)
    for way in (["app.py"], ["-c", "import app, sys; app.turn(sys.argv[1])"], ["app.py"]):
        run(*way, str(tmp_path / "data"), cwd=tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from pydantic import BaseModel
from charm_checkpoint import Serializer

class Result(BaseModel):
    {field}: int = 0

file = Path("stored")
serde = Serializer(on_unknown="raise")
if file.exists():
    print(serde.loads(file.read_bytes()))
file.write_bytes(serde.dumps(Result({field}=1)))
"""


def test_a_script_does_not_take_what_another_one_stored(tmp_path: Path) -> None:
    for name, field in (("first", "cost"), ("second", "price")):
        (tmp_path / f"{name}.py").write_text(SCRIPT.format(field=field))
    run("first.py", cwd=tmp_path)
    assert run("first.py", cwd=tmp_path) == "cost=1\n"
    assert "first:Result is not loaded" in run("second.py", cwd=tmp_path, fails=True)


SPAWNING = PROGRAM.replace(
    "    turn(sys.argv[1])\n",
    """    import multiprocessing
    turn(sys.argv[1])
    child = multiprocessing.get_context(sys.argv[2]).Process(target=turn, args=(sys.argv[1],))
    child.start()
    child.join()
    assert child.exitcode == 0
    turn(sys.argv[1])
""",
)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no forkserver")
@pytest.mark.parametrize("way, method", [(["app.py"], "forkserver"), (["-m", "app"], "spawn")])
def test_so_do_the_processes_that_it_spawns(way: list[str], method: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "app.py").write_text(SPAWNING)
    run(*way, str(tmp_path / "data"), method, cwd=tmp_path)
    assert len(list((tmp_path / "data").iterdir())) == 3


CELLS = """
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for cell in sys.argv[1:]:
    shell.run_cell(cell).raise_error()
"""
DEFINE = "from pydantic import BaseModel\nclass Note(BaseModel):\n    x: int"
USE = """
from pathlib import Path
from charm_checkpoint import Serializer
serde, file = Serializer(on_unknown="raise"), Path("stored")
if file.exists():
    assert serde.loads(file.read_bytes()) == [Note(x=1)], serde.loads(file.read_bytes())
file.write_bytes(serde.dumps([Note(x=1)]))
assert b"__main__:Note" in file.read_bytes()
"""


def test_a_session_has_no_name(tmp_path: Path) -> None:
    """Cells, a file that a session runs, ``python -c`` and what comes through a pipe."""
    (tmp_path / "defining.py").write_text(f"{DEFINE}\n{USE}")
    run("-c", CELLS, DEFINE, USE, DEFINE, USE, cwd=tmp_path)
    run("-c", CELLS, "%run defining.py", USE, cwd=tmp_path)
    run("-c", f"{DEFINE}\n{USE}", cwd=tmp_path)


FORMER = """
import sys, ormsgpack
from charm_checkpoint import Serializer, register_moved
serde = Serializer(on_unknown="raise")
def stored(module):
    body = ormsgpack.packb([f"{module}:Order", {"number": 1}, ["number"]])
    return b"\\x01" + ormsgpack.packb(ormsgpack.Ext(40, body))
"""


def test_what_earlier_versions_stored_of_a_script_is_found(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM.replace("    turn(sys.argv[1])\n", ""))
    with (tmp_path / "app.py").open("a") as file:
        file.write(f"    exec({FORMER!r})\n    for module in ('__main__', '__mp_main__', 'app'):\n")
        file.write("        assert serde.loads(stored(module)) == Order(number=1)\n")
    run("app.py", cwd=tmp_path)
    told = run("-c", f"import app\n{FORMER}\nserde.loads(stored('__main__'))", cwd=tmp_path, fails=True)
    assert "register_moved('__main__', 'app')" in told
    moved = "register_moved('__main__', 'app'); assert serde.loads(stored('__main__')) == app.Order(number=1)"
    run("-c", f"import app\n{FORMER}\n{moved}", cwd=tmp_path)


PAGES = """
import runpy, sys
from charm_checkpoint import Serializer
serde, pages, stored = Serializer(on_unknown="raise"), [], []
for name in sys.argv[1:]:  # each takes the place of __main__ while it runs, and its classes go on
    pages.append(runpy.run_path(name, run_name="__main__"))
    stored.append(pages[-1]["stored"])
for page, data in zip(pages, stored):
    for each in (data, serde.dumps(page["values"])):
        assert serde.loads(each) == page["values"] and type(serde.loads(each)[0]) is page["Note"]
"""
PAGE = (
    DEFINE
    + """
from charm_checkpoint import Serializer, register_type
@register_type
class Kept(BaseModel):
    y: int = 2
serde = Serializer(on_unknown="raise")
values = [Note(x=1), Kept()]
stored = serde.dumps(values)
if "first" in __file__:
    assert b"first:Note" in stored and b"first:Kept" in stored, stored
"""
)


def test_several_programs_in_one_process(tmp_path: Path) -> None:
    for name in ("first.py", "second.py"):
        (tmp_path / name).write_text(PAGE)
    run("-c", PAGES, "first.py", "second.py", cwd=tmp_path)


def test_a_script_with_the_name_of_another_module(tmp_path: Path) -> None:
    """A script may be called as a module that Python has loaded before, which is not to be taken for it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "typing.py").write_text(PROGRAM)
    start = "import runpy, sys, typing; runpy.run_path('scripts/typing.py', run_name='__main__')"
    for way in (["-c", start], ["-c", start]):
        run(*way, str(tmp_path / "data"), cwd=tmp_path)
