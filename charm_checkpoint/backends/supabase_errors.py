"""What Supabase's API says, in this package's errors."""

from __future__ import annotations

from typing import Any

import httpx
from postgrest.exceptions import APIError

from charm_checkpoint.backends.patience import Failure
from charm_checkpoint.backends.procedures import Call
from charm_checkpoint.errors import CharmError, ReadOnlyStore, SchemaMismatch, StoreError, StoreUnavailable
from charm_checkpoint.masking import mask

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses that pass: too many requests, a gateway or a database that does not answer."""

REFUSED = frozenset({429, 503})
"""Those of them that mean nothing was done."""

LONGEST_WAIT = 10.0
"""Seconds that a server may ask to be left alone for before that is an error."""

# https://docs.postgrest.org/en/stable/references/errors.html
_NO_PROCEDURE = frozenset({"PGRST202", "42883", "3F000", "42P01"})
_NOT_DONE = frozenset({"40001", "40P01", "53300", "57P03", "PGRST000", "PGRST001", "PGRST002", "PGRST003"})
_WRONG_LOGIN = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303", "401"})
_NO_RIGHTS = frozenset({"42501", "403"})


class Busy(Exception):
    """The server answered that it cannot answer now."""

    def __init__(self, status: int, wait: float, said: str) -> None:
        super().__init__(f"HTTP {status}: {said}")
        self.status = status
        self.wait = wait

    @classmethod
    def check(cls, response: httpx.Response) -> None:
        """Raise for a response that says so, unless it is the database's own error, which has a code."""
        if response.status_code in BUSY and "json" not in response.headers.get("content-type", ""):
            raise cls(response.status_code, _wait(response), response.reason_phrase)
        if response.status_code in (429, 503):
            raise cls(response.status_code, _wait(response), response.reason_phrase)


def _wait(response: httpx.Response) -> float:
    given = response.headers.get("retry-after", "")
    return min(float(given), LONGEST_WAIT) if given.isdecimal() else 0.0


def missing_schema(url: str) -> SchemaMismatch:
    """Return the error for a project without our schema."""
    return SchemaMismatch(
        f"The Supabase project at {mask(url)} has no schema of charm_checkpoint, or an older one, and its API cannot "
        "make it. Run `charm-checkpoint schema --url supabase://`, paste what it prints into the project's SQL "
        "editor, and run it there."
    )


def judge(place: str, operation: Any, error: Exception) -> Failure:
    """Say what to raise for an error, and whether to try again first."""
    again = not isinstance(operation, Call) or operation.again
    if isinstance(error, Busy):
        found = StoreUnavailable(f"{place} does not answer: {error}")
        return Failure(found, again or error.status in REFUSED, error.wait)
    if isinstance(error, httpx.TransportError):
        said = mask(str(error)) or type(error).__name__
        sure = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        unsure = "" if again or sure else "; it may have been done or not: look before you try again"
        lasting = isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError))
        return Failure(StoreUnavailable(f"{place} does not answer: {said}{unsure}"), (again or sure) and not lasting)
    if not isinstance(error, APIError):
        raise error
    return Failure(translate(place, error), str(error.code) in _NOT_DONE)


def translate(place: str, error: APIError) -> CharmError:
    """Return the error to raise for one of the API's."""
    code, said = str(error.code or ""), mask(" ".join(str(error.message or error.details or "").split()))
    if code in _NO_PROCEDURE:
        return missing_schema(place.removeprefix("Supabase at "))
    if code in _WRONG_LOGIN or "Invalid API key" in said or "JWT" in said:
        return StoreUnavailable(f"{place} refused the key or token: {said}; check key=, and token= if there is one")
    if code in _NO_RIGHTS:
        return StoreError(
            f"{place}: this key or user lacks rights: {said}. Use the service key, or sign in and give token=; "
            "a user may use the tenant of his own id alone"
        )
    if code == "25006":
        return ReadOnlyStore(f"{place} is read-only: {said}")
    if code in _NOT_DONE or code == "57014":
        return StoreUnavailable(f"{place} does not answer: {said}")
    return StoreError(f"{place}: {said} ({code})")
