"""How sparse tensors are: specifications, and profiles that give every tensor of a model one.

A specification is data. `evaluators/sparsity/density.py` turns it into probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from spaces.sparsity.nm_sparsity import NMPattern
from spaces.validation import check_key
from spaces.workloads.workload import Operator, Tensor, TensorClass, Workload

MODELS = (
    "dense",
    "bernoulli",
    "hypergeometric",
    "fixed_structured",
    "n_m",
    "block",
    "banded",
    "dead_columns",
    "mask",
)
"""Names of the density models."""

ROLES = ("reduction", "output")
"""Words that a profile may use for the dimensions of any weight or operand."""


@dataclass(frozen=True)
class DensitySpec:
    """Distribution of one tensor's zeros.

    Attributes:
        model: dense, bernoulli, hypergeometric, fixed_structured, n_m, block, banded,
            dead_columns or mask.
        density: Fraction of non-zero elements, 0..1.
        parameters: Of the model, for example {"n": 2, "m": 4, "dimension": "K"} (N kept of M).
            In a profile the words `reduction` and `output` may stand for a dimension's name, see
            `SparsityProfile.resolve`.
        source: Where the number comes from; "synthetic" when it is nobody's measurement.

    Raises:
        ValueError: If the model is unknown or the density is outside 0..1.
    """

    model: str = "dense"
    density: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = "synthetic"

    def __post_init__(self) -> None:
        check_key("density model", self.model, MODELS)
        if isinstance(self.density, bool | str) or not 0.0 <= self.density <= 1.0:
            raise ValueError(f"density must be between 0 and 1, got {self.density!r}")
        if self.model == "dense" and self.density != 1.0:
            raise ValueError(
                f"density of a dense tensor must be 1, got {self.density}; choose a model such as "
                "hypergeometric"
            )


DENSE = DensitySpec(source="no zeros assumed")
"""The tensor has no zeros worth storing."""


def unstructured(
    density: float = 1.0, model: str = "hypergeometric", source: str = "synthetic"
) -> DensitySpec:
    """Zeros without structure, or a dense tensor when the density is 1.

    >>> unstructured(0.3).model, unstructured(1.0).model
    ('hypergeometric', 'dense')
    """
    return DensitySpec("dense" if density == 1.0 else model, density, source=source)


def n_m(n: int, m: int, dimension: str = "reduction", source: str = "synthetic") -> DensitySpec:
    """N of every M consecutive elements along a dimension are kept.

    >>> n_m(2, 4).density
    0.5
    """
    pattern = NMPattern(n, m)
    return DensitySpec("n_m", pattern.density, {"n": n, "m": m, "dimension": dimension}, source)


def block(
    density: float, reduction: int = 16, output: int = 16, source: str = "synthetic"
) -> DensitySpec:
    """Whole blocks of `reduction x output` elements are kept or pruned at random.

    Raises:
        ValueError: If the density is outside 0..1 or an edge is below 1.
    """
    if min(reduction, output) < 1:
        raise ValueError(f"block edges must be >= 1, got {reduction} x {output}")
    edges = {"reduction": reduction, "output": output}
    return DensitySpec("block", density, {"block": edges}, source)


@dataclass(frozen=True)
class DensityRule:
    """An exception to a profile's density of one tensor class.

    Attributes:
        operators: Shell-style patterns of operator names, separated by `|`.
        layers: Layers such as `0-3,31`; empty means all, and operators without layers too.
        tensor_class: Role of the tensors it holds for.
        after: Only for operators fed by this function, such as `relu` (their tag `after`).
        spec: The density there; None keeps the profile's.
        offset: Added to the density (and clipped to 0..1), for layer-wise ratios around a mean;
            without effect on a dense tensor, an N:M pattern or a mask, which fix their density.

    Raises:
        ValueError: If the role or the layers cannot be read.
    """

    operators: str = "*"
    layers: str | int = ""
    tensor_class: str = "weight"
    after: str = ""
    spec: DensitySpec | None = None
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_key("tensor_class", self.tensor_class, [role.value for role in TensorClass])
        parse_layers(self.layers)

    def matches(self, operator: Operator, tensor: Tensor, layer: int | None) -> bool:
        """Whether the rule holds for a tensor of an operator in this layer."""
        if tensor.tensor_class != self.tensor_class:
            return False
        if self.after and operator.tags.get("after") != self.after:
            return False
        patterns = self.operators.split("|")
        if not any(fnmatchcase(operator.role, pattern.strip()) for pattern in patterns):
            return False
        layers = parse_layers(self.layers)
        return not layers or (layer is not None and layer in layers)

    def apply(self, base: DensitySpec) -> DensitySpec:
        """The density that replaces `base`."""
        spec = self.spec or base
        if not self.offset or spec.model in ("dense", "n_m", "mask"):
            return spec
        shifted = min(1.0, max(0.0, round(spec.density + self.offset, 9)))
        return replace(spec, density=shifted)


@dataclass(frozen=True)
class SparsityProfile:
    """Density of every tensor of a model: one per class, and rules that refine it.

    Attributes:
        name: Short name, shown in reports.
        weight: Density of weights; the other classes likewise.
        activation: Of operands computed at run time.
        kv: Of cached keys and values.
        output: Of results as they are written.
        rules: Named exceptions, applied in order; later ones build on earlier ones.
    """

    name: str
    weight: DensitySpec = DENSE
    activation: DensitySpec = DENSE
    kv: DensitySpec = DENSE
    output: DensitySpec = DENSE
    rules: Mapping[str, DensityRule] = field(default_factory=dict, hash=False)

    def resolve(self, operator: Operator, tensor: Tensor) -> DensitySpec:
        """Density of one tensor of an operator, in the names of the tensor's dimensions.

        `reduction` stands for the first dimension that the output lacks (K of a matrix, C of a
        convolution), `output` for the last one that it has (N, or M); window ranks are neither. An
        N:M pattern along a missing dimension, or one shorter than M, leaves the tensor dense (C = 3
        of a first convolution, depthwise convolutions).

        Raises:
            ValueError: If the operator's layers differ: split it with `split_by_layer` first.
        """
        specs = {self._at_layer(operator, tensor, layer) for layer in operator.layers or (None,)}
        if len(specs) > 1:
            raise ValueError(
                f"operator {operator.name!r}: tensor {tensor.name} has {len(specs)} densities in "
                f"its layers under profile {self.name!r}; split the workload by layer first"
            )
        return _localise(specs.pop(), operator, tensor)

    def _at_layer(self, operator: Operator, tensor: Tensor, layer: int | None) -> DensitySpec:
        spec: DensitySpec = getattr(self, tensor.tensor_class.value)
        for rule in self.rules.values():
            if rule.matches(operator, tensor, layer):
                spec = rule.apply(spec)
        return spec

    def layer_groups(self, operator: Operator) -> list[tuple[int, ...]]:
        """The operator's layers, grouped by equal densities of all its tensors."""
        groups: dict[tuple[DensitySpec, ...], list[int]] = {}
        for layer in operator.layers:
            key = tuple(self._at_layer(operator, tensor, layer) for tensor in operator.tensors)
            groups.setdefault(key, []).append(layer)
        return [tuple(layers) for layers in groups.values()]


