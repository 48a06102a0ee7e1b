"""Where a store is and how it is set: URLs, options, ``${NAME}``, secrets, stores and providers by name.

The names of options.py can be imported from here, too. They are looked up when they are asked for: this module has
to be loaded before any of its room, and would make circles of their imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from charm_checkpoint.moved import renamed

if TYPE_CHECKING:
    from charm_checkpoint.config.options import *  # noqa: F403
    from charm_checkpoint.config.options import __all__ as __all__
else:
    _renamed = renamed(__name__, {"whole": "non_negative_int"})

    def __getattr__(name: str) -> Any:
        options = import_module(f"{__name__}.options")
        if name not in ("__all__", *options.__all__):
            return _renamed(name)
        return globals().setdefault(name, getattr(options, name))
