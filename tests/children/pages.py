"""Runs the Python of pages, each in a fork of this process, which has imported what they need and opened nothing.

A line of input is one page: its ``name``, the ``folder`` to run in, and ``blocks`` of line and code. The answer is the
exit code. Tracebacks, which name page and line, go to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import types

import charm_checkpoint

for needed in ("langchain_core.messages", "langgraph.graph.message", "langgraph.types"):
    importlib.import_module(needed)
for name in charm_checkpoint.__all__:
    getattr(charm_checkpoint, name)


def run(name: str, folder: str, blocks: list[tuple[int, str]], environment: dict[str, str]) -> None:
    """Run a page's blocks one after the other, as one module called ``page``."""
    os.chdir(folder)
    os.environ.update(environment)
    sys.path.insert(0, folder)
    page = types.ModuleType("page")
    page.__file__ = os.path.join(folder, "page.py")
    sys.modules["page"] = page
    for line, code in blocks:
        exec(compile("\n" * (line - 1) + code, name, "exec", dont_inherit=True), vars(page))


def main() -> None:
    """Run what is asked for until the input ends."""
    for order in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(2, 1)  # on the other, answers are expected
                run(**json.loads(order))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
