"""Where langgraph.json finds the checkpointer; it is made in `charm_checkpoint.hosts.langgraph_server`.

::

    {"checkpointer": {"path": "charm_checkpoint.langgraph_server.checkpointer"}}

This path stands in people's files and stays.
"""

from __future__ import annotations

from charm_checkpoint.hosts.langgraph_server import checkpointer as checkpointer
from charm_checkpoint.hosts.langgraph_server import open_configured as open_configured
