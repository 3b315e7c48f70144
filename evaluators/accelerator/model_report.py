"""How a model's best mappings read: a row per operator, loop nests, designs that reload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluators.accelerator.bounds import compulsory_bound
from evaluators.accelerator.priced_design import design_of
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.mappings.design_file import design_to_yaml
from spaces.mappings.loop_nest import MappingBatch
from spaces.mappings.nest_text import loop_nest_text
from spaces.workloads.workload import Operator, Tensor, TensorClass

PJ_PER_UJ = 1e6
US_PER_S = 1e6


def explain_model(
    operators: Sequence[Operator],
    parts: Sequence[SparseAccelerator],
    mappings: Sequence[MappingBatch],
) -> dict[str, Any]:
    """Tables, loop nests, design files and the energy breakdown of a model.

    Args:
        operators: In order, with counts.
        parts: The evaluator of each operator.
        mappings: Its mapping, a batch of one.
    """
    explained = [part.explain(mapping) for part, mapping in zip(parts, mappings, strict=True)]
    rows = [
        operator_row(operator, part, account)
        for operator, part, account in zip(operators, parts, explained, strict=True)
    ]
    cases = list(zip(operators, parts, mappings, strict=True))
    return {
        "tables": {"Operators": rows},
        "texts": {f"{o.name} (x{o.count})": nest_of(part, m) for o, part, m in cases},
        "files": {f"{o.name}.yaml": design_text(part, m) for o, part, m in cases},
        "energy_breakdown_pj": energy_breakdown(operators, explained),
    }


def operator_row(
    operator: Operator, part: SparseAccelerator, account: Mapping[str, Any]
) -> dict[str, Any]:
    """One operator beside its bounds; energy and latency are of all its runs."""
    bound = compulsory_bound(part)
    totals = account["totals"]
    stored = stored_operand(operator)
    outermost = account["levels"][part.hardware.levels[0].name]["tensors"]
    bits = outermost[stored.name]["resident_bits"] / operator.tensor_elements(stored.name)
    return {
        "operator": operator.name,
        "runs": operator.count,
        "formats": format_words(stored, account, part),
        "bits/element": bits,
        "entropy bound": bound.bits_per_element[stored.name],
        "energy_uj": totals["energy_pj"] * operator.count / PJ_PER_UJ,
        "energy / bound": totals["energy_pj"] / bound.energy_pj,
        "latency_us": totals["latency_s"] * operator.count * US_PER_S,
        "latency / bound": totals["latency_cycles"] / bound.latency_cycles,
        "bottleneck": account["bottleneck"],
    }


def stored_operand(operator: Operator) -> Tensor:
    """The operand that is there before the run: weights, else cached keys or values."""
    order = (TensorClass.WEIGHT, TensorClass.KV, TensorClass.ACTIVATION)
    operands = operator.tensors[:-1]
    return min(operands, key=lambda tensor: order.index(tensor.tensor_class))


def format_words(tensor: Tensor, account: Mapping[str, Any], part: SparseAccelerator) -> str:
    """Formats of a tensor from the outermost level inwards, equal neighbours once."""
    words: list[str] = []
    for level in part.hardware.levels:
        kept = account["levels"][level.name]["tensors"].get(tensor.name)
        if kept is not None:
            words.append(f"{level.name} {kept['format']}")
    return f"{tensor.name}: {' | '.join(words)}"


def nest_of(part: SparseAccelerator, mapping: MappingBatch) -> str:
    """The loop nest as text, with tiles and formats."""
    return loop_nest_text(part.operator, part.hardware, mapping, 0, part.formats)


def design_text(part: SparseAccelerator, mapping: MappingBatch) -> str:
    """A design file in YAML that `task=evaluate` prices to the same numbers."""
    return design_to_yaml(design_of(part, mapping))


def energy_breakdown(
    operators: Sequence[Operator], explained: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Level -> tensor class -> energy of one run of the model [pJ]; computes and leakage last."""
    parts: dict[str, dict[str, float]] = {}
    for operator, account in zip(operators, explained, strict=True):
        classes = {tensor.name: tensor.tensor_class.value for tensor in operator.tensors}
        for level, entry in account["levels"].items():
            group = parts.setdefault(level, {})
            for name, tensor in entry["tensors"].items():
                energy = tensor["energy_pj"]["total"] * operator.count
                group[classes[name]] = group.get(classes[name], 0.0) + energy
    compute = [account["compute"]["energy_pj"] for account in explained]
    static = [account["static_energy_pj"] for account in explained]
    counts = [operator.count for operator in operators]
    parts["compute"] = {"computes": sum(c * e for c, e in zip(counts, compute, strict=True))}
    parts["leakage"] = {"leakage": sum(c * e for c, e in zip(counts, static, strict=True))}
    return parts


def comparison_rows(
    cases: Mapping[str, tuple[Mapping[str, float], Sequence[MappingBatch]]], reference: str
) -> list[dict[str, Any]]:
    """One row per case; savings are relative to the case whose name ends in `reference`.

    Args:
        cases: `case` or `group: case` -> (total metrics, best mapping per operator). Savings are
            within a group.
        reference: Name of the case that the others are measured against.
    """
    rows = []
    for name, (totals, _) in cases.items():
        group, _, case = name.rpartition(": ")
        base = cases[f"{group}: {reference}" if group else reference][0]
        rows.append(
            {
                **({"weights": group} if group else {}),
                "format": case,
                "energy_mj": totals["energy_pj"] * 1e-9,
                "memory_energy_mj": totals["memory_energy_pj"] * 1e-9,
                "latency_ms": totals["latency_s"] * 1e3,
                "tokens_per_s": totals["tokens_per_s"],
                "mj_per_token": totals["energy_j_per_token"] * 1e3,
                f"memory energy saved vs {reference}": _saving(totals, base, "memory_energy_pj"),
                "EDP saved": _saving(totals, base, "edp_j_s"),
            }
        )
    return rows


def _saving(totals: Mapping[str, float], base: Mapping[str, float], metric: str) -> str:
    return f"{100 * (1 - totals[metric] / base[metric]):+.2f} %"
