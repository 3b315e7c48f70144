"""A user's energy table, from an Accelergy ERT or a CSV file, as part of a technology.

Every row is either used, unused, or missing, and the check says which: a component that the
hardware lacks, an action without a meaning, or an access whose price still comes from the laws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evaluators.accelerator.technology import ACTIONS, COMPUTE, Technology
from spaces.hardware import Hardware
from spaces.interchange.energy_reference_table import (
    COMPUTE_ACTIONS,
    STORAGE_ACTIONS,
    EnergyRows,
    meant_actions,
    read_energy_rows,
)
from spaces.interchange.timeloop_yaml import Notes

_OWN_WORDS: Mapping[str, str] = {action: action for action in ACTIONS}

_STATED = {
    "read": "read_energy_pj",
    "write": "write_energy_pj",
    "gated": "gated_energy_pj",
    "metadata_read": "metadata_energy_pj",
    "metadata_write": "metadata_write_energy_pj",
}
"""Action -> the field of a level that wins over any table."""


@dataclass(frozen=True)
class TableCheck:
    """What becomes of the rows of a table on one hardware; rows are `component.action`.

    Attributes:
        used: Rows that set a price.
        unused: Row -> why it sets none.
        missing: Accesses that the laws price, because no row does.
    """

    used: tuple[str, ...]
    unused: Mapping[str, str]
    missing: tuple[str, ...]

    def lines(self) -> list[str]:
        """The check as text, one fact per line."""
        return [
            *(f"used     {row}" for row in self.used),
            *(f"unused   {row}: {reason}" for row, reason in self.unused.items()),
            *(f"missing  {row}: priced by the laws" for row in self.missing),
        ]


def technology_from_table(
    path: str, compute: str = COMPUTE, base: Technology | None = None
) -> Technology:
    """A technology whose energies come from a file where it has them.

    Args:
        path: An ERT in YAML, or a CSV file with the columns component, action, pJ; energies are
            per access.
        compute: The file's name of the compute unit.
        base: Laws and constants for the rest.

    Raises:
        ValueError: One line with file, line, key and rule.
    """
    rows = read_energy_rows(Path(path), Notes())
    table = {name: _meant(name, actions, compute) for name, actions in rows.items()}
    table = {COMPUTE if name == compute else name: row for name, row in table.items() if row}
    start = base or Technology()
    merged = {**start.energy_table, **table}
    return replace(start, name=Path(path).stem, energy_table=merged, source=str(path))


def _meant(component: str, actions: Mapping[str, float], compute: str) -> dict[str, float]:
    if component == compute:
        return meant_actions(actions, COMPUTE_ACTIONS)
    return meant_actions(actions, {**_OWN_WORDS, **STORAGE_ACTIONS})


def check_table(rows: EnergyRows, hardware: Hardware, compute: str = COMPUTE) -> TableCheck:
    """Used, unused and missing rows of a table on this hardware.

    >>> from spaces.hardware import Level
    >>> check = check_table({"RF": {"read": 1.0, "leak": 0.1}}, Hardware("x", (Level("RF"),)))
    >>> check.used, dict(check.unused)
    (('RF.read',), {'RF.leak': 'the action has no meaning here'})
    >>> check.missing[:2]
    ('RF.write', 'RF.gated')
    """
    used: list[str] = []
    unused: dict[str, str] = {}
    levels = {level.name: level for level in hardware.levels}
    priced: set[tuple[str, str]] = set()
    for component, actions in rows.items():
        meanings = COMPUTE_ACTIONS if component == compute else {**_OWN_WORDS, **STORAGE_ACTIONS}
        for action in [*(a for a in meanings if a in actions), *(set(actions) - set(meanings))]:
            row, meaning = f"{component}.{action}", meanings.get(action)
            if component not in levels and component != compute:
                unused[row] = f"the hardware has no {component}"
            elif meaning is None:
                unused[row] = "the action has no meaning here"
            elif (component, meaning) in priced:
                unused[row] = f"another row prices {meaning} already"
            elif component in levels and _states(hardware, component, meaning):
                unused[row] = f"{component} states its {meaning} energy itself"
            else:
                priced.add((component, meaning))
                used.append(row)
    return TableCheck(tuple(used), unused, _missing(hardware, compute, priced))


def check_energy_file(path: str, hardware: Hardware, compute: str = COMPUTE) -> TableCheck:
    """`check_table` of a file: an ERT in YAML, or CSV.

    Raises:
        ValueError: One line with file, line, key and rule.
    """
    return check_table(read_energy_rows(Path(path), Notes()), hardware, compute)


def _states(hardware: Hardware, component: str, action: str) -> bool:
    level = hardware.levels[hardware.level_names.index(component)]
    return getattr(level, _STATED[action]) is not None


def _missing(hardware: Hardware, compute: str, priced: set[tuple[str, str]]) -> tuple[str, ...]:
    rows = [
        f"{name}.{action}"
        for name in hardware.level_names
        for action in ACTIONS
        if (name, action) not in priced and not _states(hardware, name, action)
    ]
    stated = {
        "compute": hardware.compute.energy_pj,
        "gated": hardware.compute.gated_energy_pj,
    }
    rows += [
        f"{compute}.{action}"
        for action, energy in stated.items()
        if energy is None and (compute, action) not in priced
    ]
    return tuple(rows)
