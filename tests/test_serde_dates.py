"""Dates, times and zones of other libraries, and under a frozen clock."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strict import same

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.serde import Serializer

SERDE = Serializer(on_unknown="raise")
PARIS = ZoneInfo("Europe/Paris")


class Moment(datetime):
    pass


class Day(date):
    pass


class Clock(time):
    pass


class Span(timedelta):
    pass


class Keyed(ZoneInfo):
    pass


class Odd(tzinfo):
    """A zone without a key, whose offset follows the moment."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return timedelta(minutes=moment.hour) if moment else None


class Lost(tzinfo):
    """A zone that knows nothing."""


def back(value: Any) -> Any:
    """Return what is read, having checked that it is stored for good as what it became."""
    data = SERDE.dumps([value])
    (restored,) = SERDE.loads(data)
    assert SERDE.dumps([restored]) == data
    assert same(SERDE.loads_many(SERDE.dumps_many([value, value])), [restored, restored])
    return restored


SUBCLASSES = [
    (Moment(2020, 1, 2, 3, 4, 5, 6), datetime(2020, 1, 2, 3, 4, 5, 6)),
    (Moment(2020, 1, 2, tzinfo=PARIS, fold=1), datetime(2020, 1, 2, tzinfo=PARIS, fold=1)),
    (Day(2020, 1, 2), date(2020, 1, 2)),
    (Clock(1, 2, 3, 4, tzinfo=timezone.utc), time(1, 2, 3, 4, tzinfo=timezone.utc)),
    (Span(-1, 2, 3), timedelta(-1, 2, 3)),
    (Keyed("Europe/Paris"), PARIS),
    (datetime(2020, 1, 2, tzinfo=Keyed("Europe/Paris")), datetime(2020, 1, 2, tzinfo=PARIS)),
    (time(1, tzinfo=Keyed("Europe/Paris")), time(1, tzinfo=PARIS)),
    (datetime(2020, 1, 2, 3, tzinfo=Odd()), datetime(2020, 1, 2, 3, tzinfo=timezone(timedelta(minutes=3)))),
    (datetime(2020, 1, 2, 0, tzinfo=Odd()), datetime(2020, 1, 2, 0, tzinfo=timezone.utc)),
    (datetime(2020, 1, 2, 3, tzinfo=Lost()), datetime(2020, 1, 2, 3)),
    (time(3, tzinfo=Odd()), time(3)),
]


@pytest.mark.parametrize(("value", "plain"), SUBCLASSES)
def test_subclasses_and_unknown_zones_become_plain(value: Any, plain: Any) -> None:
    if isinstance(value, (date, time, timedelta)):
        assert same(back(value), plain)
    else:
        assert same(SERDE.loads(SERDE.dumps(value)), plain)


def test_a_subclass_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Told(datetime):
        pass

    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        for _ in range(2):
            SERDE.dumps(Told(2020, 1, 1))
    (record,) = caplog.records
    assert record.getMessage() == f"{__name__}:{Told.__qualname__} is kept as a datetime."


def test_a_zone_without_key_and_offset_is_refused_alone() -> None:
    for zone in (Odd(), Lost()):
        with pytest.raises(NotSerializable, match=r"^zone: this .* has no IANA key and no fixed offset"):
            SERDE.dumps({"zone": zone})


def test_a_zone_read_from_a_file_keeps_its_offset() -> None:
    class Bare(ZoneInfo):
        key = None  # type: ignore[assignment]

    summer = datetime(2024, 7, 1, tzinfo=Bare.no_cache("Europe/Paris"))
    assert same(back(summer), datetime(2024, 7, 1, tzinfo=timezone(timedelta(hours=2), "CEST")))


MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2037, 1, 1))
KEYS = st.sampled_from(
    ["Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca"]
)


def checked(value: datetime) -> datetime:
    restored: datetime = back(value)
    assert restored.utcoffset() == value.utcoffset()
    assert restored.replace(tzinfo=None) == value.replace(tzinfo=None)
    assert type(restored) is datetime and type(restored.tzinfo) in (ZoneInfo, timezone)
    return restored


@settings(max_examples=40, deadline=None)
@given(MOMENTS, KEYS, st.booleans(), st.booleans())
def test_pytz_zones(moment: datetime, key: str, summer: bool, bare: bool) -> None:
    zone = pytest.importorskip("pytz").timezone(key)
    value = moment.replace(tzinfo=zone) if bare else zone.localize(moment, is_dst=summer)
    checked(value)


@settings(max_examples=40, deadline=None)
@given(MOMENTS, KEYS, st.integers(0, 1))
def test_dateutil_zones(moment: datetime, key: str, fold: int) -> None:
    tz = pytest.importorskip("dateutil.tz")
    for zone in (tz.gettz(key), tz.tzlocal(), tz.tzutc(), tz.tzoffset("X", 3600), tz.tzstr("EST5EDT")):
        checked(moment.replace(tzinfo=zone, fold=fold))


