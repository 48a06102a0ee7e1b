"""Slash commands for chats: ``/remember``, ``/memory`` and ``/forget``."""
