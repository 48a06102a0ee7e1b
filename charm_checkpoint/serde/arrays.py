"""NumPy arrays and scalars as bytes and a dtype. NumPy is used only where the program has loaded it."""

from __future__ import annotations

import sys
from typing import Any

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded


def is_array(value: Any) -> bool:
    """Say whether a value is a plain ``numpy.ndarray``, not a subclass."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def is_scalar(value: Any) -> bool:
    """Say whether a value is a NumPy scalar, such as ``numpy.float64(1)``."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)


def take_array(array: Any) -> list[Any]:
    """Return ``[dtype, shape, order, bytes]``."""
    flags = array.flags
    order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    return [_describe(array.dtype), list(array.shape), order, array.tobytes(order)]


def take_scalar(scalar: Any) -> list[Any]:
    return [_describe(scalar.dtype), scalar.tobytes()]


def make_array(descr: Any, shape: list[int], order: str, data: bytes) -> Any:
    """Return an array that owns its data and may be written to."""
    numpy = _numpy()
    array = numpy.ndarray(tuple(shape), _dtype(numpy, descr), data, order=order)
    if array.nbytes != len(data):
        raise ValueError(f"{len(data)} bytes do not make an array of shape {shape}")
    return array.copy(order)


def make_scalar(descr: Any, data: bytes) -> Any:
    return make_array(descr, [], "C", data)[()]


def _describe(dtype: Any) -> Any:
    """Return the text (or, for structured types, the list) that makes this very dtype again."""
    numpy = _numpy()
    if dtype.hasobject:
        raise NotSerializable(f"a NumPy array of dtype {dtype} holds Python objects. Use value.tolist().")
    descr = dtype.descr if dtype.names else dtype.str
    if not dtype.names and numpy.dtype(descr).type is not dtype.type:
        descr = {"big": ">", "little": "<"}[sys.byteorder] + dtype.char  # long long beside long
    if _dtype(numpy, descr) != dtype or _dtype(numpy, descr).type is not dtype.type:
        raise NotSerializable(f"a NumPy array of dtype {dtype!r} cannot be described in text. Use value.tolist().")
    return descr


def _dtype(numpy: Any, descr: Any) -> Any:
    dtype = numpy.dtype(descr) if isinstance(descr, str) else numpy.lib.format.descr_to_dtype(descr)
    if dtype.hasobject:  # its bytes would be addresses in memory
        raise ValueError(f"dtype {dtype} holds Python objects")
    return dtype


def _numpy() -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise TypeNotLoaded("this is a NumPy value, and NumPy is not loaded. Import numpy before reading.")
    return numpy
