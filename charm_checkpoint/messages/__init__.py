"""Message history: plans over a store's records, LangChain's messages, and the class that Charm expects."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charm_checkpoint.messages.chat_history import CharmChatHistory as CharmChatHistory
    from charm_checkpoint.messages.plans import MessageHistory as MessageHistory
else:
    _HOMES = {"CharmChatHistory": "chat_history", "MessageHistory": "plans"}

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(f"{__name__}.{_HOMES[name]}"), name))
