"""Versions of a thread's log, of which another host, a backup or a thread begun anew may put one in another's place."""

from __future__ import annotations

import secrets

from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.log import FIRST


def is_behind(found: Contents, known: Contents) -> bool:
    """Tell whether a log that was found is an older version of the one that is known, or one made without seeing it.

    None is if nothing was written to what is known, or if the thread is another one.
    """
    return not known.is_new and _lacks(found, known) and not _is_begun_anew(found, known)


def _lacks(found: Contents, known: Contents) -> bool:
    """Tell whether something that was written to the one is not in the other."""
    return any(found.hosts.get(host, 0) < seq for host, seq in known.hosts.items())


def _is_begun_anew(found: Contents, known: Contents) -> bool:
    """Tell whether this is another thread of the same name, begun by the same host, and no version of the other."""
    is_another = found.origin != known.origin and b"" not in (found.origin, known.origin)
    return is_another and len(found.hosts) == 1 and found.hosts.keys() == known.hosts.keys()


def origin_of(new: Contents, old: Contents) -> bytes:
    """Return the origin that a new log is to tell, in the place of the old one; none if its first change will be that.

    Nor of one that an earlier version wrote anew: nobody knows it.
    """
    return secrets.token_bytes(len(FIRST)) if old.is_new and new.hosts else old.origin
