"""Ask an agent on a store how a package is added: URL, project's folder, question."""

from __future__ import annotations

import sys

from test_agent_stories import answered

from charm_checkpoint import open_memory

if __name__ == "__main__":
    with open_memory(sys.argv[1]) as memory:
        sys.stdout.write(answered(memory, sys.argv[2], sys.argv[3], thread="of another process"))
