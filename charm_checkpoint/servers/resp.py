"""A question to a Valkey or Redis server, in its own protocol, for setting servers up."""

from __future__ import annotations

import socket
from typing import BinaryIO, TypeAlias

from charm_checkpoint.errors import ServerFailed
from charm_checkpoint.servers.base import HOST

Reply: TypeAlias = "str | list[Reply] | None"


def ask(port: int, *words: str | int, password: str = "") -> Reply:
    """Send a command to the server on a port, after its password, and return its reply, a number as text.

    Raises `ServerFailed` for an error the server answers with, and `OSError` when it does not answer.
    """
    with socket.create_connection((HOST, port), timeout=5) as connection, connection.makefile("rb") as stream:
        if password:
            connection.sendall(_command("AUTH", password))
            _read(stream)
        connection.sendall(_command(*words))
        return _read(stream)


def _command(*words: str | int) -> bytes:
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _read(stream: BinaryIO) -> Reply:
    line = stream.readline().decode().rstrip("\r\n")
    if not line:
        raise ConnectionResetError("the server ended the connection")
    kind, rest = line[0], line[1:]
    if kind == "-":
        raise ServerFailed(f"the server refused a command: {rest}")
    if kind in "$*" and rest == "-1":
        return None
    if kind == "$":
        return stream.read(int(rest) + 2)[:-2].decode()
    return [_read(stream) for _ in range(int(rest))] if kind == "*" else rest
