"""Accelergy's reference tables: component -> action -> energy per access, or area per instance.

::

    ERT: {version: 0.4, tables: [{name: system.GLB[1..1], actions: [{name: read, energy: 4.0}]}]}
    ART: {version: 0.4, tables: [{name: system.GLB[1..1], area: 250000.0}]}

Energies are in pJ, areas in um2. A component is known by the last part of its name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spaces.interchange.timeloop_yaml import (
    Node,
    Notes,
    TimeloopError,
    demand,
    fail,
    read_documents,
)
from spaces.validation import nearest

STORAGE_ACTIONS: Mapping[str, str] = {
    "read": "read",
    "write": "write",
    "update": "write",
    "gated_read": "gated",
    "gated_write": "gated",
    "metadata_read": "metadata_read",
    "metadata_write": "metadata_write",
}
"""Action of a storage component -> ours; of two rows with one meaning the first is taken."""

COMPUTE_ACTIONS: Mapping[str, str] = {
    "compute": "compute",
    "mac_random": "compute",
    "mac": "compute",
    "multiply": "compute",
    "gated_compute": "gated",
    "mac_gated": "gated",
    "gated": "gated",
}
"""Action of the compute component -> ours."""

CSV_COLUMNS = ("component", "action", "pJ")
"""Columns of an energy table in CSV."""

_INSTANCES = re.compile(r"\[[^\]]*\]")

EnergyRows = dict[str, dict[str, float]]
"""Component -> action as written -> pJ."""


def component_name(text: str) -> str:
    """The last part of a hierarchical name, without instance ranges.

    >>> component_name("system.chip.PE[0..255].RF[1..1]")
    'RF'
    """
    return _INSTANCES.sub("", text).rsplit(".", 1)[-1]


def read_energy_rows(path: Path, notes: Notes) -> EnergyRows:
    """Rows of an ERT in YAML, or of a CSV file with columns component, action, pJ.

    Raises:
        TimeloopError: If the file cannot be read; one line.
    """
    if path.suffix == ".csv":
        return _csv_rows(path)
    document = read_documents([path], notes)
    return energy_rows(demand(document, "ERT"), notes)


def energy_rows(table: Mapping[str, Any], notes: Notes) -> EnergyRows:
    """Rows of an `ERT` section; where arguments distinguish rows, the largest energy counts."""
    rows: EnergyRows = {}
    for entry in demand(table, "tables"):
        component = component_name(str(demand(entry, "name")))
        actions = rows.setdefault(component, {})
        for action in demand(entry, "actions"):
            name, energy = str(demand(action, "name")), _energy(action)
            if name in actions and actions[name] != energy:
                notes.add(f"{entry.place()}: several energies of {component}.{name}: largest taken")
            actions[name] = max(energy, actions.get(name, 0.0))
    return rows


def area_rows(table: Mapping[str, Any]) -> dict[str, float]:
    """Component -> area [um2] of an `ART` section."""
    return {
        component_name(str(demand(entry, "name"))): float(demand(entry, "area"))
        for entry in demand(table, "tables")
    }


def _energy(action: Node) -> float:
    value = demand(action, "energy")
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise fail(action, "energy", f"must be a number >= 0 [pJ], got {value!r}")
    return float(value)


def _csv_rows(path: Path) -> EnergyRows:
    if not path.is_file():
        raise TimeloopError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        _check_columns(path, reader.fieldnames or [])
        rows: EnergyRows = {}
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            try:
                energy = float(row["pJ"])
            except (TypeError, ValueError):
                raise TimeloopError(f"{where}: pJ: must be a number, got {row['pJ']!r}") from None
            if not energy >= 0:
                raise TimeloopError(f"{where}: pJ: must be >= 0, got {energy}")
            actions = rows.setdefault(row["component"].strip(), {})
            if row["action"].strip() in actions:
                raise TimeloopError(f"{where}: action: {row['action']!r} stands twice")
            actions[row["action"].strip()] = energy
    return rows


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for name in CSV_COLUMNS:
        if name not in names:
            raise TimeloopError(f"{path.name}:1: {name}: column is missing{nearest(name, names)}")


def meant_actions(actions: Mapping[str, float], meanings: Mapping[str, str]) -> dict[str, float]:
    """Our action -> pJ, of the rows that have a meaning; the first row of a meaning counts.

    >>> meant_actions({"read": 4.0, "update": 5.0, "write": 6.0, "leak": 1.0}, STORAGE_ACTIONS)
    {'read': 4.0, 'write': 6.0}
    """
    meant: dict[str, float] = {}
    for name, ours in meanings.items():
        if name in actions:
            meant.setdefault(ours, actions[name])
    return meant
