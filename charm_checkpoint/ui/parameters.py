"""What a request asks for, read strictly: text of any code points, whole numbers, flags.

Text in a query is percent-encoded UTF-8, in which a lone surrogate is what UTF-8 would make of it, as in store URLs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

LONGEST = 40_000
"""Characters of a text: of an id, a path, what is searched for."""
MOST = 64
"""Parameters of a request."""
BODY = 1_000_000
"""Bytes of a body: an answer to a question may be long."""


class BadRequest(Exception):
    """What is asked for makes no sense; the message says why."""

    status = 400


class TooLarge(BadRequest):
    """More was sent than is read."""

    status = 413


class Parameters:
    """The parameters of a request by name, each once."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    @classmethod
    def of_query(cls, request: Request) -> Parameters:
        """Read a query."""
        try:
            pairs = parse_qsl(
                request.scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(request.scope["query_string"]),
                encoding="utf-8",
                errors="surrogatepass",
                max_num_fields=MOST,
            )
        except ValueError as error:
            raise BadRequest(f"The query cannot be read: {error}.") from None
        if len({name for name, _ in pairs}) < len(pairs):
            raise BadRequest("A parameter is named twice.")
        return cls(dict(pairs))

    @classmethod
    async def of_body(cls, request: Request) -> Parameters:
        """Read a body, which is a JSON object."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise BadRequest("What is sent has to be JSON.")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > BODY:
                raise TooLarge(f"More than {BODY:,} bytes are not read.")
        try:
            given = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"What was sent is no JSON: {error}.") from None
        if not isinstance(given, dict):
            raise BadRequest("What is sent has to be a JSON object.")
        return cls(given)

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def raw(self, name: str) -> Any:
        """Return a value as it was sent; raises `BadRequest` if it was not."""
        if name not in self._given:
            raise BadRequest(f"The parameter {name} is missing.")
        return self._given[name]

    def text(self, name: str) -> str:
        """Return a text; raises `BadRequest` if there is none."""
        value = self.raw(name)
        if type(value) is not str:
            raise BadRequest(f"The parameter {name} has to be text.")
        if len(value) > LONGEST:
            raise TooLarge(f"The parameter {name} is longer than {LONGEST:,} characters.")
        return value

    def maybe(self, name: str) -> str | None:
        """Return a text, None if there is none or an empty one."""
        return (self.text(name) or None) if name in self._given else None

    def path(self) -> list[str | int]:
        """Return the path, a list in JSON of names and places, empty if there is none; raises `BadRequest`."""
        path = self._json("path", "[]")
        if not (type(path) is list and all(type(part) in (str, int) for part in path)):
            raise BadRequest("A path is a list in JSON, of names and of places in lists.")
        return path

    def namespace(self) -> tuple[str, ...]:
        """Return the namespace, a list in JSON of labels; raises `BadRequest` for what no namespace can be."""
        labels = self._json("namespace", "null")
        if not (type(labels) is list and all(type(label) is str for label in labels)):
            raise BadRequest("A namespace is a list of texts, in JSON.")
        return tuple(labels)

    def _json(self, name: str, usual: str) -> Any:
        try:
            return json.loads(self.maybe(name) or usual)
        except (ValueError, RecursionError):
            raise BadRequest(f"The parameter {name} has to be JSON.") from None

    def slice(self) -> tuple[int, int]:
        """Return from where on, and how much, is asked for of a value."""
        return self.number("offset", 0, 2**52), self.number("limit", 100, 1000, 1)

    def number(self, name: str, usual: int, most: int, least: int = 0) -> int:
        """Return a whole number of a query, ``usual`` if there is none; raises `BadRequest` beyond the bounds."""
        if name not in self._given:
            return usual
        given = self.text(name)
        if not (given.isascii() and given.isdigit() and len(given) < 16 and least <= int(given) <= most):
            raise BadRequest(f"The parameter {name} has to be a whole number from {least} to {most}.")
        return int(given)

    def choice(self, name: str, among: Collection[str]) -> str | None:
        """Return one of several words, None if there is none."""
        given = self.maybe(name)
        if given is not None and given not in among:
            raise BadRequest(f"The parameter {name} has to be one of: {', '.join(sorted(among))}.")
        return given

    def flag(self, name: str) -> bool:
        """Return a flag of a body; raises `BadRequest` if there is none."""
        value = self.raw(name)
        if type(value) is not bool:
            raise BadRequest(f"The parameter {name} has to be true or false.")
        return value
