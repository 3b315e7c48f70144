"""Numba's `njit` with the signature of the function kept for the type checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a scalar or array function on first call and cache the machine code on disk."""
    kernel: Function = njit(cache=True)(function)
    return kernel
