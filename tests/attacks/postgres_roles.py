"""Roles on the tests' Postgres server: owners, users and attackers, each with a login of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from conftest import or_skip
from stores import postgres_server, postgres_url

from charm_checkpoint.config.options import parse_url

_numbers = itertools.count()


def query(url: str, *statements: str) -> list[Any]:
    """Run statements; return the rows of the last."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


class Base:
    """A database of its own, for roles that go with it; ``url`` is the superuser's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = parse_url(url).database
        self.made: list[str] = []

    def role(self, kind: str, *rights: str, options: str = "") -> str:
        """Make a role with these rights, and return the URL of its login; `user` is its name."""
        name = f"{kind}_{os.getpid()}_{next(_numbers)}"
        query(self.url, f"CREATE ROLE {name} LOGIN PASSWORD 's3cret' {options}")
        self.made.append(name)
        url = postgres_server().database_url(self.name, name, "s3cret")
        for right in rights:
            query(self.url, f"GRANT {right} TO {name}")
        return url

    def owner(self) -> str:
        """Make a role that owns the database, as whoever sets up a store usually does."""
        url = self.role("owner")
        query(self.url, f'ALTER DATABASE "{self.name}" OWNER TO {user(url)}')
        return url

    def drop(self) -> None:
        """Remove the roles, with what they own and may do."""
        query(self.url, f'ALTER DATABASE "{self.name}" OWNER TO postgres')
        for name in reversed(self.made):
            query(self.url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def user(url: str) -> str:
    """Return the name of the role of a URL."""
    name = parse_url(url).user
    assert name
    return name


@pytest.fixture
def base() -> Iterator[Base]:
    """Yield an empty database and what makes roles there."""
    made = Base(or_skip(postgres_url))
    yield made
    made.drop()


MakeBase = Callable[[], Base]
