"""The help of the slash commands."""

from __future__ import annotations

from typing import Final

HELP: Final = """\
**Memory commands**

- `/remember <kind> [scope] [#tag ...] -- <title> -- <body>` writes a memory; kinds are fact, rule and lesson
- `/memory [scope] [status=...] [kind=...] [tag=...]` lists memories, `status=all` whatever became of them
- `/memory show <title> [scope]` shows a memory in full
- `/memory search <words>` shows those that bear on something
- `/forget <title> [scope]` forgets a memory; `/memory undo [title] [scope]` brings it back
- `/memory forgotten` lists what `undo` brings back
- `/memory promote <title> [from-scope] <to-scope>` moves a memory
- `/memory review [scope]` shows what others wrote and nobody looked at; `/memory approve <title> [scope]` takes it
- `/memory revalidate [title] [scope]` compares what memories cite with the files
- `/memory restore <title> [scope]` has one that is archived or quarantined be active again
- `/memory sweep [days]` archives what nobody used; `/memory purge [all]` shows, or deletes, what is archived for long
- `/memory export <name> <path> [scope] [overwrite]` writes a bundle
- `/memory export-md <folder> [scope] [overwrite]` writes a file for each
- `/memory import <path> [scope] [overwrite] [dry-run]` reads either
- `/memory help` shows this

Scopes are {scopes}. Titles of several words may be put into quotes, and have to be if they end with a scope."""
"""The help; the scopes are to be filled in."""
