"""The page that describes the storage format, taken apart: its tables, its blocks of bytes, its examples."""

from __future__ import annotations

import ast
import re
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "format.md"
_HEX = re.compile(r"(?:[0-9a-f]{2}(?: |$))+")
_IMPORTS = """
import re
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import PurePosixPath
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import SecretBytes, SecretStr
from pydantic_core import MultiHostUrl, TzInfo, Url
"""


@cache
def sections() -> dict[str, str]:
    """Return the text below each heading, up to the next."""
    parts = re.split(r"^#+ (.*)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(heading: str, first: str) -> list[list[str]]:
    """Return the rows of the table below a heading whose first column is called so."""
    for text in re.findall(r"(?:^\|.*\n)+", sections()[heading], flags=re.MULTILINE):
        head, _, *rows = [_cells(line) for line in text.splitlines()]
        if head[0] == first:
            return rows
    raise AssertionError(f"below {heading} there is no table of {first}")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def bare(cell: str) -> str:
    """Return what stands in a cell between backticks, or the cell."""
    found = re.fullmatch("`(.*)`", cell)
    return found[1] if found else cell


def blocks(heading: str) -> list[str]:
    """Return the blocks of text below a heading that no language is named for."""
    return re.findall(r"^```text\n(.*?)^```", sections()[heading], flags=re.MULTILINE | re.DOTALL)


def block_bytes(text: str) -> bytes:
    """Return the bytes of a block: what stands at the start of each line, up to the words behind it."""
    found = [_HEX.match(line) for line in text.splitlines()]
    return bytes.fromhex("".join(match[0] for match in found if match))


@cache
def example_names() -> dict[str, Any]:
    """Return what the examples may name, the page's own module ``shop`` among it."""
    module = types.ModuleType("shop")
    sys.modules["shop"] = module
    [code] = re.findall(r"^```python\n(.*?)^```", sections()["Values"], flags=re.MULTILINE | re.DOTALL)
    exec(code, module.__dict__)
    if sys.version_info < (3, 14):  # beyond, pydantic has no models of its first version
        exec("from pydantic import v1\nclass Old(v1.BaseModel):\n    x: int", module.__dict__)
    names = dict(vars(module))
    exec(_IMPORTS, names)
    return names


def example(text: str) -> Any:
    """Return the value of an example."""
    return eval(text, example_names())


def literal(text: str) -> Any:
    """Return the value of an example that needs no names."""
    return ast.literal_eval(text)
