"""A transformer as arrays see it: stationary projections in stages, and the digital work between.

Only parameterised products sit in arrays; products of two activations stay digital. Projections
that run at the same time form a stage: queries, keys and values; gate and up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from spaces.workloads.transformer import TransformerShape, mean_visible_keys


@dataclass(frozen=True)
class ProjectionSite:
    """Equal weight matrices that one mapping decision covers.

    Attributes:
        name: Unique in the model, for example "encoder.qkv".
        in_features, out_features: Of each matrix.
        parallel: Matrices that read the same input at the same time (3 for queries, keys, values).
        layers: Layers that repeat them.
        stage: Sites with equal stage run in parallel; stages run in order in every layer.
        after: Digital work that follows, as (kind, size): attention (multiply-accumulates of one
            token), add, layernorm, activation (values). Attention must see all tokens before the
            next stage may start.
    """

    name: str
    in_features: int
    out_features: int
    parallel: int = 1
    layers: int = 1
    stage: int = 0
    after: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        for name in ("in_features", "out_features", "parallel", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"site {self.name!r}: {name} must be >= 1, got {getattr(self, name)}"
                )

    @property
    def matrices(self) -> int:
        """Weight matrices of this site in the whole model."""
        return self.parallel * self.layers

    @property
    def parameters(self) -> int:
        """Dense weights of this site in the whole model."""
        return self.matrices * self.in_features * self.out_features


@dataclass(frozen=True)
class CimModel:
    """A model for in-memory compute.

    Attributes:
        name: Readable.
        sites: In the order of execution; every layer of a stack repeats its sites.
        tokens: Tokens of one inference.
    """

    name: str
    sites: tuple[ProjectionSite, ...]
    tokens: int = 1

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError(f"model {self.name!r}: sites must not be empty")
        layers_of_stage: dict[int, int] = {}
        for site in self.sites:
            expected = layers_of_stage.setdefault(site.stage, site.layers)
            if site.layers != expected:
                raise ValueError(
                    f"site {site.name!r}: layers must be {expected} as in the other sites of "
                    f"stage {site.stage}, got {site.layers}"
                )

    @property
    def parameters(self) -> int:
        """Dense weights in arrays."""
        return sum(site.parameters for site in self.sites)

    def dense_flops(self) -> float:
        """Floating-point operations of one inference with dense weights, attention included."""
        return 2.0 * self.tokens * (self.parameters + self.digital_sizes().get("attention", 0))

    def digital_sizes(self) -> dict[str, int]:
        """Kind of digital work -> values (or MACs of attention) of one token, all layers."""
        return self._digital(lambda size: size)

    def digital_operations(self) -> dict[str, int]:
        """Kind of digital work -> operations of one token, all layers."""
        return self._digital(lambda _: 1)

    def _digital(self, weight: Callable[[int], int]) -> dict[str, int]:
        totals: dict[str, int] = {}
        for site in self.sites:
            for kind, size in site.after:
                totals[kind] = totals.get(kind, 0) + site.layers * weight(size)
        return totals

    def per_layer(self) -> CimModel:
        """The same model with a site per layer, so that every layer may be mapped on its own."""
        sites: list[ProjectionSite] = []
        for stage in sorted({site.stage for site in self.sites}):
            group = [site for site in self.sites if site.stage == stage]
            for layer in range(group[0].layers):
                sites += [
                    replace(site, name=f"{site.name}.{layer}", layers=1, stage=stage * 4096 + layer)
                    for site in group
                ]
        return replace(self, sites=tuple(sites))


def cim_model(shape: TransformerShape, tokens: int, context: int = 0) -> CimModel:
    """The projections and digital work of a transformer; embeddings and LM head stay outside.

    Args:
        shape: The architecture.
        tokens: Tokens of one inference: the prompt, or 1 for a decode step.
        context: Positions attended; 0 = as many as tokens. Causal decoders see the average of
            what their positions see when they read a prompt.
    """
    if tokens < 1 or context < 0:
        raise ValueError(f"tokens must be >= 1 and context >= 0, got {tokens} and {context}")
    attended = context or tokens
    causal = mean_visible_keys(attended) if tokens > 1 and shape.causal else attended
    crossed = bool(shape.encoder_layers and shape.decoder_layers)
    sites: list[ProjectionSite] = []
    if shape.encoder_layers:
        sites += _layer_sites(shape, "encoder." if crossed else "", shape.encoder_layers, attended)
    if shape.decoder_layers:
        sites += _layer_sites(shape, "decoder." if crossed else "", shape.decoder_layers, causal)
    if crossed:
        sites += _cross_sites(shape, attended)
    return CimModel(f"{shape.name}, {tokens} tokens", _numbered(sites), tokens)


def _numbered(sites: list[ProjectionSite]) -> tuple[ProjectionSite, ...]:
    """Stages in order of appearance; a site marked -1 joins the stage of the one before it."""
    stage, numbered = -1, []
    for site in sites:
        stage += int(site.stage == 0)
        numbered.append(replace(site, stage=stage))
    return tuple(numbered)


def _attention(shape: TransformerShape, attended: int) -> tuple[tuple[str, int], ...]:
    """Scores and context of one token."""
    return (("attention", 2 * shape.query_width * attended),)


def _residual(shape: TransformerShape) -> tuple[tuple[str, int], ...]:
    return (("add", shape.hidden), ("layernorm", shape.hidden))


def _layer_sites(
    shape: TransformerShape, prefix: str, layers: int, attended: int
) -> list[ProjectionSite]:
    """Attention and feed-forward projections of one stack."""
    hidden, inner, residual = shape.hidden, shape.feed_forward, _residual(shape)
    up_name, ups = ("gate_up", 2) if shape.gated else ("up", 1)
    activation = (("activation", inner),)
    return [
        *_queries_and_keys(shape, prefix, layers, attended),
        ProjectionSite(f"{prefix}o", shape.query_width, hidden, 1, layers, 0, residual),
        ProjectionSite(f"{prefix}{up_name}", hidden, inner, ups, layers, 0, activation),
        ProjectionSite(f"{prefix}down", inner, hidden, 1, layers, 0, residual),
    ]


def _queries_and_keys(
    shape: TransformerShape, prefix: str, layers: int, attended: int
) -> list[ProjectionSite]:
    """One site when queries, keys and values have one shape, two otherwise."""
    hidden, after = shape.hidden, _attention(shape, attended)
    if shape.query_width == shape.key_width:
        return [ProjectionSite(f"{prefix}qkv", hidden, shape.query_width, 3, layers, 0, after)]
    return [
        ProjectionSite(f"{prefix}q", hidden, shape.query_width, 1, layers, 0, after),
        ProjectionSite(f"{prefix}kv", hidden, shape.key_width, 2, layers, -1),
    ]


def _cross_sites(shape: TransformerShape, attended: int) -> list[ProjectionSite]:
    hidden, layers, after = shape.hidden, shape.decoder_layers, _attention(shape, attended)
    return [
        ProjectionSite("cross.q", hidden, shape.query_width, 1, layers, 0, after),
        ProjectionSite("cross.kv", hidden, shape.key_width, 2, layers, -1),
        ProjectionSite("cross.o", shape.query_width, hidden, 1, layers, 0, _residual(shape)),
    ]


def cim_model_of_pass(
    shape: TransformerShape, phase: str = "prefill", context: int = 512, granularity: str = "site"
) -> CimModel:
    """The model of one pass as a configuration names it.

    Args:
        shape: The architecture.
        phase: `prefill` (all positions of the context at once) or `decode` (one token).
        context: Prompt length, or positions attended.
        granularity: `site` (all layers decide alike) or `layer`.
    """
    if phase not in ("prefill", "decode"):
        raise ValueError(f"phase must be prefill or decode, got {phase!r}")
    if granularity not in ("site", "layer"):
        raise ValueError(f"granularity must be site or layer, got {granularity!r}")
    model = cim_model(shape, context if phase == "prefill" else 1, context)
    return model if granularity == "site" else model.per_layer()
