"""Remember three things beside a command that takes long, and wait to be killed."""

from __future__ import annotations

import json
import sys

from test_lucid import Place

from charm_checkpoint import Memory
from charm_checkpoint.long_term.steps import run

memory = Memory(url=sys.argv[1])
place = Place(memory, tuple(json.loads(sys.argv[2])))
for n in range(3):
    run(place.remember(f"memory {n}", f"body {n}"))
print("waiting", flush=True)  # noqa: T201
sys.stdin.read()
