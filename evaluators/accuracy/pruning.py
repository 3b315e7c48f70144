"""N:M masks of weight matrices: by score, with shared pairs, and with SparseGPT's update.

Matrices have shape (outputs, inputs), as in a torch linear layer; groups of M run along the
inputs. N is the number kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.outliers import FloatArray, Matrix
from spaces.sparsity.nm_sparsity import NMPattern

Mask = NDArray[np.bool_]

DAMPING = 0.01
"""SparseGPT: fraction of the mean Hessian diagonal that is added to it (arXiv 2301.00774)."""

UPDATE_BLOCK = 128
"""SparseGPT: columns updated together before the rest of the row is."""


def check_divisible(name: str, inputs: int, pattern: NMPattern) -> None:
    """Raise `ValueError` when a layer's input size is no multiple of M."""
    if inputs % pattern.m:
        raise ValueError(
            f"layer {name!r}: input size {inputs} is not divisible by M = {pattern.m} of "
            f"{pattern}; leave the layer dense or offer a smaller M"
        )


def nm_mask(scores: Matrix, pattern: NMPattern) -> Mask:
    """True for the N largest scores of every group; ties keep the earlier weight.

    Args:
        scores: Shape (outputs, inputs), inputs divisible by M.
        pattern: N kept of M.

    >>> nm_mask(np.array([[3.0, 1.0, 2.0, 4.0]], dtype=np.float32), NMPattern(2, 4)).tolist()
    [[True, False, False, True]]
    """
    check_divisible("scores", scores.shape[1], pattern)
    if pattern.is_dense:
        return np.ones(scores.shape, dtype=bool)
    groups = scores.reshape(len(scores), -1, pattern.m)
    order = np.argsort(-groups, axis=2, kind="stable")[:, :, : pattern.n]
    mask = np.zeros(groups.shape, dtype=bool)
    np.put_along_axis(mask, order, True, axis=2)
    return mask.reshape(scores.shape)


def shared_pair_mask(scores: Matrix, pattern: NMPattern, channels: int) -> Mask:
    """The best mask whose pairs are common to `channels` consecutive outputs.

    In every group of M inputs the N slots select N pairs for all the outputs together; each
    output keeps one of the two weights of a pair, or both where two slots select it. Keeping a
    pair once gains sum(max), twice another sum(min) <= sum(max), so the N largest of these gains
    are an exact optimum.

    Args:
        scores: Shape (outputs, inputs).
        pattern: N:M, M even.
        channels: Columns of a macro, C.
    """
    check_divisible("scores", scores.shape[1], pattern)
    if pattern.is_dense:
        return np.ones(scores.shape, dtype=bool)
    if pattern.m % 2:
        raise ValueError(f"shared pairs need an even M, got {pattern}")
    mask = np.zeros(scores.shape, dtype=bool)
    for start in range(0, len(scores), channels):
        part = scores[start : start + channels]
        pairs = part.reshape(len(part), -1, pattern.m // 2, 2)
        gains = np.concatenate([pairs.max(axis=3).sum(axis=0), pairs.min(axis=3).sum(axis=0)], 1)
        order = np.argsort(-gains, axis=1, kind="stable")[:, : pattern.n]
        uses = np.zeros(gains.shape, dtype=bool)
        np.put_along_axis(uses, order, True, axis=1)
        once, twice = np.split(uses, 2, axis=1)
        larger = np.stack([pairs[..., 0] >= pairs[..., 1], pairs[..., 0] < pairs[..., 1]], axis=3)
        kept = (larger & once[None, :, :, None]) | twice[None, :, :, None]
        mask[start : start + channels] = kept.reshape(part.shape)
    return mask


def retained(scores: Matrix, patterns: Sequence[NMPattern]) -> FloatArray:
    """Sum of the scores that each pattern's best mask keeps, shape (q,); nan where M does not fit.

    >>> scores = np.array([[3.0, 1.0, 2.0, 4.0]], dtype=np.float32)
    >>> retained(scores, [NMPattern(1, 2), NMPattern(1, 4), NMPattern(1, 1)]).tolist()
    [7.0, 4.0, 10.0]
    """
    totals: dict[int, FloatArray] = {}
    for m in {pattern.m for pattern in patterns}:
        if scores.shape[1] % m:
            totals[m] = np.full(m, np.nan)
        else:
            ranked = np.sort(scores.reshape(-1, m), axis=1)[:, ::-1]
            totals[m] = np.cumsum(ranked.sum(axis=0, dtype=np.float64))
    return np.array([totals[pattern.m][pattern.n - 1] for pattern in patterns])


def sparsegpt(weights: Matrix, hessian: FloatArray, pattern: NMPattern) -> tuple[Matrix, Mask]:
    """Prune and let the kept weights make up for the dropped ones (SparseGPT, arXiv 2301.00774).

    Columns are visited in order; in each group the N weights with the largest w^2 / [H^-1]_jj^2
    stay, and the error of the others is propagated to later columns through the Cholesky factor
    of the inverse Hessian.

    Args:
        weights: Shape (outputs, inputs).
        hessian: X^T X of the calibration inputs, shape (inputs, inputs).
        pattern: N:M.

    Returns:
        Updated weights (zero where dropped) and the mask.
    """
    check_divisible("weights", weights.shape[1], pattern)
    work = weights.astype(np.float64)
    factor = _inverse_factor(work, hessian)
    mask = np.ones(weights.shape, dtype=bool)
    span = max(UPDATE_BLOCK // pattern.m, 1) * pattern.m
    for start in range(0, work.shape[1], span):
        stop = min(start + span, work.shape[1])
        errors = np.zeros((len(work), stop - start))
        for column in range(start, stop):
            if column % pattern.m == 0:
                group = slice(column, column + pattern.m)
                score = (work[:, group] / np.diag(factor)[group]) ** 2
                mask[:, group] = nm_mask(score.astype(np.float32), NMPattern(pattern.n, pattern.m))
            kept = np.where(mask[:, column], work[:, column], 0.0)
            error = (work[:, column] - kept) / factor[column, column]
            work[:, column:stop] -= np.outer(error, factor[column, column:stop])
            work[:, column] = kept
            errors[:, column - start] = error
        work[:, stop:] -= errors @ factor[start:stop, stop:]
    return np.where(mask, work, 0.0).astype(np.float32), mask


def _inverse_factor(work: FloatArray, hessian: FloatArray) -> FloatArray:
    """Upper Cholesky factor of the damped inverse Hessian; weights of dead inputs become zero."""
    damped = hessian.astype(np.float64).copy()
    diagonal = np.einsum("ii->i", damped)
    dead = diagonal == 0
    work[:, dead] = 0.0
    diagonal[dead] = 1.0
    diagonal += DAMPING * diagonal.mean()
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T)
