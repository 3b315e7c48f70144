"""Monarch projection of a real model: residual per layer, and fidelity measured on held-out text.

No accuracy is claimed that was not measured here. Projection alone destroys layers without block
structure; `recover` fine-tunes the factors of each layer against the dense layer's outputs on
calibration text, which is far short of retraining.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.fidelity_metrics import FidelityMeter
from evaluators.accuracy.model_on_text import ModelOnText
from evaluators.accuracy.monarch import MonarchMatrix, project, residual
from evaluators.accuracy.pruned_model import block_hessians
from spaces.cim.monarch_shape import monarch_shape


@dataclass(frozen=True)
class LayerProjection:
    """One linear layer in Monarch form.

    Attributes:
        layer: Its name.
        matrix: The factors.
        weight_residual: ||W - M||_F / ||W||_F.
        output_residual: The same of the layer's outputs on calibration text; nan when not measured.
    """

    layer: str
    matrix: MonarchMatrix
    weight_residual: float
    output_residual: float = float("nan")

    @property
    def reduction(self) -> float:
        """Dense weights over stored weights."""
        return self.matrix.shape.reduction


@dataclass(frozen=True)
class Recovery:
    """Fine-tuning of the factors, layer by layer.

    Attributes:
        steps: Adam steps per layer.
        learning_rate: Relative to the root mean square of the factors.
        sequences: Calibration sequences.
    """

    steps: int = 200
    learning_rate: float = 0.02
    sequences: int = 64

    def __post_init__(self) -> None:
        if self.steps < 1 or self.sequences < 1 or self.learning_rate <= 0:
            raise ValueError(
                f"recovery: steps, sequences and learning_rate must be positive, got {self.steps}, "
                f"{self.sequences}, {self.learning_rate}"
            )


@dataclass
class MonarchFidelity(ModelOnText):
    """Projects the linear layers of a model folder and measures what is left.

    Attributes:
        model, text: See `ModelOnText`.
        rule, block: As in `spaces.cim.monarch_shape.monarch_shape`.
        layers: Parts of layer names to project; empty = all linear layers.
        length: Tokens per text window.
        held_out_texts: Held-out windows measured on.
    """

    rule: str = "trimmed"
    block: int = 0
    layers: tuple[str, ...] = ()
    length: int = 64
    held_out_texts: int = 100

    @cached_property
    def meter(self) -> FidelityMeter:
        """Measures on held-out text."""
        return self.held_out_meter(self.length, self.held_out_texts)

    @property
    def chosen_layers(self) -> tuple[str, ...]:
        """Linear layers that are projected; `ValueError` when none matches."""
        every = tuple(self.streamed.linears)
        chosen = tuple(
            name for name in every if not self.layers or any(part in name for part in self.layers)
        )
        if not chosen:
            raise ValueError(
                f"layers: no linear layer matches {self.layers}; first is {every[0]!r}"
            )
        return chosen

    @cached_property
    def projections(self) -> Mapping[str, LayerProjection]:
        """Layer -> projection; no text is needed."""
        return {name: self._project(name) for name in self.chosen_layers}

    def _project(self, name: str) -> LayerProjection:
        weight = self.streamed.weights(name).astype(np.float64)
        shape = monarch_shape(self.rule, weight.shape[1], weight.shape[0], self.block)
        found = project(weight, shape)
        return LayerProjection(name, found.matrix, found.relative_error)

    def measure(self, projections: Mapping[str, LayerProjection] | None = None) -> dict[str, float]:
        """Fidelity of the projected (or recovered) model on held-out text, and what it stores."""
        used = self.projections if projections is None else projections
        dense = {name: p.matrix.dense().astype(np.float32) for name, p in used.items()}

        def edit(name: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
            return dense.get(name, weights)

        parameters = [p.matrix.shape for p in used.values()]
        whole = sum(shape.in_features * shape.out_features for shape in parameters)
        return {
            **self.meter.measure(edit),
            "weight_reduction": whole / sum(shape.parameters for shape in parameters),
            "mean_residual": float(np.mean([p.weight_residual for p in used.values()])),
        }

    def recover(self, recovery: Recovery | None = None) -> dict[str, LayerProjection]:
        """Fine-tune every layer's factors on calibration text.

        The loss is the squared error of the layer's outputs on the dense model's inputs.
        """
        settings = recovery or Recovery()
        windows = self.windows(self.texts.calibration, self.length)
        blocks = [*dict.fromkeys(self.streamed.linears[name] for name in self.chosen_layers)]
        tuned: dict[str, LayerProjection] = {}
        for _, grams in block_hessians(self.streamed, windows[: settings.sequences], blocks):
            for name in sorted(grams.keys() & self.projections.keys()):
                tuned[name] = self._tune(self.projections[name], grams[name], settings)
        return tuned

    def _tune(
        self, start: LayerProjection, gram: NDArray[np.float64], settings: Recovery
    ) -> LayerProjection:
        weight = self.streamed.weights(start.layer).astype(np.float64)
        matrix = tune_factors(weight, start.matrix, gram, settings)
        error = output_residual(weight, matrix, gram)
        return LayerProjection(start.layer, matrix, residual(weight, matrix), error)


def output_residual(
    weight: NDArray[np.float64], matrix: MonarchMatrix, gram: NDArray[np.float64]
) -> float:
    """||(W - M) X||_F / ||W X||_F from the Gram matrix X X^T of the inputs."""
    error = weight - matrix.dense()
    lost = float(np.einsum("oi,ij,oj->", error, gram, error, optimize=True))
    whole = float(np.einsum("oi,ij,oj->", weight, gram, weight, optimize=True))
    return float(np.sqrt(max(lost, 0.0) / whole)) if whole > 0 else 0.0


def tune_factors(
    weight: NDArray[np.float64],
    start: MonarchMatrix,
    gram: NDArray[np.float64],
    settings: Recovery,
) -> MonarchMatrix:
    """Factors that lower the output error, by Adam from `start`; the best seen are kept.

    Args:
        weight: Dense weights, shape (out, in).
        start: Where to begin.
        gram: X X^T of the layer's inputs, shape (in, in).
        settings: Steps and learning rate.
    """
    import torch

    target = torch.from_numpy(weight)
    metric = torch.from_numpy(gram / np.trace(gram))
    factors = [torch.from_numpy(f.copy()).requires_grad_() for f in (start.first, start.second)]
    scale = float(np.sqrt(np.mean(start.first**2) + np.mean(start.second**2)))
    optimiser = torch.optim.Adam(factors, lr=settings.learning_rate * max(scale, 1e-12))
    best, best_loss = start, np.inf
    for _ in range(settings.steps):
        error = target - _dense(start, *factors)
        loss = (error @ metric * error).sum()
        value = float(loss.detach())
        if value < best_loss:
            best_loss = value
            best = MonarchMatrix(start.shape, *(f.detach().numpy().copy() for f in factors))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return best


def _dense(matrix: MonarchMatrix, first: Any, second: Any) -> Any:
    """The matrix of torch factors, differentiable, shape (out_features, in_features)."""
    import torch

    shape = matrix.shape
    grid = (shape.out_tiles, shape.in_tiles)
    right = first.reshape(*grid, shape.in_blocks, shape.out_blocks, shape.rank, shape.in_width)
    left = second.reshape(*grid, shape.out_blocks, shape.out_width, shape.in_blocks, shape.rank)
    tiles = torch.einsum("uvkaej,uvekjd->uakvde", left, right)
    whole = tiles.reshape(shape.padded_out, shape.padded_in)
    return whole[: shape.out_features, : shape.in_features]
