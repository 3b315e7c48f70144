"""Figures of a study by matplotlib: Pareto front, convergence, parallel coordinates, breakdown.

Colours are Okabe and Ito's (Color Universal Design, 2008), told apart by every common kind of
colour vision. Figures are built without pyplot, so that any thread may draw them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluators.evaluation import FloatArray
from strategies.pareto import hypervolume_history
from strategies.reporting.study_result import StudyResult

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Okabe and Ito, blue first; grey stands for what is not in focus."""

GREY = PALETTE[-1]
SIZE_IN = (7.2, 4.5)
_LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
MAX_POINTS = 5000
"""Points drawn at most; a scatter plot of more says nothing more."""
MAX_LINES = 200
"""Designs drawn in parallel coordinates: the best ones."""
MAX_AXES = 8
"""Parameters drawn in parallel coordinates: more of them cannot be read on a page."""


def study_figures(result: StudyResult) -> dict[str, Figure]:
    """Every figure that this study can fill, by file name without ending."""
    figures = {"convergence": convergence_figure(result)}
    if len(result.goal.objectives) >= 2:
        figures["pareto_front"] = pareto_figure(result)
        figures["hypervolume"] = hypervolume_figure(result)
    if len(result.front):
        figures["parallel_coordinates"] = parallel_coordinates_figure(result)
    return figures


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as PNG and as vector PDF, and empty it; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        for ending in ("png", "pdf"):
            path = folder / f"{name}.{ending}"
            figure.savefig(path, dpi=150)
            written.append(path)
        figure.clear()
    return written


def new_axes(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """An empty figure in the house style, with one pair of axes."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def pareto_figure(result: StudyResult) -> Figure:
    """Every feasible trial in the plane of the first two objectives, and the front.

    Of two objectives the front is a line; of more it is a cloud, coloured by the third.
    """
    first, second, *others = result.goal.metrics
    values = {name: result.reader.values(f"metric/{name}") for name in result.goal.metrics}
    x, y = values[first], values[second]
    figure, axes = new_axes("Pareto front", first, second)
    shown = _thinned(np.flatnonzero(np.isfinite(result.losses).all(axis=1)))
    axes.scatter(x[shown], y[shown], s=12, color=GREY, alpha=0.5, label="feasible trial")
    front = result.front[np.argsort(x[result.front])]
    if others:
        third = values[others[0]][front]
        norm = LogNorm() if spans_decades(third) else None
        cloud = axes.scatter(x[front], y[front], s=26, c=third, norm=norm, label="Pareto front")
        figure.colorbar(cloud, label=others[0])
    else:
        axes.plot(x[front], y[front], "o-", color=PALETTE[0], markersize=5, label="Pareto front")
    if result.best is not None:
        best = result.best.number
        axes.scatter(x[best], y[best], s=130, marker="*", color=PALETTE[5], zorder=3, label="knee")
    axes.set_xscale("log" if spans_decades(x[shown]) else "linear")
    axes.set_yscale("log" if spans_decades(y[shown]) else "linear")
    axes.legend(frameon=False)
    return figure


def spans_decades(values: FloatArray) -> bool:
    """Whether values need a logarithmic axis to be told apart.

    >>> spans_decades(np.array([1.0, 40.0])), spans_decades(np.array([1.0, 9.0]))
    (True, False)
    """
    return len(values) > 0 and bool(values.min() > 0 and values.max() / values.min() > 10)


def convergence_figure(result: StudyResult) -> Figure:
    """Best feasible value so far of every objective, relative to the best of the study."""
    figure, axes = new_axes("Convergence", "trial", "best so far / best of the study")
    for index, objective in enumerate(result.goal.objectives):
        losses = result.losses[:, index]
        if not np.isfinite(losses).any():
            continue
        running = np.minimum.accumulate(losses)
        seen = np.flatnonzero(np.isfinite(running))
        best = running[-1]
        scale = running[seen] / best if best > 0 else running[seen] - best + 1
        axes.step(seen, scale, where="post", color=PALETTE[index % 7], label=objective.metric)
    axes.set_xlim(left=0)
    if axes.lines:
        drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
        axes.set_yscale("log" if spans_decades(drawn) else "linear")
        axes.legend(frameon=False)
    return figure


def hypervolume_figure(result: StudyResult) -> Figure:
    """Hypervolume of the trials so far against the study's reference point."""
    figure, axes = new_axes("Hypervolume", "trial", "hypervolume / that of the study")
    if len(result.front):
        n = result.n_trials
        steps = np.unique(np.linspace(1, n, min(n, 100)).astype(np.intp))
        history = hypervolume_history(result.losses, result.reference, steps)
        axes.step(steps, history / (history[-1] or 1.0), where="post", color=PALETTE[0])
    return figure


def parallel_coordinates_figure(result: StudyResult) -> Figure:
    """The best trials as lines over parameters and objectives, the best darkest.

    Of many parameters those are shown that go along most with the first objective.
    """
    losses = result.losses[:, 0]
    chosen = np.argsort(losses)[: min(MAX_LINES, int(np.isfinite(losses).sum()))]
    batch = result.reader.trials([int(number) for number in np.sort(chosen)])
    order = np.argsort(-losses[np.sort(chosen)])  # the best is drawn last, on top
    metrics = {name: batch.evaluation.metrics[name] for name in result.goal.metrics}
    listed = result.reader.meta.parameters
    scaled = {
        name: _unit_scale(v, getattr(listed.get(name), "choices", ()))
        for name, v in {**batch.columns, **metrics}.items()
    }
    shown = _telling(
        {name: scaled[name][0] for name in batch.columns}, scaled[result.goal.metrics[0]][0]
    )
    columns = {name: scaled[name][0] for name in (*shown, *metrics)}
    labels = {name: scaled[name][1] for name in columns}
    some = f" ({len(shown)} of {len(batch.columns)} parameters)"
    some = some if len(shown) < len(batch.columns) else ""
    figure, axes = new_axes(f"The best {len(chosen)} feasible trials{some}", "", "")
    figure.set_size_inches(max(SIZE_IN[0], 1.1 * len(columns)), SIZE_IN[1])
    axes.grid(visible=False)
    table = np.stack(list(columns.values()), axis=1)
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, table.shape)
    shades = np.linspace(0.15, 0.9, len(order))
    for shade, row in zip(shades, order, strict=True):
        axes.plot(table[row] + jitter[row], color=PALETTE[0], alpha=float(shade) ** 2, linewidth=1)
    for position, name in enumerate(columns):
        low, high = labels[name]
        axes.axvline(position, color="black", linewidth=0.6)
        axes.text(position, -0.04, low, ha="center", va="top", fontsize=7, bbox=_LABEL)
        axes.text(position, 1.04, high, ha="center", va="bottom", fontsize=7, bbox=_LABEL)
    axes.set_xticks(range(len(columns)), list(columns), rotation=25, ha="right", fontsize=8)
    axes.tick_params(axis="x", pad=14)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_ylim(-0.15, 1.15)
    return figure


