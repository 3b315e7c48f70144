"""How the fidelity proxy goes with measured fidelity: assignments of forms to a real model.

Every linear layer gets a form (N:M, Monarch, noise, dense). What the layer then loses is computed
from its weights and activations, as the proxy defines it; what the model loses is measured on
held-out text. Recorded points: `evaluators.codesign.fidelity_proxy.known_points`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.monarch import project
from evaluators.accuracy.nm_fidelity import NMFidelity
from evaluators.codesign.fidelity_proxy import SyntheticLoss
from spaces.cim.monarch_shape import monarch_shape
from spaces.codesign.placement import Placement
from spaces.codesign.projections import ProjectionPart


@dataclass
class ProxyMeasurement:
    """Prices assignments of forms to the linear layers of a real model.

    Attributes:
        fidelity: The model, its text and its activation norms.
        analog_error: Relative error of analog products.
    """

    fidelity: NMFidelity
    analog_error: float = 0.0194
    _formed: dict[tuple[str, Placement], NDArray[np.float32]] = field(default_factory=dict)

    @cached_property
    def norms(self) -> Mapping[str, NDArray[np.float32]]:
        """Activation norms of the inputs of every linear layer."""
        return self.fidelity.measured(self.fidelity.calibration.seed).norms

    @property
    def layers(self) -> tuple[str, ...]:
        """Linear layers, in order."""
        return tuple(self.norms)

    def formed(self, layer: str, placement: Placement) -> NDArray[np.float32]:
        """The layer's weights in this form, shape (outputs, inputs)."""
        key = (layer, placement)
        if key not in self._formed:
            weights = self.fidelity.streamed.weights(layer)
            self._formed[key] = self._form(layer, weights, placement)
        return self._formed[key]

    def _form(
        self, layer: str, weights: NDArray[np.float32], placement: Placement
    ) -> NDArray[np.float32]:
        if placement.rule:
            outputs, inputs = weights.shape
            shape = monarch_shape(placement.rule, inputs, outputs, placement.block)
            formed = project(weights.astype(np.float64), shape).matrix.dense().astype(np.float32)
        elif placement.pattern.is_dense:
            formed = weights
        else:
            seed = self.fidelity.calibration.seed
            formed = weights * self.fidelity.mask(layer, weights, placement.pattern, seed)
        if placement.machine != "analog":
            return formed
        rng = np.random.default_rng(self.layers.index(layer))
        scale = self.analog_error * float(np.sqrt((formed.astype(np.float64) ** 2).mean()))
        noisy = formed + scale * rng.standard_normal(formed.shape)
        return np.asarray(noisy, dtype=np.float32)

    def lost(self, layer: str, placement: Placement) -> float:
        """||(W - W') diag(norms)||^2 / ||W diag(norms)||^2."""
        weights = self.fidelity.streamed.weights(layer)
        norms = self.norms[layer].astype(np.float64)
        error = (self.formed(layer, placement).astype(np.float64) - weights) * norms
        return float((error**2).sum() / ((weights * norms) ** 2).sum())

    def point(self, name: str, assignment: Mapping[str, Placement]) -> dict[str, Any]:
        """The proxy from the model's statistics, the synthetic one, and measured fidelity."""
        shapes = {layer: self.fidelity.streamed.shape(layer) for layer in assignment}
        weight = np.array([out * inputs for out, inputs in shapes.values()], dtype=np.float64)
        measured = [self.lost(layer, placement) for layer, placement in assignment.items()]
        gaussian = SyntheticLoss(self.analog_error)
        synthetic = [
            gaussian.lost(ProjectionPart(layer, layer, 1, 1, 1, *shapes[layer][::-1]), placement, 0)
            for layer, placement in assignment.items()
        ]

        def edit(layer: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
            return self.formed(layer, assignment[layer]) if layer in assignment else weights

        found = self.fidelity.meter.measure(edit)
        return {
            "assignment": name,
            "proxy": float(weight @ measured / weight.sum()),
            "synthetic_proxy": float(weight @ synthetic / weight.sum()),
            **{key: float(value) for key, value in found.items()},
        }
