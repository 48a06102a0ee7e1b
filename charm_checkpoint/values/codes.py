"""The extension codes of the safe types that are not plain msgpack.

They are the storage format: never change or reuse one.
"""

from __future__ import annotations

AS_IS, TUPLE, SET, FROZENSET, DEQUE, MAP, BIG_INT, TEXT, BYTEARRAY, COMPLEX = range(10)
DATETIME, DATE, TIME, TIMEDELTA, TIMEZONE, ZONE, UUID_, DECIMAL, FRACTION, RANGE = range(10, 20)
ADDRESS, PATH, PATTERN, ORDERED, DEFAULT, COUNTER, SECRET, ARRAY, SCALAR, TZ_INFO, CLASS = range(20, 31)
URL = 31

RAW = frozenset({BIG_INT, TEXT, BYTEARRAY, UUID_, DECIMAL, CLASS})
"""Codes whose body is bytes of its own, not msgpack."""
PACKED = RAW | {SET, FROZENSET}
"""Codes whose body is bytes already when it comes from its encoder."""
ITEMS = frozenset({TUPLE, SET, FROZENSET})
"""Codes whose body is the list of the value's items; the others' bodies begin with a level of their own."""
