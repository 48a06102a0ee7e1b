"""What Supabase's API says, in this package's errors."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import httpx
from postgrest.exceptions import APIError

from charm_checkpoint.backends.patience import Failure
from charm_checkpoint.backends.pg_schema import SCHEMA
from charm_checkpoint.backends.procedures import Call
from charm_checkpoint.errors import CharmError, ReadOnlyStore, SchemaMismatch, StoreError, StoreUnavailable
from charm_checkpoint.masking import mask

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses that pass: too many requests, a gateway or a database that does not answer."""

REFUSED = 429
"""The one of them that means for certain that nothing was done."""

LONGEST_WAIT = 10.0
"""Seconds that a server may ask to be left alone for; when it asks for more, it is tried again after these."""

# https://docs.postgrest.org/en/stable/references/errors.html
_NO_PROCEDURE = frozenset({"PGRST202", "42883", "3F000", "42P01", "42703"})
_NOT_DONE = frozenset({"40001", "40P01", "53300", "55P03", "57P03", "PGRST003"})
_WRONG_LOGIN = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303", "401"})
_NO_RIGHTS = frozenset({"42501", "403"})
_UNAVAILABLE = frozenset({"53000", "53100", "53200", "53400", "57014", "58000", "58030"})

PERHAPS = "; it may have been done or not: look before you try again"


class Busy(Exception):
    """The server answered that it cannot answer now; ``wait`` is how long it asks for, in seconds."""

    def __init__(self, status: int, wait: float, said: str) -> None:
        super().__init__(f"HTTP {status} {said}".strip())
        self.status = status
        self.wait = wait


class Foreign(Exception):
    """What answered is not Supabase's API."""


def check(response: httpx.Response) -> None:
    """Raise for an answer that is no word of the database's, which is JSON and has a code."""
    status = response.status_code
    kind = response.headers.get("content-type", "").partition(";")[0]
    is_json = kind.endswith("json")
    if status in (429, 503) or (status in BUSY and not is_json):
        raise Busy(status, _wait(response), response.reason_phrase)
    if status in (401, 403) and not is_json:
        return  # a gateway refuses the key; it need not say so in JSON
    if response.has_redirect_location:
        raise Foreign(f"HTTP {status}, which leads to {mask(response.headers['location'])}")
    if not is_json:
        raise Foreign(f"HTTP {status} with {kind or 'nothing'} in it")


def _wait(response: httpx.Response) -> float:
    given = response.headers.get("retry-after", "")
    return min(float(given), LONGEST_WAIT) if given.isdecimal() else 0.0


def not_ours(url: str, answer: str) -> StoreError:
    """Return the error for an address where something else answers."""
    return StoreError(
        f"At {mask(url)} there is no Supabase API: it gave {answer}. The URL is the project's own, like "
        "https://<project>.supabase.co"
    )


def missing_schema(url: str, schema: str) -> SchemaMismatch:
    """Return the error for a project without our schema."""
    place = "supabase://" if schema == SCHEMA else f"supabase://?schema={schema}"
    return SchemaMismatch(
        f"The Supabase project at {mask(url)} has no schema {schema!r} of charm_checkpoint, or an older one, and its "
        f"API cannot make it. Run `charm-checkpoint schema --url '{place}'`, paste what it prints into the "
        "project's SQL editor, and run it there."
    )


def judge(url: str, schema: str, operation: Any, error: Exception) -> Failure:
    """Say what to raise for an error, and whether to try again first."""
    again = not isinstance(operation, Call) or operation.again
    place = f"Supabase at {mask(url)}"
    if isinstance(error, Busy):
        again = again or error.status == REFUSED
        return Failure(_silent(place, str(error), again), again, error.wait)
    if isinstance(error, httpx.TransportError):
        again = again or isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        said = mask(str(error)) or type(error).__name__
        return Failure(_silent(place, said, again), again and not is_lasting(error))
    if isinstance(error, Foreign):
        return Failure(not_ours(url, str(error)), retry=False)
    if not isinstance(error, APIError):
        raise error
    return Failure(translate(url, schema, error), str(error.code) in _NOT_DONE)


def _silent(place: str, said: str, sure: bool) -> StoreUnavailable:
    return StoreUnavailable(f"{place} does not answer: {said}{'' if sure else PERHAPS}")


def is_lasting(error: BaseException) -> bool:
    """Tell whether to try again is in vain: there is no such host, or its certificate is not to be trusted."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return True
        if isinstance(cause, (ssl.SSLCertVerificationError, httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def translate(url: str, schema: str, error: APIError) -> CharmError:
    """Return the error to raise for one of the API's."""
    code, said = str(error.code or ""), mask(" ".join(str(error.message or error.details or "").split()))
    place = f"Supabase at {mask(url)}"
    if code in _NO_PROCEDURE:
        return missing_schema(url, schema)
    if code in _WRONG_LOGIN or "API key" in said or "JWT" in said:
        return StoreUnavailable(f"{place} refused the key or token: {said}; check key=, and token= if there is one")
    if code in _NO_RIGHTS:
        return StoreError(
            f"{place}: this key or user lacks rights: {said}. Use the service key, or sign in and give token=; "
            "a user may use the tenant of his own id alone"
        )
    if code == "25006":
        return ReadOnlyStore(f"{place} is read-only: {said}")
    if code in _NOT_DONE or code in _UNAVAILABLE:
        return StoreUnavailable(f"{place} cannot do it now: {said}; nothing was written")
    return StoreError(f"{place}: {said}{f' ({code})' if code else ''}")