def n_m_per_layer(
    layers: Sequence[str],
    patterns: Sequence[str],
    weight: DensitySpec = DENSE,
    activation: DensitySpec = DENSE,
    kv: DensitySpec = DENSE,
) -> SparsityProfile:
    """A profile of one N:M weight pattern per group of layers.

    Args:
        layers: Groups of layers, for example ["0-3", "4-31"].
        patterns: Their patterns, kept:group, for example ["4:8", "2:8"].
        weight: Of weights in no listed layer (the LM head's, too).
        activation: Of operands computed at run time.
        kv: Of cached keys and values.

    Raises:
        ValueError: If layers or a pattern cannot be read, or their numbers differ.

    >>> n_m_per_layer(["0-3"], ["4:8"]).rules["0-3"].spec.density
    0.5
    """
    if len(layers) != len(patterns):
        raise ValueError(
            f"patterns must be as many as the {len(layers)} groups in layers, got {len(patterns)}"
        )
    rules = {}
    for group, text in zip(layers, patterns, strict=True):
        pattern = NMPattern.parse(str(text))
        rules[str(group)] = DensityRule(layers=group, spec=n_m(pattern.n, pattern.m))
    return SparsityProfile("nm_per_layer", weight, activation, kv, rules=rules)


def split_by_layer(workload: Workload, profile: SparsityProfile) -> Workload:
    """Give each group of layers with equal densities an operator of its own.

    G groups make at most G operators of one, with the counts shared out; the rest stays as it is.
    A split operator is named `down_proj[0-3]` and keeps its role.
    """
    operators: list[Operator] = []
    for operator in workload.operators:
        groups = profile.layer_groups(operator)
        if len(groups) < 2:
            operators.append(operator)
            continue
        calls = operator.count // len(operator.layers)
        operators += [_part(operator, layers, calls) for layers in groups]
    return replace(workload, operators=tuple(operators))


