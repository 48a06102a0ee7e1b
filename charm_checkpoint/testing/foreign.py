"""Values of other libraries: pydantic's own rules, zones and dates, classes with a dump and a load."""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, Field, HttpUrl, PrivateAttr

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import InMode
from charm_checkpoint.testing.samples import checkpoint, config, exact
from charm_checkpoint.testing.saver_methods import put
from charm_checkpoint.values.serde import register_type


class Client(BaseModel):
    """A model with what is not to be stored, and what cannot be."""

    name: str
    page: HttpUrl = HttpUrl("http://example.com/")
    token: str = Field("none", exclude=True)
    lock: Any = Field(default_factory=threading.Lock, exclude=True)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _calls: list[int] = PrivateAttr(default_factory=list)


class Needy(BaseModel):
    """A model that could not come back."""

    client: Any = Field(exclude=True)


class Moment(datetime):
    """As a frozen clock's, or pandas'."""


class Zone(tzinfo):
    """A zone of another library's, with a key."""

    key = "Europe/Paris"

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return ZoneInfo(self.key).utcoffset(moment) if moment else None

    def tzname(self, moment: datetime | None) -> str | None:
        return None

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None


class Table:
    """An object of another package's, which holds more than attributes."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows, iter(rows)

    @property
    def rows(self) -> list[Any]:
        """What it says it holds."""
        return self._rows[0]


register_type(Table, name="charm_checkpoint.testing.Table", dump=lambda table: table.rows, load=Table)


class ForeignValues(Suite):
    """What a library's own rules leave out comes back as its default; the rest comes back whole."""

    @pytest.mark.parametrize("size", [1, 300], ids=["small", "large"])
    def test_models_by_their_own_rules(self, saver: InMode, size: int) -> None:
        clients = [Client(name=f"client {n}", token="secret") for n in range(size)]
        for number, client in enumerate(clients):
            client._calls.append(number)
        where = put(saver, config(), checkpoint({"clients": clients}))
        saver.put_writes(where, [("clients", clients)], "task")
        found = saver.elsewhere().get_tuple(where)
        for restored in (found.checkpoint["channel_values"]["clients"], found.pending_writes[0][2]):
            told = [(one.name, str(one.page), one.token, one._calls) for one in restored]
            assert told == [(f"client {n}", "http://example.com/", "none", [n]) for n in range(size)]
            assert all(one.lock.acquire(False) and one._lock.acquire(False) for one in restored)

    def test_what_could_not_come_back_is_refused(self, saver: InMode) -> None:
        with pytest.raises(NotSerializable, match=r"^channel_values\.needy: .*client is excluded"):
            put(saver, config(), checkpoint({"needy": Needy(client=1)}))
        assert saver.get(config()) is None

    def test_dates_and_zones(self, saver: InMode) -> None:
        moments = [Moment(2024, 7, 1, 12, tzinfo=zone) for zone in (None, timezone.utc, Zone())]
        paris = ZoneInfo("Europe/Paris")
        plain = [datetime(2024, 7, 1, 12, tzinfo=zone) for zone in (None, timezone.utc, paris)]
        where = put(saver, config(), checkpoint({"moments": moments, "counts": defaultdict(lambda: 0, a=1)}))
        found = saver.elsewhere().get(where)["channel_values"]
        assert exact(found["moments"]) == exact(plain)
        assert exact(found["counts"]) == exact(defaultdict(None, a=1))

    @pytest.mark.parametrize("size", [1, 300], ids=["small", "large"])
    def test_classes_with_a_dump_and_a_load(self, saver: InMode, size: int) -> None:
        tables = [Table([{"n": n, "text": "x" * 20}]) for n in range(size)]
        where = put(saver, config(), checkpoint({"tables": tables}))
        tables[size // 2].rows.append("changed in place")
        where = put(saver, where, checkpoint({"tables": tables}, version=2))
        found = saver.elsewhere().get(where)["channel_values"]["tables"]
        assert [table.rows for table in found] == [table.rows for table in tables]
