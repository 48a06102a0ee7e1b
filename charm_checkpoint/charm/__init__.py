"""At home in Charm: the memory that charm.yaml asks for, an adapter, and a project to start from.

The SDK finds the providers of providers.py and the adapter of adapter.py by their entry points;
only the latter imports it.
"""

from __future__ import annotations

from charm_checkpoint.charm.project import from_charm

__all__ = ["from_charm"]