def _part(operator: Operator, layers: tuple[int, ...], calls: int) -> Operator:
    return replace(
        operator,
        name=f"{operator.role}[{format_layers(layers)}]",
        count=len(layers) * calls,
        layers=layers,
        tags={**operator.tags, "role": operator.role},
    )


def parse_layers(text: str | int) -> frozenset[int]:
    """Layers written as ranges and single numbers.

    >>> sorted(parse_layers("0-2,31"))
    [0, 1, 2, 31]

    Raises:
        ValueError: If a part is neither a number nor a rising range.
    """
    layers: set[int] = set()
    for part in str(text).replace(" ", "").split(",") if str(text) else ():
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdigit() and last.isdigit() and int(first) <= int(last)):
            raise ValueError(f"layers must be written like 0-3,31, got {text!r}")
        layers.update(range(int(first), int(last) + 1))
    return frozenset(layers)


def format_layers(layers: tuple[int, ...]) -> str:
    """Inverse of `parse_layers`, shortest form.

    >>> format_layers((0, 1, 2, 31))
    '0-2,31'
    """
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _localise(spec: DensitySpec, operator: Operator, tensor: Tensor) -> DensitySpec:
    """Replace `reduction` and `output` by dimension names; dense where a pattern cannot fit."""
    names = _dimension_roles(operator, tensor)
    parameters = {key: _renamed(value, names) for key, value in spec.parameters.items()}
    dimension = parameters.get("dimension", "")
    if dimension in ROLES:
        return replace(DENSE, source=f"dense: the tensor has no {dimension} dimension")
    size = operator.ranks.get(dimension, 0)
    if spec.model == "n_m" and size < parameters["m"]:
        return replace(DENSE, source=f"dense: {size} elements are fewer than M of the pattern")
    return replace(spec, parameters=parameters)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A parameter with dimension roles replaced; sizes of a missing dimension are dropped."""
    if isinstance(value, Mapping):
        named = {names.get(key, key): item for key, item in value.items()}
        return {key: item for key, item in named.items() if key not in ROLES}
    return names.get(value, value) if isinstance(value, str) else value


def _dimension_roles(operator: Operator, tensor: Tensor) -> dict[str, str]:
    affine = {
        rank
        for other in operator.tensors
        for dimension in other.dimensions
        if len(dimension.terms) > 1
        for rank, _ in dimension.terms
    }
    plain = [dimension.name for dimension in tensor.dimensions if dimension.name not in affine]
    kept = [name for name in plain if name in operator.output.ranks]
    reduced = [name for name in plain if name in operator.ranks and name not in kept]
    roles = {"reduction": reduced[0]} if reduced else {}
    return roles | ({"output": kept[-1]} if kept else {})
