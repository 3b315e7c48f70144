"""Keeps the memory of a study near what it uses, where the C library is glibc.

Searches in threads make and drop large arrays. By default glibc keeps them in one heap per thread,
which grows and stays; what is imported and drawn afterwards comes on top. Elsewhere than on glibc
nothing happens.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_BYTES = 1 << 20
"""Arrays from this size on are mapped on their own and returned when they are dropped."""

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
"""Parameters of `mallopt`, from glibc's malloc.h."""


def return_large_arrays() -> None:
    """Let the system have large arrays back at once, and let threads share one heap."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_ARENA_MAX, 1)


def free_memory() -> None:
    """Collect what is unreachable and return the unused pages of the heaps to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


@contextmanager
def left_out(package: str) -> Iterator[None]:
    """Let imports of an optional package fail in the meantime, unless it is loaded already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
