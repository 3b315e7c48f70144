"""Mixture-of-experts transformers such as Mixtral: a router sends each token to a few experts.

Routing is taken as balanced: T tokens to k experts each are T * k rows, shared out evenly over
min(E, T * k) of the E experts, the rest rest. A decode step of one sequence therefore reads k
experts, a long prefill all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from spaces.workloads.language_model import Pass, layered
from spaces.workloads.transformer import TransformerShape, projection
from spaces.workloads.workload import Operator, require_positive

FEED_FORWARD = ("up_proj", "gate_up_proj", "down_proj")
"""Operators that experts replace."""


@dataclass(frozen=True)
class MixtureShape(TransformerShape):
    """A transformer whose feed-forward blocks are experts.

    Attributes:
        experts: Experts of each layer.
        experts_per_token: Of which a token visits this many.

    Raises:
        ValueError: If a token visits more experts than there are.
    """

    experts: int = 8
    experts_per_token: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive({"experts": self.experts, "experts_per_token": self.experts_per_token})
        if self.experts_per_token > self.experts:
            raise ValueError(
                f"{self.name}: experts_per_token must be <= experts={self.experts}, "
                f"got {self.experts_per_token}"
            )

    @property
    def active_parameters(self) -> int:
        """Parameters that one token reads: all but the experts it does not visit."""
        layers = self.decoder_layers + self.encoder_layers
        expert = super()._feed_forward_parameters()
        return self.parameters - layers * (self.experts - self.experts_per_token) * expert

    def _feed_forward_parameters(self) -> int:
        return self.experts * super()._feed_forward_parameters() + self.hidden * self.experts

    def _stack(
        self, run: Pass, prefix: str, layers: int, attention: tuple[Operator, Operator]
    ) -> tuple[Operator, ...]:
        """The layers of a dense transformer with the feed-forward block replaced by experts."""
        dense = super()._stack(run, prefix, layers, attention)
        kept = [op for op in dense if op.name.removeprefix(prefix) not in FEED_FORWARD]
        return (*kept, *self._experts(run, prefix, layers))

    def _experts(self, run: Pass, prefix: str, layers: int) -> tuple[Operator, ...]:
        routed = run.tokens * self.experts_per_token
        visited = min(self.experts, routed)
        rows = -(-routed // visited)
        ups = 2 if self.gated else 1
        router = projection(f"{prefix}router", run.tokens, self.hidden, self.experts)
        up = projection(f"{prefix}expert_up_proj", rows, self.hidden, self.feed_forward)
        down = projection(f"{prefix}expert_down_proj", rows, self.feed_forward, self.hidden)
        return (
            layered(router, layers),
            layered(up, layers, calls=ups * visited),
            layered(down, layers, calls=visited),
        )
