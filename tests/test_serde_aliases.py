"""Which of the former names that a program registered a stored name needs."""

from __future__ import annotations

from typing import Any

import pytest

from charm_checkpoint import register_type
from charm_checkpoint.values.serde import moved_modules
from charm_checkpoint.values.serde.aliases import aliases, used

KNOWN = {"old:User": "new:User", "shop.Thing": "new:Thing", "pkg": "lib", "lib": "lib2", "pkg.sub.mod": "lib.mod"}


@pytest.mark.parametrize(
    ("former", "needed"),
    [
        ("old:User", {"old:User"}),
        ("old:User.Role", {"old:User"}),
        ("old:Users", set()),
        ("shop.Thing", {"shop.Thing"}),
        ("box:Box[old:User,old:Other]", {"old:User"}),
        ("box:Box[box:Box[old:User],pkg.mod:It]", {"old:User", "pkg", "lib"}),
        ("pkg.mod:It", {"pkg", "lib"}),
        ("pkg.sub.mod:It", {"pkg.sub.mod", "lib"}),
        ("package.mod:It", set()),
        ("", set()),
    ],
)
def test_needed(former: str, needed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    moves = {name: new for name, new in KNOWN.items() if ":" not in new}
    monkeypatch.setattr(moved_modules, "_moves", moves)
    assert used(former, KNOWN) == needed


def test_all_that_are_registered() -> None:
    class Local:
        x: Any = 0

    register_type(Local, name="aliases.Local", aliases=["gone:Local"])
    assert aliases()["gone:Local"].endswith("Local") and "aliases.Local" not in aliases()
