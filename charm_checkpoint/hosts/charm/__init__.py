"""At home in Charm: the memory that charm.yaml asks for, an adapter, and a project to start from.

The SDK finds the providers of providers.py and the adapter of adapter.py by their entry points;
only the latter imports it. plugin_list/ holds our entries for Charm's list of plugins, which the
wheel leaves out.
"""

from __future__ import annotations

from charm_checkpoint.hosts.charm.project import from_charm

__all__ = ["from_charm"]
