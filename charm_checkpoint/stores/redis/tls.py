"""Redis over TLS: its options, with redis-py's names for them, and what is wrong with the files they name."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from charm_checkpoint.config.options import Option, boolean, choice, text
from charm_checkpoint.errors import ConfigError

TLS_SCHEMES = ("rediss", "valkeys")

_CHECKS = {"none": "none", "optional": "full", "required": "full"}
"""What redis-py's ``ssl_cert_reqs`` means; for a client, optional is required."""


def _cert_reqs(value: object) -> str:
    """Read ``ssl_cert_reqs`` in any of its forms: ``none``, ``CERT_NONE``, ``ssl.CERT_NONE``."""
    word = value.name if isinstance(value, ssl.VerifyMode) else str(value).strip()
    short = word.lower().removeprefix("ssl.").removeprefix("cert_")
    return _CHECKS[short if short in _CHECKS else choice(*_CHECKS)(value)]


TLS_OPTIONS = (
    Option("tls", boolean, False, "use TLS; rediss:// and valkeys:// do anyway"),
    Option("tls_ca", text, None, "file of certificates to trust besides the system's: a CA's, or a self-signed one"),
    Option(
        "tls_verify", choice("full", "ca", "none"), None, "full, or ca: not the host's name, or none: trust anybody"
    ),
    Option("tls_cert", text, None, "file of this client's certificate"),
    Option("tls_key", text, None, "file of this client's key"),
    Option("tls_key_password", text, None, "the password that the key is encrypted with"),
    # Not in FOREIGN, which renames one option to another: two of these say together what tls_verify says.
    Option("ssl", boolean, None, "redis-py's name for tls", listed=False),
    Option("ssl_cert_reqs", _cert_reqs, None, "redis-py's name for tls_verify: none, or required", listed=False),
    Option("ssl_check_hostname", boolean, None, "redis-py's name for tls_verify: false is ca", listed=False),
    Option("ssl_ca_certs", text, None, "redis-py's name for tls_ca", listed=False),
    Option("ssl_certfile", text, None, "redis-py's name for tls_cert", listed=False),
    Option("ssl_keyfile", text, None, "redis-py's name for tls_key", listed=False),
    Option("ssl_password", text, None, "redis-py's name for tls_key_password", listed=False),
)
"""What a URL's query, a config or keywords may say about TLS."""

_SAME = {
    "tls_ca": "ssl_ca_certs",
    "tls_cert": "ssl_certfile",
    "tls_key": "ssl_keyfile",
    "tls_key_password": "ssl_password",
}
"""Options that redis-py has, too, and its names of them: those of its connections' settings."""


def tls_settings(scheme: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a connection over TLS is made with, nothing without TLS; raises `ConfigError`."""
    given = {name: _either(options, name, other) for name, other in _SAME.items()}
    given["tls_verify"] = _checks(options)
    if not (options["tls"] or options["ssl"] or scheme in TLS_SCHEMES):
        for name, value in given.items():
            if value is not None:
                raise ConfigError(f"{name} is for TLS, which this URL does not use: write rediss://, or add tls=true")
        return {}
    if scheme == "unix":
        raise ConfigError("a unix socket has no TLS: leave it out, or name a host")
    if given["tls_key"] and not given["tls_cert"]:
        raise ConfigError("tls_key is the key of a certificate: name that too, as tls_cert")
    return {
        "ssl": True,
        "ssl_cert_reqs": "none" if given["tls_verify"] == "none" else "required",
        "ssl_check_hostname": given["tls_verify"] in (None, "full"),
        **{theirs: given[name] for name, theirs in _SAME.items() if given[name]},
        "ssl_password": given["tls_key_password"] or "",  # without one, OpenSSL asks at the terminal and waits
    }


def _either(options: Mapping[str, Any], name: str, other: str) -> Any:
    if options[name] is not None and options[other] is not None:
        raise ConfigError(f"{name} and {other} are the same: leave one out")
    return options[other] if options[name] is None else options[name]


def _checks(options: Mapping[str, Any]) -> Any:
    """Return full, ca or none as given in any of the three ways; None if it is not given."""
    theirs = options["ssl_cert_reqs"]
    if options["ssl_check_hostname"] is False and theirs != "none":
        theirs = "ca"
    return _either({"tls_verify": options["tls_verify"], "ssl_cert_reqs": theirs}, "tls_verify", "ssl_cert_reqs")


# ------------------------------------------------------------------------- what is wrong


def complaint_about_files(settings: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the files that a connection's settings name, which OpenSSL's errors do not tell."""
    ca, cert, key = (settings.get(_SAME[name]) for name in ("tls_ca", "tls_cert", "tls_key"))
    for name, path in (("tls_ca", ca), ("tls_cert", cert), ("tls_key", key)):
        try:
            open(path, "rb").close() if path else None
        except OSError as error:
            return f"{name}: the file {path!r} cannot be read: {error.strerror}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca) if ca else None
    except ssl.SSLError:
        return f"tls_ca: the file {ca!r} holds no certificate in PEM form"
    try:
        context.load_cert_chain(cert, key, settings.get("ssl_password") or "") if cert else None
    except ssl.SSLError as error:
        if "MISMATCH" in str(error.reason):
            return "tls_key: it is not the key of the certificate that tls_cert names"
        return (
            "tls_cert, tls_key: these are no certificate and its key in PEM form, or tls_key_password is not the key's"
        )
    return None


def complaint_about_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Say why the server's certificate is not accepted, and what to do about it."""
    if error.verify_code in _OF_ANOTHER:
        return (
            f"the server's certificate is not for the name {host!r}: {error.verify_message}. Use the name that it is "
            "for, or tls_verify=ca, which does not compare names"
        )
    return (
        f"the certificate of {host} is not trusted: {error.verify_message}. Name its CA's file, or its own if it is "
        "self-signed, as tls_ca; tls_verify=none would trust anybody who answers"
    )


_OF_ANOTHER = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
