"""A workload in a file: operators that a user, or an import, states one by one.

::

    schema: cosearch.workload/2
    name: my block
    tokens: 1                             # that one run of all operators stands for
    operators:
      - name: q_proj
        ranks: {M: 1, K: 4096, N: 4096}
        tensors:                          # operands and, last, the result
          A: {dimensions: [M, K], class: activation}
          W: {dimensions: [K, N], class: weight}
          Z: {dimensions: [M, N], class: output}
        count: 32
    left_out: {softmax: 1000}             # operations that are no products
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from spaces.documents import located, read_document, read_text, write_document
from spaces.mappings.design_fields import operator_from_data, operator_to_data
from spaces.schemas import schema_name
from spaces.validation import field_errors
from spaces.workloads.workload import Operator, Precision, Workload


def workload_file(path: str | Path, bits: Precision | None = None) -> Workload:
    """The workload of a file.

    Args:
        path: The file.
        bits: Word widths, 8-bit operands by default.

    Raises:
        FileError: If the file is missing, does not parse, or breaks a rule; one line.
    """
    data = read_document(path, "workload")
    with located(path, read_text(path)), field_errors("operators"):
        workload = Workload(
            name=data.get("name", Path(path).stem),
            operators=tuple(_operators(data["operators"])),
            tokens=data.get("tokens", 1),
            precision=bits or Precision(),
            left_out=data.get("left_out", {}),
        )
    return replace(workload, parameters=workload.matmul_parameters)


def _operators(items: Sequence[Mapping[str, Any]]) -> list[Operator]:
    return [operator_from_data(item, f"operators[{i}]") for i, item in enumerate(items)]


def write_workload(path: str | Path, name: str, operators: Sequence[Operator]) -> None:
    """Write operators as a workload file."""
    data = {
        "schema": schema_name("workload"),
        "name": name,
        "operators": [operator_to_data(operator) for operator in operators],
    }
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=100)
    write_document(path, "workload", text)
