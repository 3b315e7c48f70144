"""A model whose operators store all their compressed tensors in one format each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluators.accelerator.sparse_model import SparseModel


class PairedFormats(SparseModel):
    """A `SparseModel` in which weights and activations of an operator share a format.

    With n formats offered an operator has n alternatives, not n per tensor. With one format, or
    one sparse tensor per operator, both models are the same.
    """

    def alternatives(
        self, decisions: Mapping[str, Any], part: int
    ) -> tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]:
        """Those of all alternatives in which compressed tensors are in formats of one name."""
        operator = self.operators[part]
        coded = [t for t, tensor in enumerate(operator.tensors) if self._coded(operator, tensor)]
        classes = [tensor.tensor_class.value for tensor in operator.tensors]
        return tuple(
            chosen
            for chosen in super().alternatives(decisions, part)
            if len({self.names[classes[t]][chosen[t][0][0]] for t in coded}) <= 1
        )
