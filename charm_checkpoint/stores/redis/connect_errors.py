"""Errors in connecting to Redis: whether they may pass by themselves, and what to say of those that do not."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from collections.abc import Mapping
from typing import Any

from redis import exceptions

from charm_checkpoint.stores.redis.tls import complaint_about_certificate, complaint_about_files
from charm_checkpoint.stores.shared.tls_errors import NO_TLS

FAILED = (exceptions.RedisError, OSError, UnicodeError)
"""Errors that connecting may raise; `UnicodeError` is for a text that can be no host's name."""

PROBE_TIMEOUT = 0.5
"""Seconds for the first attempt to begin TLS with a server, and for each look at what it speaks."""


class LastingError(exceptions.RedisError):  # type: ignore[misc, unused-ignore]
    """An error that will not pass by itself: its text says what to change."""


def cause_of(error: BaseException, handled: BaseException | None) -> BaseException:
    """Return the operating system's error, or that of TLS, from which the client made its own.

    ``handled`` is what was being handled before: whatever is raised then is linked to it, too.
    """
    cause = error.__cause__ or error.__context__
    return cause if isinstance(cause, (OSError, UnicodeError)) and cause is not handled else error


def lasting(
    cause: BaseException, host: str, settings: Mapping[str, Any], path: str, *, given: bool
) -> LastingError | None:
    """Return what to raise in place of an error in connecting, if it lasts.

    ``path`` is the socket's, if it is one. ``given``: the host or path is the user's own, and never worked yet.
    """
    if isinstance(cause, UnicodeError):
        return LastingError(f"the host {host!r} cannot be one: {cause}")
    if isinstance(cause, socket.gaierror):
        unknown = given and cause.errno in _NO_SUCH_NAME
        return LastingError(f"the host {host!r} is not known ({_said(cause)}): check its name") if unknown else None
    if path:
        gone = given and isinstance(cause, (FileNotFoundError, PermissionError, NotADirectoryError))
        if gone:
            return LastingError(f"the socket {path!r} cannot be opened: {_said(cause)}")
        other = given and isinstance(cause, ConnectionRefusedError) and _is_no_socket(path)
        return (
            LastingError(f"{path!r} is no socket, but a file or folder: name the server's unixsocket")
            if other
            else None
        )
    return _lasting_of_tls(cause, host, settings) if settings.get("ssl") else None


def _is_no_socket(path: str) -> bool:
    """Tell whether something else has the path: that refuses a connection as a socket without a server does."""
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _lasting_of_tls(cause: BaseException, host: str, settings: Mapping[str, Any]) -> LastingError | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return LastingError(complaint_about_certificate(cause, host))
    if not isinstance(cause, (ssl.SSLError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return None
    if complaint := complaint_about_files(settings):
        return LastingError(complaint)
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, _CUT_OFF):
        return None
    reason = str(cause.reason or cause)
    if "CERTIFICATE_REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and not settings.get("ssl_certfile")):
        return LastingError(_WANTS_CERTIFICATE)
    if reason in NO_TLS:
        return LastingError(_SPEAKS_PLAINLY.format(f"the server at {host}"))
    return LastingError(f"TLS with {host} failed: {_said(cause)}")


_NO_SUCH_NAME = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")} - {None}
"""The resolver's word that there is no such name; others, such as EAI_AGAIN, say that it does not know."""

_CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_WANTS_CERTIFICATE = "the server asks for this client's certificate: name it as tls_cert, and its key as tls_key"
_SPEAKS_PLAINLY = "{} does not speak TLS: write redis:// (valkey://) in the URL, or leave out tls=true"
_SPEAKS_TLS = "{} speaks TLS: write rediss:// (valkeys://) in the URL, or add tls=true"


def _said(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# ----------------------------------------------------------------------------------- one-sided TLS


def is_odd(error: Exception, cause: BaseException, *, tls: bool) -> bool:
    """Tell whether an error in connecting may mean that only one side speaks TLS."""
    if isinstance(error, exceptions.TimeoutError) and not tls:
        return False  # who expects TLS hangs up on those who begin otherwise
    refused = isinstance(cause, (ConnectionRefusedError, socket.gaierror))
    return not refused and not isinstance(error, (LastingError, *_ANSWERED))


_ANSWERED = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.ResponseError)


def one_sided(host: str, port: int, *, tls: bool, shown: bool) -> LastingError | None:
    """Return an error if a server speaks what was not tried with it, TLS or plainly, or wants to see who speaks.

    ``shown``: it was shown a certificate.
    """
    if tls:
        if _greeting(host, port, b"PING\r\n")[:1] in (b"+", b"-"):
            return LastingError(_SPEAKS_PLAINLY.format(f"the server at {host}:{port}"))
        if not shown and "CERTIFICATE_REQUIRED" in _word_of_tls(host, port, listen=True):
            return LastingError(_WANTS_CERTIFICATE)
        return _another(host, port)
    if _word_of_tls(host, port):
        return LastingError(_SPEAKS_TLS.format(f"the server at {host}:{port}"))
    # It says so to whoever connects, and hangs up: the client does not listen before it has spoken.
    if _greeting(host, port, b"").startswith(b"-DENIED"):
        return LastingError(
            f"the server at {host}:{port} is in protected mode: give it a password, and name that in the URL"
        )
    return _another(host, port)


_POSTGRES_TLS = bytes((0, 0, 0, 8, 4, 210, 22, 47))
"""The first message of a Postgres client that asks for TLS; one letter is the answer."""


def _another(host: str, port: int) -> LastingError | None:
    """Return an error if it is Postgres that listens: it hangs up on Redis's clients without a word."""
    if _greeting(host, port, _POSTGRES_TLS) in (b"S", b"N"):
        return LastingError(
            f"the server at {host}:{port} is no Redis, but Postgres: write postgresql:// or another port"
        )
    return None


def _greeting(host: str, port: int, said: bytes) -> bytes:
    try:
        with socket.create_connection((host, port), PROBE_TIMEOUT) as line:
            line.sendall(said)
            return line.recv(100)
    except OSError:
        return b""


def _word_of_tls(host: str, port: int, *, listen: bool = False) -> str:
    """Return what a server says to one who begins TLS, and then ``listen``s: a word of OpenSSL's; nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), PROBE_TIMEOUT) as line:
            with context.wrap_socket(line, server_hostname=host) as inner:
                return str(inner.version()) if not listen or inner.recv(1) else ""
    except ssl.SSLError as error:
        return reason if "ALERT" in (reason := str(error.reason)) else ""
    except OSError:
        return ""