def test_foreign_zones_by_their_key_or_offset() -> None:
    tz, pytz = pytest.importorskip("dateutil.tz"), pytest.importorskip("pytz")
    for zone in (tz.gettz("Europe/Paris"), pytz.timezone("Europe/Paris")):
        assert same(SERDE.loads(SERDE.dumps(zone)), PARIS)
    assert SERDE.loads(SERDE.dumps([tz.tzutc(), pytz.utc])) == [timezone.utc, timezone.utc]
    hour = timezone(timedelta(hours=1))
    assert SERDE.loads(SERDE.dumps([tz.tzoffset("X", 3600), pytz.FixedOffset(60)])) == [hour, hour]
    assert checked(pytz.timezone("Europe/Paris").localize(datetime(2024, 10, 27, 2, 30), is_dst=False)).fold == 1


def test_pendulum() -> None:
    pendulum = pytest.importorskip("pendulum")
    now = pendulum.datetime(2024, 7, 1, 2, 3, tz="Europe/Paris")
    assert same(back(now), datetime(2024, 7, 1, 2, 3, tzinfo=PARIS, fold=now.fold))
    assert same(back(now.date()), date(2024, 7, 1)) and same(back(pendulum.time(3)), time(3))
    span = pendulum.duration(months=3, days=-2, microseconds=-1)
    assert same(back(span), span.as_timedelta())
    assert same(back(now - now.subtract(days=3)), timedelta(3))
    assert same(SERDE.loads(SERDE.dumps(pendulum.timezone("Europe/Paris"))), PARIS)
    assert SERDE.loads(SERDE.dumps(pendulum.fixed_timezone(3600))) == timezone(timedelta(hours=1))


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    assert same(back(pandas.Timestamp("2020-01-01")), datetime(2020, 1, 1))
    late = pandas.Timestamp("2024-10-27T01:30Z").tz_convert("Europe/Paris")
    assert same(back(late), datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1))
    assert same(back(pandas.Timedelta("3h 2us")), timedelta(hours=3, microseconds=2))
    assert pandas.isna(SERDE.loads(SERDE.dumps(pandas.NaT)))
    for fine in (pandas.Timestamp(1), pandas.Timestamp(1, tz="UTC")):
        with pytest.raises(NotSerializable, match=r"^t: this Timestamp has nanoseconds"):
            SERDE.dumps({"t": fine})
    with pytest.raises(NotSerializable, match=r"^t: this Timedelta is finer or longer"):
        SERDE.dumps({"t": pandas.Timedelta(1)})


# -- frozen clocks ----------------------------------------------------------------------------------------------------

LOOK_ALIKE = """
import datetime, langgraph.checkpoint.base, langchain_core.runnables
real = datetime.date, datetime.datetime
class FakeDate(datetime.date): pass
class FakeDatetime(datetime.datetime): pass
datetime.date, datetime.datetime = FakeDate, FakeDatetime
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.importers.building import _METHODS, _PLAIN
datetime.date, datetime.datetime = real
assert _PLAIN["datetime", "date"] is real[0]
assert type(_METHODS["datetime", "datetime", "fromisoformat"]("2020-01-01")) is real[1]
values = [real[0](2020, 1, 2), real[1](2020, 1, 2), FakeDate(2020, 1, 2), FakeDatetime(2020, 1, 2)]
"""
BEFORE = """
import datetime
from charm_checkpoint.values.serde import Serializer
from freezegun import freeze_time
real = datetime.date, datetime.datetime
values = [real[0](2020, 1, 2), real[1](2020, 1, 2)]
freezer = freeze_time("2020-01-02"); freezer.start()
values += [datetime.date.today(), datetime.datetime.now()]
assert type(values[3]) is not real[1]
"""
UNDER = """
import datetime, langgraph.checkpoint.base, langgraph.graph, langchain_core.language_models.chat_models
from freezegun import freeze_time
real = datetime.date, datetime.datetime
values = [real[0](2020, 1, 2), real[1](2020, 1, 2)]
with freeze_time("2020-01-02"):
    from charm_checkpoint.values.serde import Serializer
    values += [datetime.date.today(), datetime.datetime.now()]
"""
CHECK = """
read = Serializer().loads(Serializer().dumps(values))
assert [type(value) for value in read] == [*real, *real], read
assert read[:2] == read[2:] == values[:2]
"""


@pytest.mark.parametrize("script", [LOOK_ALIKE, BEFORE, UNDER], ids=["look-alike", "frozen later", "imported frozen"])
def test_a_frozen_clock_changes_nothing(script: str) -> None:
    if "freezegun" in script:
        pytest.importorskip("freezegun")
    subprocess.run(
        [sys.executable, "-c", script + CHECK], env={"PYTHONPATH": ":".join(sys.path)}, check=True, timeout=60
    )
