"""A whole model on one sparse accelerator: operators that separate once the formats are shared.

`SparseModel` builds one `SparseAccelerator` per distinct operator (equal shape, densities and
roles are priced once and counted) and adds their costs up. Which formats the accelerator's
decoders support is a shared decision; which of them a tensor uses at which level belongs to the
best mapping of its operator, found by an inner search.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from evaluators.accelerator.decoder import NO_DECODER, Decoder
from evaluators.accelerator.format_dominance import BoolArray, dominance, undominated
from evaluators.accelerator.intersection import NO_OPTIMIZATION, SparseOptimization
from evaluators.accelerator.model_report import (
    comparison_rows,
    energy_breakdown,
    explain_model,
)
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.accelerator.technology import Technology
from spaces.formats.compression_format import UNCOMPRESSED, Format
from spaces.formats.format_grammar import parse_format
from spaces.formats.offered_formats import FormatOffer, flat_texts
from spaces.formats.shared_formats import DENSE_STORAGE
from spaces.hardware import Hardware
from spaces.mappings.dataflow import FREE, Dataflow, MappingRules, mapping_rules
from spaces.mappings.loop_nest import MappingBatch
from spaces.sparsity.sparsity import (
    DensitySpec,
    SparsityProfile,
    block,
    n_m,
    split_by_layer,
    unstructured,
)
from spaces.workloads.workload import Operator, Tensor, Workload

BASELINES = (DENSE_STORAGE, "bitmap", "rle", "csr", "coo")
"""Formats that every study prices alone, one for all tensors, each with its own best mappings."""

BEST_SINGLE = "best tuned single-level"
THIS_STUDY = "this study"
EVERY_FORMAT = "every format offered (bound)"
STRIP_CASES = (DENSE_STORAGE, "bitmap", BEST_SINGLE, THIS_STUDY, EVERY_FORMAT)
"""Cases repeated at other densities."""

SUMS = ("energy_pj", "memory_energy_pj", "latency_cycles", "latency_s")
"""Metrics that add up over operators, run one after another."""


@dataclass(frozen=True)
class SparseModel:
    """The operators of a workload on one accelerator.

    Attributes:
        workload: Operators with counts, tokens and precision.
        sparsity: Zeros of every tensor; layer-wise densities split operators.
        hardware: The accelerator.
        offered: Tensor class -> formats that trials choose from; tensors of other classes and
            tensors without zeros are stored uncompressed.
        technology: Prices of accesses and computes.
        optimization: Gating and skipping; levels may be called `innermost` and `outermost`, rules
            on tensors that an operator lacks rest there.
        decoder: Cost of decoding; for an exact search energy only.
        stationarity: "implicit" or "explicit".
        dataflow: Constraints on every mapping.
        run_bits: Widths of run lengths among the single-level formats compared with.
    """

    workload: Workload
    sparsity: SparsityProfile
    hardware: Hardware
    offered: Mapping[str, FormatOffer]
    technology: Technology = field(default_factory=Technology)
    optimization: SparseOptimization = NO_OPTIMIZATION
    decoder: Decoder = NO_DECODER
    stationarity: str = "implicit"
    dataflow: Dataflow = FREE
    run_bits: Sequence[int] = (2, 3, 4, 5, 6, 8, 10)

    @property
    def flat(self) -> tuple[str, ...]:
        """Formats of one compressed level, the baseline that headlines are led by."""
        return flat_texts(self.run_bits)

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """The workload's operators, split where layers differ in density."""
        return split_by_layer(self.workload, self.sparsity).operators

    @cached_property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """Tensor class -> every format name in use: the offered ones and the baselines."""
        return {
            tensor_class: tuple(
                dict.fromkeys((DENSE_STORAGE, *offer.texts, *BASELINES, *self.flat))
            )
            for tensor_class, offer in self.offered.items()
        }

    @cached_property
    def problems(self) -> tuple[Hashable, ...]:
        """What the best mapping of each operator depends on, formats offered aside."""
        return tuple(self._problem(operator) for operator in self.operators)

    @cached_property
    def parts(self) -> tuple[SparseAccelerator, ...]:
        """One evaluator per operator; equal problems share one."""
        built: dict[Hashable, SparseAccelerator] = {}
        for operator, problem in zip(self.operators, self.problems, strict=True):
            if problem not in built:
                built[problem] = self._evaluator(operator)
        return tuple(built[problem] for problem in self.problems)

    def _problem(self, operator: Operator) -> Hashable:
        densities = [self._density(operator, tensor) for tensor in operator.tensors]
        keys = [(d.model, d.density, repr(sorted(d.parameters.items()))) for d in densities]
        return tuple(operator.ranks.items()), operator.tensors, tuple(keys)

    @cached_property
    def _densities(self) -> Mapping[tuple[str, str], DensitySpec]:
        """(operator, tensor) -> zeros."""
        return {
            (operator.name, tensor.name): self.sparsity.resolve(operator, tensor)
            for operator in self.operators
            for tensor in operator.tensors
        }

    def _density(self, operator: Operator, tensor: Tensor) -> DensitySpec:
        return self._densities[operator.name, tensor.name]

    def _evaluator(self, operator: Operator) -> SparseAccelerator:
        return SparseAccelerator(
            operator=operator,
            hardware=self.hardware,
            densities={t.name: self._density(operator, t) for t in operator.tensors},
            formats={
                t.name: self._formats(t) for t in operator.tensors if self._coded(operator, t)
            },
            precision=self.workload.precision,
            technology=self.technology,
            optimization=self._optimization(operator),
            decoder=self.decoder,
            stationarity=self.stationarity,
        )

    def _optimization(self, operator: Operator) -> SparseOptimization:
        present = {tensor.name for tensor in operator.tensors}
        names = self.hardware.level_names
        alias = {"innermost": names[-1], "outermost": names[0]}
        rules = tuple(
            replace(rule, level=alias.get(rule.level, rule.level))
            for rule in self.optimization.rules
            if {rule.target, *rule.leaders} <= present
        )
        return replace(self.optimization, rules=rules)

    def _coded(self, operator: Operator, tensor: Tensor) -> bool:
        """Whether a tensor is stored in a compressed format at all: it has zeros to save."""
        sparse = self._density(operator, tensor).density < 1.0
        return sparse and tensor.tensor_class.value in self.names

    def _formats(self, tensor: Tensor) -> tuple[Format, ...]:
        dimensions = [dimension.name for dimension in tensor.dimensions]
        names = self.names[tensor.tensor_class.value]
        return (UNCOMPRESSED, *(parse_format(name, dimensions) for name in names[1:]))

    # --- what a nested search asks for --------------------------------------------------------

    @property
    def counts(self) -> tuple[int, ...]:
        """Runs of every operator in one run of the model."""
        return tuple(operator.count for operator in self.operators)

    @property
    def clock_hz(self) -> float:
        """Cycles per second."""
        return self.hardware.clock_hz

    def part_name(self, part: int) -> str:
        """The operator's name."""
        return self.operators[part].name

    def rules(self, part: int) -> MappingRules | None:
        """The dataflow resolved for one operator; None when every mapping is free."""
        if self.dataflow == FREE:
            return None
        return mapping_rules(self.dataflow, self.operators[part], self.hardware)

    def alternatives(
        self, decisions: Mapping[str, Any], part: int
    ) -> tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]:
        """The format choices that one operator may use under shared decisions.

        Each alternative gives format ids per (tensor, level), and stores every compressed tensor
        in one of the offered formats: at the outermost level always, at inner levels either in the
        same format or decoded. Transcoding from one compressed format to another is not offered.
        Formats that another offered one beats for every tile are left out: no optimum needs them.
        """
        operator = self.operators[part]
        inner = len(self.hardware.levels) - 1
        options = []
        for t, tensor in enumerate(operator.tensors):
            ids: tuple[int, ...] = (0,)
            if self._coded(operator, tensor):
                ids = self.chosen_ids(decisions, tensor.tensor_class.value)
            if len(ids) > 1:
                ids = undominated(ids, self._dominance(part)[t])
            options.append([((i,), *(tuple(sorted({0, i})),) * inner) for i in ids])
        return tuple(product(*options))

    def _dominance(self, part: int) -> tuple[BoolArray, ...]:
        problem = self.problems[part]
        if problem not in self._dominances:
            self._dominances[problem] = dominance(self.parts[part])
        return self._dominances[problem]

    @cached_property
    def _dominances(self) -> dict[Hashable, tuple[BoolArray, ...]]:
        """Problem -> which formats beat which; a memory of pure values."""
        return {}

    def chosen_ids(self, decisions: Mapping[str, Any], tensor_class: str) -> tuple[int, ...]:
        """Ids of the formats that the decisions offer to a tensor class, ascending."""
        names = self.names[tensor_class]
        prefix = f"{tensor_class}_format_"
        chosen = {str(value) for key, value in decisions.items() if key.startswith(prefix)}
        return tuple(sorted(names.index(name) for name in chosen))

    def total(self, costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Metrics of one run of the model from those of one run of every operator."""
        sums = {
            name: sum(count * cost[name] for count, cost in zip(self.counts, costs, strict=True))
            for name in SUMS
        }
        energy_j, seconds = sums["energy_pj"] * 1e-12, sums["latency_s"]
        tokens = self.workload.tokens
        return {
            **sums,
            "edp_j_s": energy_j * seconds,
            "average_power_w": energy_j / seconds,
            "tokens_per_s": tokens / seconds,
            "energy_j_per_token": energy_j / tokens,
            "area_mm2": self.parts[0].area_mm2,
        }

    def level_energies(self, found: Sequence[MappingBatch]) -> dict[str, float]:
        """Storage level -> energy of its accesses in one run of the model [pJ]."""
        explained = [part.explain(each) for part, each in zip(self.parts, found, strict=True)]
        parts = energy_breakdown(self.operators, explained)
        return {name: sum(parts[name].values()) for name in self.hardware.level_names}

    def stored_bits(self, decisions: Mapping[str, Any]) -> float:
        """Bits of the sparse tensors, each encoded as a whole in its best offered format.

        What the model needs at rest; tiles that a mapping cuts are encoded apart, see `tile_bits`
        of `CostTerms`.
        """
        total = 0.0
        for operator, part in zip(self.operators, self.parts, strict=True):
            terms = part.cost_terms()
            for t, tensor in enumerate(operator.tensors):
                if self._coded(operator, tensor):
                    ids = np.array(self.chosen_ids(decisions, tensor.tensor_class.value))
                    bits = terms.tile_bits(t, 0, ids, terms.rank_sizes[None]).sum(axis=-1)
                    total += operator.count * float(bits.min())
        return total

    def comparisons(
        self, decisions: Mapping[str, Any]
    ) -> dict[str, dict[str, tuple[SparseModel, dict[str, Any]]]]:
        """The decisions beside the baselines, and both over other densities."""
        return {
            "Formats compared, each with its own best mappings": self._cases(decisions),
            "The same totals at other densities": {
                f"{label}: {name}": (model, chosen)
                for label, model in self._at_other_densities.items()
                for name, (_, chosen) in self._cases(decisions).items()
                if name in STRIP_CASES
            },
        }

    def _cases(self, decisions: Mapping[str, Any]) -> dict[str, tuple[SparseModel, dict[str, Any]]]:
        named = self.reference_decisions(str(decisions["mapping_goal"]))
        named = {**named, THIS_STUDY: dict(decisions)}
        named[EVERY_FORMAT] = named.pop(EVERY_FORMAT)
        return {name: (self, chosen) for name, chosen in named.items()}

    def reference_decisions(self, goal: str) -> dict[str, dict[str, Any]]:
        """Each common format alone, the best single-level ones, and every format at once."""
        return {
            **{name: self._offer([name], goal) for name in BASELINES},
            BEST_SINGLE: self._offer(self.flat, goal),
            EVERY_FORMAT: dict(self.unrestricted(goal)),
        }

    def _offer(self, names: Sequence[str], goal: str) -> dict[str, Any]:
        offers = {
            f"{tensor_class}_format_{slot}": name
            for tensor_class in self.offered
            for slot, name in enumerate(names, start=1)
        }
        return offers | {"mapping_goal": goal}

    @cached_property
    def _at_other_densities(self) -> dict[str, SparseModel]:
        profiles = {f"density {d:g}": unstructured(d) for d in (0.5, 0.3, 0.2, 0.1)}
        profiles |= {"2:4": n_m(2, 4), "16x16 blocks, density 0.3": block(0.3)}
        return {
            label: replace(self, sparsity=SparsityProfile(label, weight=spec))
            for label, spec in profiles.items()
        }

    def comparison_rows(
        self, cases: Mapping[str, tuple[Mapping[str, float], Sequence[MappingBatch]]]
    ) -> list[dict[str, Any]]:
        """One row per case; savings are over the best single-level format of the same densities."""
        return comparison_rows(cases, BEST_SINGLE)

    def unrestricted(self, goal: str) -> dict[str, Any]:
        """Decisions that offer every format at once: a bound on any choice of a few."""
        offers = {
            f"{tensor_class}_format_{slot}": name
            for tensor_class, names in self.names.items()
            for slot, name in enumerate(names, start=1)
        }
        return offers | {"mapping_goal": goal}

    def formats_used(self, found: Sequence[MappingBatch]) -> dict[str, tuple[str, ...]]:
        """Tensor class -> formats that the best mappings hold compressed tensors in.

        The importance of a format is the number of elements it moves from the outermost level in
        one run of the model; the most important comes first.
        """
        weights: dict[str, dict[str, int]] = {tensor_class: {} for tensor_class in self.names}
        for operator, mapping in zip(self.operators, found, strict=True):
            for t, tensor in enumerate(operator.tensors):
                if not self._coded(operator, tensor):
                    continue
                tensor_class = tensor.tensor_class.value
                elements = operator.tensor_elements(tensor.name) * operator.count
                for number in {int(number) for number in mapping.format_id[0, t] if number}:
                    name = self.names[tensor_class][number]
                    shares = weights[tensor_class]
                    shares[name] = shares.get(name, 0) + elements
        return {
            tensor_class: tuple(sorted(shares, key=lambda name: -shares[name]))
            for tensor_class, shares in weights.items()
        }

    def explain_parts(self, found: Sequence[MappingBatch]) -> dict[str, Any]:
        """Tables, loop nests and design files of the model's best mappings."""
        return explain_model(self.operators, self.parts, found)
