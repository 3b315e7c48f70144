"""Where a projection may run and in what form its weights are stored there.

Three machines: the *spatial* core (dense, N:M or Monarch weights, compressed), *digital* in-memory
macros (dense or N:M) and *analog* in-memory arrays (dense, or Monarch under one of the block
mappings). The choices of a machine are those of its own space.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spaces.cim.mapping import CimChoices, CimMappingSpace
from spaces.cim.model import CimModel, ProjectionSite
from spaces.codesign.projections import ProjectionPart
from spaces.sparsity.nm_sparsity import DENSE_PATTERN, NMPattern
from spaces.validation import check_choice

MACHINES = ("spatial", "digital", "analog")
"""What may hold weights; the spatial core is always there, it runs attention."""


@dataclass(frozen=True)
class Placement:
    """One way to run a projection.

    Attributes:
        machine: Of `MACHINES`.
        pattern: N:M of the weights; dense (1:1) unless the machine is spatial or digital.
        mapping: How analog arrays hold the matrix, of `spaces.cim.mapping.MAPPINGS`; empty on
            other machines.
        rule, block: Monarch shape, see `spaces.cim.monarch_shape`; an empty rule is no Monarch.

    >>> str(Placement("spatial", NMPattern(2, 4))), str(Placement("analog", mapping="linear"))
    ('spatial 2:4', 'analog linear')
    """

    machine: str
    pattern: NMPattern = DENSE_PATTERN
    mapping: str = ""
    rule: str = ""
    block: int = 0

    def __str__(self) -> str:
        if self.rule:
            form = f"{self.mapping or 'monarch'} {self.rule}/{self.block}"
        else:
            form = self.mapping or ("dense" if self.pattern.is_dense else str(self.pattern))
        return f"{self.machine} {form}"

    @property
    def form(self) -> str:
        """Kind of approximation: `dense`, `N:M` or `monarch`."""
        if self.rule:
            return "monarch"
        return "dense" if self.pattern.is_dense else "N:M"


def placements(
    machines: Sequence[str], patterns: Iterable[str], analog: CimChoices
) -> tuple[Placement, ...]:
    """Every placement of these machines, each machine's together, the dense one first.

    Args:
        machines: Of `MACHINES`.
        patterns: N:M besides dense, on the spatial core and the digital macros.
        analog: Mappings, rules and blocks of the arrays; its Monarch shapes are offered to the
            spatial core too.
    """
    for machine in machines:
        check_choice("space.machines", machine, MACHINES)
    forms = [DENSE_PATTERN, *(NMPattern.parse(text) for text in patterns)]
    found: list[Placement] = []
    for machine in MACHINES:
        if machine not in machines:
            continue
        if machine == "analog":
            found += _analog(analog)
        else:
            found += [Placement(machine, pattern) for pattern in dict.fromkeys(forms)]
        if machine == "spatial":
            shapes = {(p.rule, p.block) for p in _analog(analog) if p.rule}
            found += [Placement(machine, rule=r, block=b) for r, b in sorted(shapes)]
    return tuple(found)


def _analog(choices: CimChoices) -> list[Placement]:
    """The distinct (mapping, rule, block) of one site, as the mapping space lists them."""
    one_site = CimModel("one site", (ProjectionSite("site", 1, 1),))
    options = CimMappingSpace(one_site, choices).site_options
    found = []
    for mapping, rule, block in options.tolist():
        name = choices.mapping[mapping]
        if name == "linear":
            found.append(Placement("analog", mapping=name))
        else:
            shape = choices.rule[rule], choices.block[block]
            found.append(Placement("analog", DENSE_PATTERN, name, *shape))
    return sorted(found, key=lambda placement: placement.mapping != "linear")


def check_groups(parts: Sequence[ProjectionPart], placed: Sequence[Placement]) -> None:
    """Raise `ValueError` when a group of M does not divide the inputs of a projection."""
    for part in parts:
        for placement in placed:
            if part.reduction % placement.pattern.m:
                raise ValueError(
                    f"space.patterns: M of {placement.pattern} must divide the {part.reduction} "
                    f"inputs of {part.projection}"
                )
