"""Dates, times and time zones of every library, brought to the standard library's own classes.

Subclasses (pandas, pendulum, a frozen clock of a test) become their base. A foreign zone becomes a ``ZoneInfo`` where
it has an IANA key that means the same at that moment, or else the fixed offset it has then.
"""

from __future__ import annotations

import datetime as module
import re
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic_core import TzInfo

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.serde.hooks import hook_of
from charm_checkpoint.values.serde.models import logger

_HEAP_TYPE = 1 << 9  # see classes: a test's frozen clock replaces classes of C code by such ones


class _Real(NamedTuple):
    """The classes of C code, in a tuple: a frozen clock replaces the names of every module, whenever it is loaded."""

    date: type[module.date]
    datetime: type[module.datetime]
    time: type[module.time]
    timedelta: type[module.timedelta]
    timezone: type[module.timezone]
    tzinfo: type[module.tzinfo]


def _real(base: type, name: str) -> Any:
    named = getattr(module, name)
    if isinstance(named, type) and not named.__flags__ & _HEAP_TYPE:
        return named
    children: list[type] = type.__subclasses__(base)
    static = (cls for cls in children if not cls.__flags__ & _HEAP_TYPE)
    return next(cls for cls in static if (cls.__module__, cls.__name__) == ("datetime", name))


_date, _tzinfo = _real(object, "date"), _real(object, "tzinfo")
REAL = _Real(
    date=_date,
    datetime=_real(_date, "datetime"),
    time=_real(object, "time"),
    timedelta=_real(object, "timedelta"),
    timezone=_real(_tzinfo, "timezone"),
    tzinfo=_tzinfo,
)
del _date, _tzinfo

_OWN_ZONES = (REAL.timezone, ZoneInfo, TzInfo)
_UTC = REAL.timezone.utc
_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_warned: set[type] = set()


# -- written ----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return the plain value that a subclass or a foreign zone stands for, or None if it is neither."""
    mro = type(value).__mro__
    if REAL.datetime in mro:
        return _not_a_time() if value != value else _plain_datetime(value)
    if REAL.date in mro:
        return _said(value, REAL.date(value.year, value.month, value.day))
    if REAL.time in mro:
        return _plain_time(value)
    if REAL.timedelta in mro:
        return _plain_timedelta(value)
    return _plain_zone(value) if REAL.tzinfo in mro else None


def moment_to_state(value: Any) -> Any:
    """Return the text of a date with time, or of a time; with a zone or a fold, ``[text, fold, zone]``."""
    if value.tzinfo is not None and not _is_own(value.tzinfo):
        value = _settled(value)
    if value.tzinfo is None and not value.fold:
        return value.isoformat()
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, value.tzinfo]


LONGEST_KEY = 255
"""Characters of a zone's key that are looked for: more are no file's name anywhere."""


def is_key(text: str) -> bool:
    """Say whether a text is nothing but a key of a zone: it is looked up as a file, too."""
    return len(text) <= LONGEST_KEY and _KEY.fullmatch(text) is not None


def _is_own(zone: Any) -> bool:
    return (type(zone) in _OWN_ZONES and getattr(zone, "key", "") is not None) or hook_of(type(zone)) is not None


def _plain_datetime(value: Any) -> Any:
    if getattr(value, "nanosecond", 0):
        raise NotSerializable(f"this {type(value).__name__} has nanoseconds. Round it to microseconds first.")
    clock = value.hour, value.minute, value.second, value.microsecond
    moment = REAL.datetime(value.year, value.month, value.day, *clock, value.tzinfo, fold=value.fold)
    return _said(value, moment)


def _plain_time(value: Any) -> Any:
    parts = value.hour, value.minute, value.second, value.microsecond
    return _said(value, REAL.time(*parts, value.tzinfo, fold=value.fold))


def _plain_timedelta(value: Any) -> Any:
    parts = (getattr(REAL.timedelta, name).__get__(value) for name in ("days", "seconds", "microseconds"))
    span = REAL.timedelta(*parts)
    if span != value:
        raise NotSerializable(f"this {type(value).__name__} is finer or longer than a timedelta. Round it first.")
    return _said(value, span)


def _not_a_time() -> Any:
    from numpy import datetime64  # only pandas has a time that is none, and pandas needs NumPy

    return datetime64("NaT", "ns")


def _plain_zone(zone: Any) -> Any:
    named = _named(zone)
    if named is not None:
        return named
    fixed = _fixed(zone, None)
    if fixed is None:
        raise NotSerializable(f"this {type(zone).__name__} has no IANA key and no fixed offset. Use ZoneInfo(key).")
    return fixed


def _settled(value: Any) -> Any:
    """Return the same moment in a zone of our own, and of the same offset: a later rule must not move it."""
    zone, named = value.tzinfo, _named(value.tzinfo)
    fixed = _fixed(zone, value if REAL.datetime in type(value).__mro__ else None)
    offset = fixed and fixed.utcoffset(None)
    if named is not None:
        for fold in (value.fold, 1 - value.fold):
            moved = value.replace(tzinfo=named, fold=fold)
            if moved.utcoffset() == offset:
                return moved
    if fixed is None:
        _warn(type(zone), "%s has no IANA key and no offset: its times are stored without it.")
    return value.replace(tzinfo=fixed)


def _fixed(zone: Any, moment: Any) -> Any:
    """Return the offset a zone has at a moment as a zone of its own, or None if it has none."""
    offset, name = _asked(zone.utcoffset, moment), _asked(zone.tzname, moment)
    if not offset:
        return offset if offset is None else _UTC
    named = name and not name.startswith(("UTC", "+", "-"))
    return REAL.timezone(offset, name) if named else REAL.timezone(offset)


def _asked(method: Any, moment: Any) -> Any:
    try:
        return method(moment)
    except NotImplementedError:  # the method of tzinfo itself
        return None


def _named(zone: Any) -> Any:
    """Return the zone of its IANA key, which zoneinfo, pytz and pendulum call so, and dateutil has as a file's name."""
    for attribute in ("key", "zone", "_filename", "name"):
        text = getattr(zone, attribute, None)
        if isinstance(text, str):
            return _zone_info(text.replace("\\", "/").rpartition("zoneinfo/")[2])
    return None


def _zone_info(key: str) -> Any:
    if key == "UTC":
        return _UTC
    try:
        return ZoneInfo(key) if is_key(key) else None
    except (LookupError, OSError, ValueError):  # no zone of that key on this system
        return None


def _said(value: Any, moment: Any) -> Any:
    # The classes of a frozen clock mean to be taken for the real ones.
    if not type(value).__module__.startswith("freezegun."):
        _warn(type(value), f"%s is kept as a {type(moment).__name__}.")
    return moment


def _warn(cls: type, text: str) -> None:
    if cls not in _warned:
        _warned.add(cls)
        logger.warning(text, f"{cls.__module__}:{cls.__qualname__}")


# -- read -------------------------------------------------------------------------------------------------------------


def datetime_from_state(body: Any) -> module.datetime:
    """Return the date with time of `moment_to_state`."""
    if isinstance(body, str):
        return REAL.datetime.fromisoformat(body)
    text, fold, zone = body
    return REAL.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def time_from_state(body: Any) -> module.time:
    """Return the time of `moment_to_state`."""
    if isinstance(body, str):
        return REAL.time.fromisoformat(body)
    text, fold, zone = body
    return REAL.time.fromisoformat(text).replace(tzinfo=zone, fold=fold)
