"""Measured fidelity of a pruned model on held-out text.

Encoders: how similar its sentence embeddings are to the dense model's, and whether they rank the
same neighbours. Decoders: perplexity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.streamed_model import StreamedModel, WeightEdit, batches, keep

NEIGHBOURS = 10
"""Neighbours compared per text."""


def embeddings(
    model: StreamedModel, tokens: NDArray[np.int64], edit: WeightEdit = keep
) -> NDArray[np.float64]:
    """Mean of the last hidden states over tokens, of unit length; shape (texts, width)."""
    pooled = [model.run(batch, edit).astype(np.float64).mean(axis=1) for batch in batches(tokens)]
    vectors = np.concatenate(pooled)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def embedding_similarity(reference: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean cosine between corresponding unit vectors."""
    return float((reference * other).sum(axis=1).mean())


def neighbour_agreement(
    reference: NDArray[np.float64], other: NDArray[np.float64], neighbours: int = NEIGHBOURS
) -> float:
    """Mean part of a text's nearest neighbours that both embeddings have in common, 0..1.

    Raises:
        ValueError: If there are not more texts than neighbours.

    >>> line = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> round(neighbour_agreement(line, line[::-1], 1), 3)  # the middle one changes sides
    0.667
    """
    if len(reference) <= neighbours:
        raise ValueError(
            f"held-out text too short: {len(reference)} texts for {neighbours} neighbours each"
        )
    first, second = _nearest(reference, neighbours), _nearest(other, neighbours)
    common = [len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]
    return float(np.mean(common)) / neighbours


def _nearest(vectors: NDArray[np.float64], neighbours: int) -> NDArray[np.intp]:
    """Indices of the most similar other texts, shape (texts, neighbours)."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]


def perplexity(model: StreamedModel, tokens: NDArray[np.int64], edit: WeightEdit = keep) -> float:
    """Exponential of the mean negative log likelihood of each token given those before it.

    Windows do not overlap; the first token of a window is not predicted.
    """
    total = 0.0
    for batch in batches(tokens):
        for logits, window in zip(model.run(batch, edit), batch, strict=True):
            total += _surprise(logits[:-1].astype(np.float64), window[1:])
    return float(np.exp(total / tokens[:, 1:].size))


def _surprise(logits: NDArray[np.float64], tokens: NDArray[np.int64]) -> float:
    """Negative log likelihood of tokens, summed; logits have shape (tokens, vocabulary)."""
    peak = logits.max(axis=1)
    normaliser = np.log(np.exp(logits - peak[:, None]).sum(axis=1)) + peak
    return float((normaliser - logits[np.arange(len(tokens)), tokens]).sum())


@dataclass
class FidelityMeter:
    """Measures edited weights of one model on the same windows of text.

    Attributes:
        model: The dense model.
        windows: Token windows, shape (texts, length).
    """

    model: StreamedModel
    windows: NDArray[np.int64]

    @cached_property
    def reference(self) -> NDArray[np.float64]:
        """The dense model's embeddings (encoders)."""
        return embeddings(self.model, self.windows)

    def measure(self, edit: WeightEdit) -> Mapping[str, float]:
        """`embedding_similarity` and `neighbour_agreement`, or `perplexity` for a decoder."""
        return self.measure_model(self.model, edit)

    def measure_model(self, other: StreamedModel, edit: WeightEdit = keep) -> Mapping[str, float]:
        """The same for another model, such as a pruned folder, against the dense model."""
        if other.folder.is_decoder:
            return {"perplexity": perplexity(other, self.windows, edit)}
        vectors = embeddings(other, self.windows, edit)
        return {
            "embedding_similarity": embedding_similarity(self.reference, vectors),
            "neighbour_agreement": neighbour_agreement(self.reference, vectors),
        }

    def loss(self, measured: Mapping[str, float]) -> float:
        """One figure of what was measured, smaller is better, 0 for the dense model.

        Encoders: 1 - neighbour agreement. Decoders: log of the perplexity over the dense one's.
        """
        if "perplexity" in measured:
            return float(np.log(measured["perplexity"] / self._dense_perplexity))
        return 1.0 - measured["neighbour_agreement"]

    @cached_property
    def _dense_perplexity(self) -> float:
        return perplexity(self.model, self.windows)
