"""Certificates for tests, made by ``openssl``: an authority's, and those that it signed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


class Certificates:
    """A folder with an authority's certificate (``ca``) and what it signed; paths are text."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl on the path")
        self._folder = folder
        self.ca = self._make("ca", "/CN=Test authority", "-addext", "basicConstraints=critical,CA:TRUE",
                             "-addext", "keyUsage=critical,keyCertSign,cRLSign")[0]  # fmt: skip
        self.server, self.server_key = self.signed("server", "IP:127.0.0.1,DNS:localhost")
        self.other, self.other_key = self.signed("other", "DNS:other.example")
        self.client, self.client_key = self.signed("client", "DNS:client")
        self.own, self.own_key = self._make("own", "/CN=own", "-addext", "subjectAltName=IP:127.0.0.1")

    def signed(self, name: str, names: str) -> tuple[str, str]:
        """Make a certificate for these names, signed by the authority; return its path and its key's."""
        signer = ("-CA", str(self._folder / "ca.pem"), "-CAkey", str(self._folder / "ca.key"))
        usage = ("-addext", "basicConstraints=critical,CA:FALSE")
        return self._make(name, f"/CN={name}", *signer, *usage, "-addext", f"subjectAltName={names}")

    def encrypted(self, key: str, password: str) -> str:
        """Return the path of a key, encrypted with a password."""
        path = f"{key}.encrypted"
        self._run("ec", "-in", key, "-out", path, "-aes256", "-passout", f"pass:{password}")
        return path

    def _make(self, name: str, subject: str, *more: str) -> tuple[str, str]:
        paths = str(self._folder / f"{name}.pem"), str(self._folder / f"{name}.key")
        fresh = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        self._run("req", "-x509", *fresh, "-out", paths[0], "-keyout", paths[1], "-subj", subject, *more)
        return paths

    def _run(self, *args: str) -> None:
        done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
