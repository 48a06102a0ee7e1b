"""The way to a server, step by step: its name, its port; and at which step an error came up."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

from charm_checkpoint.checking.doctor.report import DoctorFinding
from charm_checkpoint.errors import CharmError, LoginRefused, MissingExtra, SchemaMismatch

PATIENCE = 3.0
"""Seconds that a server may take to answer at its port."""

LOCAL = frozenset({"localhost", "127.0.0.1", "::1", ""})

_STEPS = (
    ("TLS", re.compile(r"certificate|\bSSL\b|\bTLS\b|sslmode|encryption", re.IGNORECASE)),
    ("database", re.compile(r'database "[^"]*" does not exist|DB index|no such database|cannot be opened')),
    ("login", re.compile(r"authentication|password|WRONGPASS|NOAUTH|API key|JWT|permission denied", re.IGNORECASE)),
    ("schema", re.compile(r"schema|tables", re.IGNORECASE)),
)


def way_to(hosts: Sequence[tuple[str, int | None]], port: int) -> list[DoctorFinding]:
    """Look up each host's name, and connect to its port; returns what fails of that."""
    found = []
    for name, own in hosts or (("localhost", None),):
        if name.startswith("/"):  # the folder of a socket
            continue
        found += _way_to_one(name or "localhost", own or port)
    return found


def _way_to_one(name: str, port: int) -> list[DoctorFinding]:
    try:
        addresses = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        said = error.strerror or str(error)
        return [
            DoctorFinding("name", "error", f"the name {name} is not found: {said}.", "Correct the host in the URL.")
        ]
    said = ""
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(address)
                return []
        except OSError as error:
            said = error.strerror or str(error)
    message = f"nobody answers at port {port} of {name}: {said}."
    advice = "Start the server, or correct the port; a firewall, or a server that listens elsewhere, looks the same."
    return [DoctorFinding("port", "error", message, advice)]


def failed_step(error: CharmError) -> str:
    """Return at which step towards a store an error came up, as far as it tells."""
    if isinstance(error, MissingExtra):
        return "driver"
    if isinstance(error, SchemaMismatch):
        return "schema"
    said = str(error)
    step = next((step for step, words in _STEPS if words.search(said)), "answer")
    return "login" if isinstance(error, LoginRefused) and step != "database" else step


def is_local(hosts: Sequence[tuple[str, int | None]]) -> bool:
    """Tell whether all hosts are this machine."""
    return all(name in LOCAL or name.startswith("/") for name, _ in hosts)
