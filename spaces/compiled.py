"""Numba's `njit` with machine code cached on disk, and never out of date.

Numba compiles a kernel together with the kernels it calls and the constants it reads, but looks
only at the kernel's own file to decide whether the machine code on disk still holds: after an edit
of another file it runs the old code. Here the code of a module lies in a folder whose name is a
digest of the module and of everything it imports from beside its package::

    <package>/__pycache__/<module>-<digest>/

An edit anywhere below changes the name, so old code cannot be found; the folders of older digests
are removed. Every process works its own name out from the sources it runs, worker processes too.
Where `NUMBA_CACHE_DIR` is set, or the code lies in a folder that may not be written, the folders
stand in that folder or in the user's cache instead.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit

Function = TypeVar("Function", bound=Callable[..., Any])

DIGITS = 16
"""Hexadecimal digits of a digest in a folder's name."""

_IMPORT = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+([\w.]+))", re.MULTILINE
)
"""`from PACKAGE import MEMBERS` or `import WHOLE`; the packages write no relative imports."""


def compiled(function: Function) -> Function:
    """Compile a scalar or array function on its first call and keep the machine code on disk.

    It runs without the interpreter's lock, beside other threads; its arguments must be its own.
    """
    return _compile(function, nogil=True)


def compiled_inside(function: Function) -> Function:
    """Compile a function that only compiled code calls: no wrapper for Python to build."""
    return _compile(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def inlined(function: Function) -> Function:
    """Put a function's body into the compiled code that calls it: for small steps of hot loops that
    take many tables.
    """
    body: Function = njit(inline="always")(function)
    return body


def _compile(function: Function, **options: bool) -> Function:
    folder = machine_code_folder(Path(function.__code__.co_filename))
    with _numba_writes_to(folder):
        kernel: Function = njit(cache=True, **options)(function)
    return kernel


@contextmanager
def _numba_writes_to(folder: Path) -> Iterator[None]:
    """Numba settles a function's folder while it decorates it; its own setting is left alone."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


@cache
def machine_code_folder(module: Path) -> Path:
    """Folder of the machine code of a Python file; folders of its older sources are removed."""
    current = f"{module.stem}-{sources_digest(module)}"
    holder = _writable_folder(module)
    for folder in holder.glob(f"{module.stem}-{'[0-9a-f]' * DIGITS}"):
        if folder.name != current:
            shutil.rmtree(folder, ignore_errors=True)
    return holder / current


def _writable_folder(module: Path) -> Path:
    """Where the folders of a module stand: with its byte code if that may be written."""
    place = hashlib.sha256(str(module.parent).encode()).hexdigest()[:DIGITS]
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return Path(named) / place
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for holder in (module.parent / "__pycache__", user / "cosearch" / place):
        with suppress(OSError):
            holder.mkdir(parents=True, exist_ok=True)
            if os.access(holder, os.W_OK):
                return holder
    return Path(tempfile.gettempdir()) / "cosearch" / place


def sources_digest(module: Path) -> str:
    """Digest of a module and of all it imports from the folder of its package, in hexadecimal."""
    root = module.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    found = {module}
    waiting = [module]
    while waiting:
        new = _imports(waiting.pop(), root) - found
        found |= new
        waiting += new
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(_source(path))
    return digest.hexdigest()[:DIGITS]


@cache
def _source(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _imports(path: Path, root: Path) -> frozenset[Path]:
    """Files below `root` that a file imports: `a/b.py` or `a/b/c.py` for `from a.b import c`."""
    names: list[str] = []
    for package, members, whole in _IMPORT.findall(_source(path).decode()):
        names += [package or whole]
        names += [f"{package}.{word}" for word in re.findall(r"\w+", members)]
    files = (root.joinpath(*name.split(".")).with_suffix(".py") for name in names)
    return frozenset(file for file in files if file.is_file())
