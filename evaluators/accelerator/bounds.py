"""What no format and no mapping can beat: the entropy of the zeros and the compulsory traffic.

The entropy bound is the least mean number of bits that tell where a tensor's non-zeros are, plus
their payload. The compulsory bound moves every tensor once across the outermost boundary in that
many bits, and issues the computes that the accelerator's gating and skipping leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, lgamma, log, log2, prod

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.formats.compression import binary_entropy
from evaluators.sparsity.density_model import DensityModel
from spaces.sparsity.sparsity import DENSE, DensitySpec


def position_bits_per_element(spec: DensitySpec, model: DensityModel) -> float:
    """Entropy of the positions of the non-zeros [bits per element].

    Bernoulli zeros: H(d). Hypergeometric: log2 C(N, r) / N of the tensor. N:M: log2 C(M, N) / M.
    Blocks: H(d) per block. Dead columns: H within the live ones; naming the columns costs next to
    nothing per element. Banded and fixed-structured positions are known. A mask is taken as if its
    zeros were independent, which structure can beat.

    >>> from evaluators.sparsity.density import density_model
    >>> spec = DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"})
    >>> round(position_bits_per_element(spec, density_model(spec, ("K",), (64,))), 4)
    0.6462
    """
    parameters = spec.parameters
    if spec.model in ("dense", "fixed_structured", "banded"):
        return 0.0
    if spec.model == "n_m":
        n, m = int(parameters["n"]), int(parameters["m"])
        return float(log2(comb(m, n)) / m)
    if spec.model == "block":
        return float(binary_entropy(model.density)) / float(prod(parameters["block"].values()))
    if spec.model == "hypergeometric":
        elements = float(prod(model.sizes))
        kept = round(model.density * elements)
        nats = lgamma(elements + 1) - lgamma(kept + 1) - lgamma(elements - kept + 1)
        return nats / log(2) / elements
    if spec.model == "dead_columns":
        alive = 1.0 - float(parameters["dead"])
        inside = float(binary_entropy(min(1.0, model.density / alive)))
        return alive * inside  # which columns are dead is free: it vanishes per element
    return float(binary_entropy(model.density))


@dataclass(frozen=True)
class Bound:
    """Compulsory cost of one run of an operator.

    Attributes:
        bits_per_element: Tensor name -> entropy bound of its stored form [bits per element].
        energy_pj: Moving every tensor once, but those that stay on chip, and the computes.
        latency_cycles: The longer of the outermost traffic and the computes.
    """

    bits_per_element: dict[str, float]
    energy_pj: float
    latency_cycles: float


def compulsory_bound(part: SparseAccelerator) -> Bound:
    """The bound of one operator; its metrics divided by it say what is left to win."""
    operator = part.operator
    bits: dict[str, float] = {}
    for t, tensor in enumerate(operator.tensors):
        model = part.density_models[t]
        spec = part.densities.get(tensor.name, DENSE)
        last = t == len(operator.tensors) - 1
        width = part.final_bits if last else float(part.word_bits[t])
        bits[tensor.name] = position_bits_per_element(spec, model) + model.density * width
    moved = {
        tensor.name: 0.0 if tensor.resident else bits[tensor.name] * elements
        for tensor in operator.tensors
        for elements in [operator.tensor_elements(tensor.name)]
    }
    written = moved[operator.output.name]
    read = sum(moved.values()) - written
    price, compute, _ = part.price_tables
    energy = read * price[0][0] + written * price[0][1] + _real_macs(part) * compute[0]
    return Bound(bits, float(energy), max(_traffic_cycles(part, read, written), _cycles(part)))


def _traffic_cycles(part: SparseAccelerator, read: float, written: float) -> float:
    level = part.hardware.levels[0]
    if level.shared_port:
        return (read + written) / level.read_bits_per_cycle
    return max(read / level.read_bits_per_cycle, written / level.write_bits_per_cycle)


def _effectual(part: SparseAccelerator) -> float:
    return float(prod(model.density for model in part.density_models[:-1]))


def _skips(part: SparseAccelerator) -> bool:
    rules = part.optimization
    return rules.compute == "skipping" or any(rule.kind == "skipping" for rule in rules.rules)


def _real_macs(part: SparseAccelerator) -> float:
    """Computes that must pay full energy: the effectual ones where zeros are gated or skipped."""
    aware = bool(part.optimization.rules) or part.optimization.compute != "none"
    return part.operator.macs * (_effectual(part) if aware else 1.0)


def _cycles(part: SparseAccelerator) -> float:
    macs = part.operator.macs * (_effectual(part) if _skips(part) else 1.0)
    return macs / (part.hardware.instances[-1] * part.hardware.compute.macs_per_cycle)
