"""A list of matrix products in a CSV file as a workload.

The first line names the columns: `name, M, K, N` and, if wanted, `B` (independent products),
`count` (repeats) and `operands` (`weight`, the default, or `kv` or `activation`: the role of W).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from spaces.validation import check_key, check_keys
from spaces.workloads.workload import Operator, Precision, TensorClass, Workload, matmul

REQUIRED = ("name", "M", "K", "N")
OPTIONAL = ("B", "count", "operands")
ROLES = (TensorClass.WEIGHT, TensorClass.KV, TensorClass.ACTIVATION)


def gemm_list(path: str, tokens: int = 1, bits: Precision | None = None) -> Workload:
    """Workload of the products listed in a CSV file.

    Args:
        path: The file.
        tokens: Tokens that one run of the whole list stands for.
        bits: Word widths, 8-bit operands by default.

    Raises:
        ValueError: If the file is missing, a column is unknown or missing, or a cell is no size;
            the message names the file, the line and the column.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"workload.path must be a CSV file, got {path}")
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream, skipinitialspace=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        check_keys(f"{file}:1: columns", columns, REQUIRED + OPTIONAL)
        for column in REQUIRED:
            if column not in columns:
                raise ValueError(f"{file}:1: column {column!r} is missing")
        reader.fieldnames = columns
        operators = tuple(_operator(f"{file}:{reader.line_num}", row) for row in reader)
    if not operators:
        raise ValueError(f"{file}:1: holds no products below its header")
    workload = Workload(file.stem, operators, tokens, bits or Precision())
    return replace(workload, parameters=workload.matmul_parameters)


def _operator(where: str, row: Mapping[str, str | None]) -> Operator:
    role = (row.get("operands") or "weight").strip()
    check_key(f"{where}: operands", role, [item.value for item in ROLES])
    sizes = {rank: _size(where, row, rank) for rank in ("M", "K", "N")}
    batch = _size(where, row, "B") if row.get("B") else 1
    return matmul(
        (row["name"] or "").strip(),
        sizes | ({"B": batch} if batch > 1 else {}),
        (TensorClass.ACTIVATION, TensorClass(role)),
        _size(where, row, "count") if row.get("count") else 1,
    )


def _size(where: str, row: Mapping[str, str | None], column: str) -> int:
    text = (row[column] or "").strip()
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{where}: {column}: must be an integer >= 1, got {text!r}")
    return int(text)
