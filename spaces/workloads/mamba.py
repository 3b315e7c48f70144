"""Mamba (selective state-space) language models, from their shape.

The scan is two products over the recurrent state H[N,K] (N channels, K states per channel), which
has the role KV. `scan_update` adds the outer product of the input-dependent vector B and the
scaled inputs into the state, one term per new token; `scan_output` contracts the state with C.
The state is read and written once per pass, as in the fused scan that keeps it on chip. The decay
of the state (one multiplication per state, channel and token) and the short
element-wise operations are not counted.

Source: Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023,
algorithm 2 and section 3.3; parameter layout of the state-spaces/mamba checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

from spaces.workloads.language_model import ACTIVATIONS, CACHED, Pass, layered
from spaces.workloads.transformer import projection
from spaces.workloads.workload import (
    Dimension,
    Operator,
    Tensor,
    TensorClass,
    matmul,
    require_positive,
)


@dataclass(frozen=True)
class MambaShape:
    """Sizes of a Mamba language model.

    Attributes:
        name: Short name.
        layers: Mamba blocks.
        hidden: Model width.
        vocabulary: Rows of the token embedding, padding included.
        expand: Inner width / model width.
        state: States per channel.
        kernel: Taps of the causal depthwise convolution.
        time_rank: Rank of the step-size projection; 0 means `ceil(hidden / 16)`.
        tied_embeddings: The LM head reuses the token embedding.
        head: Positions that the LM head reads in a prefill: `last`, `all`, or `none`.

    Raises:
        ValueError: If a size is no integer >= 1 or `head` is unknown.
    """

    name: str
    layers: int
    hidden: int
    vocabulary: int
    expand: int = 2
    state: int = 16
    kernel: int = 4
    time_rank: int = 0
    tied_embeddings: bool = True
    head: str = "last"

    def __post_init__(self) -> None:
        names = ("layers", "hidden", "vocabulary", "expand", "state", "kernel")
        require_positive({f"{self.name}: {name}": getattr(self, name) for name in names})
        if self.head not in ("last", "all", "none"):
            raise ValueError(f"{self.name}: head must be one of last, all, none, got {self.head!r}")

    @property
    def inner(self) -> int:
        """Channels of the scan."""
        return self.expand * self.hidden

    @property
    def step_rank(self) -> int:
        """Rank of the step-size projection."""
        return self.time_rank or -(-self.hidden // 16)

    @property
    def parameters(self) -> int:
        """All parameters, a tied LM head counted once."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2)
        return embeddings + self.hidden + self.layers * self._layer_parameters()

    def _layer_parameters(self) -> int:
        inner, state, rank = self.inner, self.state, self.step_rank
        projections = 3 * self.hidden * inner + inner * (rank + 2 * state) + rank * inner
        vectors = inner * (self.kernel + 1) + inner * (state + 2)
        return projections + vectors + self.hidden

    def operators(self, run: Pass) -> tuple[Operator, ...]:
        """Distinct operators of one pass; the context only matters in a prefill."""
        tokens, inner, sizes = run.tokens, self.inner, self._scan_sizes(run)
        block = (
            projection("in_proj", tokens, self.hidden, 2 * inner),
            causal_convolution("conv1d", run, inner, self.kernel),
            projection("x_proj", tokens, inner, self.step_rank + 2 * self.state),
            projection("dt_proj", tokens, self.step_rank, inner),
            matmul("scan_update", sizes[0], ACTIVATIONS),
            matmul("scan_output", sizes[1], CACHED),
            projection("out_proj", tokens, inner, self.hidden),
        )
        rows = {"last": run.batch, "all": tokens, "none": 0}[self.head]
        head = (projection("lm_head", rows, self.hidden, self.vocabulary),) if rows else ()
        return tuple(layered(operator, self.layers) for operator in block) + head

    def _scan_sizes(self, run: Pass) -> tuple[dict[str, int], dict[str, int]]:
        """Sizes of `scan_update` (K = new tokens) and of `scan_output` (K = states)."""
        update = {"M": self.state, "K": run.positions, "N": self.inner}
        output = {"M": run.positions, "K": self.state, "N": self.inner}
        batch = {"B": run.batch} if run.batch > 1 else {}
        return batch | update, batch | output


def causal_convolution(name: str, run: Pass, channels: int, taps: int) -> Operator:
    """Depthwise convolution along the sequence: `Z[B,N,P] = A[B,N,P+R] * W[N,R]`.

    B counts sequences (left out for one), N channels, P new positions, R taps; a decode step reads
    the last `taps` inputs, which the model keeps as a small state.
    """
    batch = {"B": run.batch} if run.batch > 1 else {}
    ranks = {**batch, "N": channels, "P": run.positions, "R": taps}

    def plain(*names: str) -> tuple[Dimension, ...]:
        return tuple(Dimension(((rank, 1),)) for rank in names if rank in ranks)

    halo = Dimension((("P", 1), ("R", 1)))
    tensors = (
        Tensor("A", (*plain("B", "N"), halo), TensorClass.ACTIVATION),
        Tensor("W", plain("N", "R"), TensorClass.WEIGHT),
        Tensor("Z", plain("B", "N", "P"), TensorClass.OUTPUT),
    )
    return Operator(name, ranks, tensors)
