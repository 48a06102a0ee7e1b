"""Attacks: each module is one kind of threat, told and tried.

A module's docstring says who the attacker is, what he may write or choose, what he wants, and what he gets instead;
the tests are the attacks themselves, on every store that they concern. `docs/security.md` says who is trusted with
what, and which of the attacks nothing here can stop.

Attackers, from the one who may least to the one who may most:

- who chooses names and values: thread ids, metadata, messages, what a model says;
- who shares the machine: another user of it, or of a folder or a server that others use as well;
- who may write to a store: a row, a key, a file in a synced folder.

None of them may run code as the program, read or write what is outside of the store, hold a read up without end, or
have one thread's content taken for another's.
"""

from __future__ import annotations
