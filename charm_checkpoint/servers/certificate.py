"""A certificate for a server on this machine, made by ``openssl`` as it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from charm_checkpoint.errors import MissingServer, ServerFailed
from charm_checkpoint.servers.account import Account
from charm_checkpoint.servers.process import run

DAYS = 30


def make_certificate(folder: Path, account: Account | None) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and localhost, which vouches for itself; return its file and that of its key.

    Files that are there from an earlier start are kept, since clients may trust them.
    """
    certificate, key = folder / "server.crt", folder / "server.key"
    if certificate.exists():
        return certificate, key
    program = shutil.which("openssl")
    if program is None:
        raise MissingServer("openssl, which makes a server's certificate, is not installed: apt-get install openssl")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(DAYS)]
    files = ["-keyout", str(key), "-out", str(certificate)]
    done = run([program, "req", "-x509", *kind, "-subj", "/CN=localhost", "-addext", names, *files])
    if done.returncode:
        raise ServerFailed(f"openssl made no certificate: {done.stdout[-1000:].strip()}")
    key.chmod(0o600)
    certificate.chmod(0o644)
    if account:
        account.own(key)
    return certificate, key
