"""Tensors of a safetensors file, read without loading the rest of the file.

The format is eight bytes (the header's length, little-endian), a JSON header that gives every
tensor's type, shape and byte range, and the bytes. bfloat16, which numpy lacks, becomes float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
"""Types that are read, and how their bytes are viewed."""


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """Entries of the tensors in a file, and the byte at which data begin.

    Raises:
        ValueError: If there is no such file or it is no safetensors file.
    """
    if not file.is_file():
        raise ValueError(f"no file {file}")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= file.stat().st_size - 8:
            raise ValueError(f"{file} cannot be read as safetensors: bad header length")
        text = stream.read(length)
    try:
        header = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as safetensors: bad header") from error
    header.pop("__metadata__", None)
    return header, 8 + length


def read_tensor(path: str | Path, name: str) -> NDArray[Any]:
    """One tensor of a local safetensors file, in its own shape.

    Raises:
        ValueError: If the file, or the tensor in it, is missing, damaged or of an unread type.
    """
    file = Path(path).expanduser()
    header, begin = read_header(file)
    if name not in header:
        first = ", ".join(sorted(header)[:3])
        raise ValueError(f"{file}: no tensor {name!r}, the first: {first}")
    kind, shape = header[name]["dtype"], tuple(header[name]["shape"])
    start, stop = header[name]["data_offsets"]
    if kind not in DTYPES:
        raise ValueError(f"{file}: tensor {name!r} has type {kind}, read are {', '.join(DTYPES)}")
    dtype = np.dtype(DTYPES[kind])
    count = (stop - start) // dtype.itemsize
    if begin + stop > file.stat().st_size:
        raise ValueError(f"{file} cannot be read as safetensors: tensor {name!r} is cut off")
    values = np.fromfile(file, dtype=dtype, count=count, offset=begin + start).reshape(shape)
    return _widened(values) if kind == "BF16" else values


def _widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 bits as float32: they are its upper half."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
