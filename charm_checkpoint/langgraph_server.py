"""Where langgraph.json finds checkpointer and store; they are made in `charm_checkpoint.hosts.langgraph_server`.

::

    {
      "checkpointer": {"path": "charm_checkpoint.langgraph_server.checkpointer"},
      "store": {"path": "charm_checkpoint.langgraph_server.store"}
    }

These paths stand in people's files and stay.
"""

from __future__ import annotations

from charm_checkpoint.hosts.langgraph_server import checkpointer as checkpointer
from charm_checkpoint.hosts.langgraph_server import open_configured as open_configured
from charm_checkpoint.hosts.langgraph_server import store as store
