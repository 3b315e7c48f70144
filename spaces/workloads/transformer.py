"""Transformers: decoder-only, encoder-only and encoder-decoder, from their shape.

Tensors of every operator are A[M,K], W[K,N], Z[M,N]. Keys and values have the role KV where they
are cached (decoders, cross-attention) and are plain activations in a bidirectional encoder.
Projections of one role and shape are one operator: `kv_proj` runs twice per layer (keys, values),
`gate_up_proj` twice (gate, up).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from spaces.workloads.language_model import ACTIVATIONS, CACHED, Pass, layered
from spaces.workloads.workload import Operator, matmul, require_positive

CHOICES = {
    "norm": ("rms", "layer"),
    "bias": ("none", "qkv", "all"),
    "head": ("last", "all", "none"),
}


@dataclass(frozen=True)
class TransformerShape:
    """Sizes of a transformer language model, and what of it is counted.

    Attributes:
        name: Short name.
        hidden: Model width.
        heads: Query heads.
        feed_forward: Inner width of the feed-forward block.
        vocabulary: Rows of the token embedding.
        decoder_layers: Causal layers with a KV cache; 0 in an encoder-only model.
        encoder_layers: Bidirectional layers; 0 in a decoder-only model. With both, decoder layers
            have cross-attention.
        kv_heads: Key/value heads of grouped-query attention; 0 means as many as `heads`.
        head_dim: Width of a head; 0 means `hidden / heads`.
        nonlinearity: Function before the last feed-forward matrix; `relu` leaves exact zeros.
        gated: Feed-forward of three matrices (gate, up, down) instead of two (up, down).
        tied_embeddings: The LM head reuses the token embedding.
        bias: `none`, `qkv`, or `all` (projections and feed-forward).
        norm: `rms` (one vector) or `layer` (scale and shift).
        learned_positions: Longest context of learned position embeddings; 0 when rotary.
        position_offset: Extra rows of that table (2 in OPT and BART).
        token_types: Rows of a segment embedding (2 in BERT).
        embedding_norm: A norm follows the embeddings of each stack.
        final_norm: A norm follows the last layer of each stack.
        pooler: A dense layer reads the first position of the encoder (BERT).
        window: Sliding attention window in positions; 0 means unlimited.
        source: Encoder positions that cross-attention reads; 0 means as many as the context.
        causal: Count only the keys that a position may see in a decoder's prefill; False counts
            the full square, which is what hardware that cannot skip the masked half executes.
        head: Positions that the LM head reads in a prefill: `last`, `all`, or `none`.

    Raises:
        ValueError: If a size is out of range or sizes do not fit one another.
    """

    name: str
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    decoder_layers: int = 0
    encoder_layers: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    nonlinearity: str = "gelu"
    gated: bool = False
    tied_embeddings: bool = True
    bias: str = "none"
    norm: str = "layer"
    learned_positions: int = 0
    position_offset: int = 0
    token_types: int = 0
    embedding_norm: bool = False
    final_norm: bool = True
    pooler: bool = False
    window: int = 0
    source: int = 0
    causal: bool = True
    head: str = "last"

    def __post_init__(self) -> None:
        names = ("hidden", "heads", "feed_forward", "vocabulary")
        require_positive({f"{self.name}: {name}": getattr(self, name) for name in names})
        require_positive({f"{self.name}: layers": self.decoder_layers + self.encoder_layers})
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                choices = ", ".join(allowed)
                got = getattr(self, name)
                raise ValueError(f"{self.name}: {name} must be one of {choices}, got {got!r}")
        if self.heads % self.key_heads:
            raise ValueError(
                f"{self.name}: heads must be a multiple of kv_heads={self.kv_heads}, "
                f"got {self.heads}"
            )
        if not self.head_dim and self.hidden % self.heads:
            raise ValueError(
                f"{self.name}: hidden must be a multiple of heads={self.heads} unless head_dim "
                f"is given, got {self.hidden}"
            )

    @property
    def key_heads(self) -> int:
        """Heads of keys and of values."""
        return self.kv_heads or self.heads

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.head_dim or self.hidden // self.heads

    @property
    def query_width(self) -> int:
        """Columns of the query projection."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Columns of the key projection, and of the value projection."""
        return self.key_heads * self.head_width

    @property
    def parameters(self) -> int:
        """All parameters, a tied LM head counted once."""
        crossed = self.decoder_layers if self.encoder_layers else 0
        layers = self.decoder_layers + self.encoder_layers
        attentions = layers + crossed
        norms = layers + attentions
        return (
            self._embedding_parameters()
            + attentions * self._attention_parameters()
            + layers * self._feed_forward_parameters()
            + norms * self._norm_parameters
        )

    @property
    def _norm_parameters(self) -> int:
        return self.hidden * (1 if self.norm == "rms" else 2)

    def _attention_parameters(self) -> int:
        weights = 2 * self.hidden * (self.query_width + self.key_width)
        qkv_bias = self.query_width + 2 * self.key_width if self.bias != "none" else 0
        return weights + qkv_bias + (self.hidden if self.bias == "all" else 0)

    def _feed_forward_parameters(self) -> int:
        inner = 2 if self.gated else 1
        weights = (inner + 1) * self.hidden * self.feed_forward
        return weights + (inner * self.feed_forward + self.hidden if self.bias == "all" else 0)

    def _embedding_parameters(self) -> int:
        """Embeddings, an untied head, the norms outside the layers, and the pooler."""
        stacks = int(self.decoder_layers > 0) + int(self.encoder_layers > 0)
        untied = int(not self.tied_embeddings and self.decoder_layers > 0)
        positions = (self.learned_positions + self.position_offset) * stacks
        rows = self.vocabulary * (1 + untied) + positions + self.token_types
        norms = stacks * (int(self.embedding_norm) + int(self.final_norm)) * self._norm_parameters
        pooler = (self.hidden + 1) * self.hidden if self.pooler else 0
        return rows * self.hidden + norms + pooler

    def operators(self, run: Pass) -> tuple[Operator, ...]:
        """Distinct operators of one pass.

        An encoder-decoder model encodes the source and projects the cross-attention keys and
        values in its prefill, and runs only the decoder in a decode step.

        Raises:
            ValueError: If an encoder-only model is asked to decode, or the context exceeds the
                learned positions.
        """
        self._check(run)
        if not self.decoder_layers:
            return self._encoder(run, "") + self._pooler(run)
        if not self.encoder_layers:
            return self._decoder(run, "") + self._lm_head(run)
        if run.phase == "prefill":
            return self._encoder(run, "encoder.") + self._cross_keys(run)
        return self._decoder(run, "decoder.") + self._cross_attention(run) + self._lm_head(run)

    def _check(self, run: Pass) -> None:
        if run.phase == "decode" and not self.decoder_layers:
            raise ValueError(f"phase must be prefill for encoder-only {self.name}, got 'decode'")
        if self.learned_positions and run.context > self.learned_positions:
            raise ValueError(
                f"context must be <= {self.learned_positions}, the learned positions of "
                f"{self.name}, got {run.context}"
            )

    def _decoder(self, run: Pass, prefix: str) -> tuple[Operator, ...]:
        keys = min(run.context, self.window or run.context)
        if run.phase == "prefill" and self.causal:
            keys = mean_visible_keys(run.context, self.window)
        sizes = self._attention_sizes(run, run.positions, keys)
        scores = matmul(f"{prefix}attention_scores", sizes[0], CACHED)
        context = matmul(f"{prefix}attention_context", sizes[1], CACHED)
        return self._stack(run, prefix, self.decoder_layers, (scores, context))

    def _encoder(self, run: Pass, prefix: str) -> tuple[Operator, ...]:
        sizes = self._attention_sizes(run, run.context, run.context)
        scores = matmul(f"{prefix}attention_scores", sizes[0], ACTIVATIONS)
        context = matmul(f"{prefix}attention_context", sizes[1], ACTIVATIONS)
        return self._stack(run, prefix, self.encoder_layers, (scores, context))

    def _attention_sizes(
        self, run: Pass, queries: int, keys: int
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Sizes of scores and context: one product per KV head, its query heads folded into M."""
        batch = run.batch * self.key_heads
        rows = queries * (self.heads // self.key_heads)
        scores = {"B": batch, "M": rows, "K": self.head_width, "N": keys}
        return scores, {"B": batch, "M": rows, "K": keys, "N": self.head_width}

    def _stack(
        self, run: Pass, prefix: str, layers: int, attention: tuple[Operator, Operator]
    ) -> tuple[Operator, ...]:
        """All operators of `layers` equal layers."""
        tokens = run.tokens
        up_name, ups = ("gate_up_proj", 2) if self.gated else ("up_proj", 1)
        q = projection(f"{prefix}q_proj", tokens, self.hidden, self.query_width)
        kv = projection(f"{prefix}kv_proj", tokens, self.hidden, self.key_width)
        o = projection(f"{prefix}o_proj", tokens, self.query_width, self.hidden)
        up = projection(f"{prefix}{up_name}", tokens, self.hidden, self.feed_forward)
        down = projection(f"{prefix}down_proj", tokens, self.feed_forward, self.hidden)
        return (
            layered(q, layers),
            layered(kv, layers, calls=2),
            *(layered(operator, layers) for operator in attention),
            layered(o, layers),
            layered(up, layers, calls=ups),
            replace(layered(down, layers), tags={"after": self.nonlinearity}),
        )

    def _cross_keys(self, run: Pass) -> tuple[Operator, ...]:
        kv = projection("cross.kv_proj", run.tokens, self.hidden, self.key_width)
        return (layered(kv, self.decoder_layers, calls=2),)

    def _cross_attention(self, run: Pass) -> tuple[Operator, ...]:
        sizes = self._attention_sizes(run, run.positions, self.source or run.context)
        operators = (
            projection("cross.q_proj", run.tokens, self.hidden, self.query_width),
            matmul("cross.attention_scores", sizes[0], CACHED),
            matmul("cross.attention_context", sizes[1], CACHED),
            projection("cross.o_proj", run.tokens, self.query_width, self.hidden),
        )
        return tuple(layered(operator, self.decoder_layers) for operator in operators)

    def _lm_head(self, run: Pass) -> tuple[Operator, ...]:
        if self.head == "none":
            return ()
        rows = run.tokens if self.head == "all" else run.batch
        return (projection("lm_head", rows, self.hidden, self.vocabulary),)

    def _pooler(self, run: Pass) -> tuple[Operator, ...]:
        if not self.pooler:
            return ()
        return (projection("pooler", run.batch, self.hidden, self.hidden),)


def projection(name: str, rows: int, inputs: int, outputs: int) -> Operator:
    """A weight matrix applied to `rows` activations: M = rows, K = inputs, N = outputs."""
    return matmul(name, {"M": rows, "K": inputs, "N": outputs})


def mean_visible_keys(context: int, window: int = 0) -> int:
    """Keys that a position of a causal prefill attends on average, rounded up.

    Position i (from 1) sees min(i, window) keys. The triangle is priced as a rectangle of all
    queries and this many keys: MACs are exact for an odd context and 1/(context + 1) too many for
    an even one; queries and results have their true size, while K and V appear with the average
    part that one query streams.

    >>> mean_visible_keys(2048), mean_visible_keys(2049), mean_visible_keys(4, window=2)
    (1025, 1025, 2)
    """
    reach = min(window or context, context)
    pairs = reach * (reach + 1) // 2 + (context - reach) * reach
    return -(-pairs // context)
