"""Errors of Supabase's API, as this package's errors."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import httpx
from postgrest.exceptions import APIError

from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import (
    CharmError,
    LoginRefused,
    ReadOnlyStore,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
)
from charm_checkpoint.stores.postgres_schema.backend import Call
from charm_checkpoint.stores.postgres_schema.schema import SCHEMA
from charm_checkpoint.stores.postgres_schema.sqlstates import (
    CANCELED,
    MISSING,
    NO_RIGHTS,
    NOT_DONE,
    READ_ONLY,
    UNAVAILABLE,
)
from charm_checkpoint.stores.shared.retry import Failure
from charm_checkpoint.stores.shared.tls_errors import NO_TLS

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses that pass: too many requests, a gateway or a database that does not answer."""

REFUSED = 429
"""The one of them that means for certain that nothing was done."""

LONGEST_WAIT = 10.0
"""Seconds that a server may ask to be left alone for; when it asks for more, it is tried again after these."""

# https://docs.postgrest.org/en/stable/references/errors.html
_NO_PROCEDURE = MISSING | {"PGRST202"}
_NOT_DONE = NOT_DONE | {"PGRST003"}
_WRONG_LOGIN = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303", "401"})
_NO_RIGHTS = frozenset({NO_RIGHTS, "403"})
_UNAVAILABLE = UNAVAILABLE | CANCELED

PERHAPS = "; it may have been done or not: look before you try again"


class Busy(Exception):
    """The server answered that it cannot answer now; ``wait`` is how long it asks for, in seconds."""

    def __init__(self, status: int, wait: float, said: str) -> None:
        super().__init__(f"HTTP {status} {said}".strip())
        self.status = status
        self.wait = wait


class NotTheApi(Exception):
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
        raise NotTheApi(f"HTTP {status}, which leads to {mask(response.headers['location'])}")
    if not is_json:
        raise NotTheApi(f"HTTP {status} with {kind or 'nothing'} in it")


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
        "project's SQL editor, and run it there, once more after an upgrade."
    )


def classify(url: str, schema: str, operation: Any, error: Exception) -> Failure:
    """Return what to raise for an error, and whether to try again first."""
    again = not isinstance(operation, Call) or operation.again
    place = f"Supabase at {mask(url)}"
    if isinstance(error, Busy):
        again = again or error.status == REFUSED
        return Failure(_silent(place, str(error), again), again, error.wait)
    if isinstance(error, httpx.TransportError) or (isinstance(error, UnicodeError) and "idna" in str(error)):
        again = again or isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        said = mask(str(error)) or type(error).__name__
        if (advice := lasting(error)) is not None:
            return Failure(_silent(place, f"{said}; {advice}", sure=True), retry=False)
        return Failure(_silent(place, said, again), again)
    if isinstance(error, NotTheApi):
        return Failure(not_ours(url, str(error)), retry=False)
    if not isinstance(error, APIError):
        raise error
    return Failure(translate(url, schema, error), str(error.code) in _NOT_DONE)


def _silent(place: str, said: str, sure: bool) -> StoreUnavailable:
    return StoreUnavailable(f"{place} does not answer: {said}{'' if sure else PERHAPS}")


def lasting(error: BaseException) -> str | None:
    """Return what to do about an error after which to try again is in vain, None for any other."""
    cause: BaseException | None = error
    while not isinstance(cause, (OSError, UnicodeError, httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        if cause is None:
            return None
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, UnicodeError) or (isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN):
        return "there is no such host: check the URL"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "the environment variable SSL_CERT_FILE can name a file of certificates to trust"
    if isinstance(cause, ssl.SSLError):
        return "the server does not speak TLS: write http:// if it is meant to" if cause.reason in NO_TLS else None
    return None if isinstance(cause, OSError) else "check the URL and the key"


def translate(url: str, schema: str, error: APIError) -> CharmError:
    """Return the error to raise for one of the API's."""
    code, said = str(error.code or ""), mask(" ".join(str(error.message or error.details or "").split()))
    place = f"Supabase at {mask(url)}"
    if code in _NO_PROCEDURE:
        return missing_schema(url, schema)
    if code in _WRONG_LOGIN or "API key" in said or "JWT" in said:
        return LoginRefused(f"{place} refused the key or token: {said}; check key=, and token= if there is one")
    if code in _NO_RIGHTS:
        return StoreError(
            f"{place}: this key or user lacks rights: {said}. Use the service key, or sign in and give token=; "
            "a user may use the tenant of his own id alone"
        )
    if code == READ_ONLY:
        return ReadOnlyStore(f"{place} is read-only: {said}")
    if code in _NOT_DONE or code in _UNAVAILABLE:
        return StoreUnavailable(f"{place} cannot do it now: {said}; nothing was written")
    return StoreError(f"{place}: {said}{f' ({code})' if code else ''}")