def _telling(columns: Mapping[str, FloatArray], objective: FloatArray) -> list[str]:
    """At most `MAX_AXES` parameters, those most correlated with the objective, in their order."""
    if len(columns) <= MAX_AXES:
        return list(columns)
    centred = objective - objective.mean()
    weight = {}
    for name, values in columns.items():
        spread = float(values.std())
        weight[name] = abs(float(centred @ values)) / spread if spread > 0 else -1.0
    kept = sorted(columns, key=lambda name: -weight[name])[:MAX_AXES]
    return [name for name in columns if name in kept]


def _unit_scale(
    values: NDArray[np.generic], choices: Sequence[object]
) -> tuple[FloatArray, tuple[str, str]]:
    """Values on 0..1 and the labels of both ends; categories in the order of their choices."""
    if values.dtype.kind in "OUSb":
        present = {str(value) for value in values}
        names = [str(choice) for choice in choices if str(choice) in present] or sorted(present)
        places = np.array([names.index(str(value)) for value in values], float)
        return places / max(len(names) - 1, 1), (_short(names[0]), _short(names[-1]))
    numbers = values.astype(float)
    low, high = float(numbers.min()), float(numbers.max())
    return (numbers - low) / ((high - low) or 1.0), (f"{low:.4g}", f"{high:.4g}")


def _short(text: str, length: int = 18) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def breakdown_figure(parts: Mapping[str, Mapping[str, float]], unit: str, title: str) -> Figure:
    """Stacked bars: one bar per group, one colour per part, the same part in the same colour.

    Args:
        parts: Group (for example a level) -> part (for example a tensor) -> value.
        unit: Of the values, for the axis.
        title: Above the figure.
    """
    figure, axes = new_axes(title, unit, "")
    names = list(dict.fromkeys(part for group in parts.values() for part in group))
    left = np.zeros(len(parts))
    for index, name in enumerate(names):
        widths = np.array([group.get(name, 0.0) for group in parts.values()])
        axes.barh(range(len(parts)), widths, left=left, color=PALETTE[index % 8], label=name)
        left += widths
    axes.set_yticks(range(len(parts)), list(parts))
    axes.invert_yaxis()
    figure.set_size_inches(SIZE_IN[0], max(2.5, 0.42 * len(parts) + 1.4))
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def roofline_figure(roofline: Mapping[str, float], title: str) -> Figure:
    """The roof of bandwidth and compute units over the intensity, and where the design stands.

    Args:
        roofline: `intensity_macs_per_byte`, `macs_per_cycle`, `peak_macs_per_cycle`,
            `bandwidth_bytes_per_cycle` (None = unlimited), as `explain` gives them.
        title: Above the figure.
    """
    figure, axes = new_axes(title, "MACs per byte moved at the outermost level", "MACs per cycle")
    x, y = roofline["intensity_macs_per_byte"], roofline["macs_per_cycle"]
    peak, bandwidth = roofline["peak_macs_per_cycle"], roofline["bandwidth_bytes_per_cycle"]
    ridge = peak / bandwidth if bandwidth else x
    span = np.geomspace(min(x, ridge) / 16, max(x, ridge) * 16, 200)
    roof = np.minimum(peak, span * bandwidth) if bandwidth else np.full(len(span), float(peak))
    axes.plot(span, roof, color="black", linewidth=1.5, label="roof")
    axes.scatter([x], [y], s=70, color=PALETTE[5], zorder=3, label=f"design: {y:.4g} MACs/cycle")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _thinned(indices: NDArray[np.intp]) -> NDArray[np.intp]:
    return indices[:: max(1, len(indices) // MAX_POINTS)]
