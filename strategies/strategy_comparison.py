"""Strategies side by side: the same problem, the same budget, several seeds.

A trial of such a study is one whole search: a strategy with a seed. Its metrics are what the search
reached and after how many evaluations (seconds differ from run to run, so they stand in the tables
and curves only); the survey of all trials draws the best so far against evaluations and
against seconds, and says which differences chance alone does not explain.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.evaluation import Evaluation, Evaluator, FloatArray
from spaces.space import Space
from strategies.nested_search import decision_rows
from strategies.objective import Goal
from strategies.pareto import hypervolume, non_dominated, worst_reference
from strategies.problem import Problem
from strategies.strategy import Strategy
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import in_memory_log
from strategies.tuning.tuner import Tuner

FRONT = ("energy_pj", "latency_cycles")
"""Metrics whose hypervolume is compared."""

SIGNIFICANT = 0.05
"""Probability below which a difference is not put down to chance."""


@dataclass(frozen=True)
class Search:
    """One search, evaluation by evaluation.

    Attributes:
        losses: Of the first objective, inf where infeasible; shape (n,).
        front: Losses of `FRONT`, inf where infeasible; shape (n, 2).
        seconds: Since the start, when the evaluation was recorded; shape (n,).
    """

    losses: FloatArray
    front: FloatArray
    seconds: FloatArray

    @property
    def best(self) -> FloatArray:
        """Best so far, shape (n,)."""
        return np.minimum.accumulate(self.losses)


class StrategyComparison:
    """Evaluator of columns `strategy` and `run_seed`: each design is a whole search.

    Args:
        space, evaluator, objective: The problem that every strategy searches.
        strategies: Name -> factory of a strategy (`_partial_: true`), called with those of
            `problem`, `space` and `seed` that its signature names.
        trials: Evaluations that each search may use.
        seconds: Search time that each may use.
    """

    def __init__(
        self,
        space: Space,
        evaluator: Evaluator,
        objective: Goal,
        strategies: Mapping[str, Callable[..., Strategy]],
        trials: int = 300,
        seconds: float | None = None,
    ) -> None:
        self.problem = Problem(space, evaluator, objective)
        self.strategies = strategies
        self.budget = Budget(trials=trials, seconds=seconds)
        self._done: dict[tuple[str, int], Search] = {}

    def evaluate(self, designs: Mapping[str, Any]) -> Evaluation:
        """Run n searches; equal ones once."""
        searches = [self._search(row) for row in decision_rows(designs)]
        best = np.array([search.best[-1] for search in searches])
        return Evaluation(
            {
                "best": best,
                "evaluations": np.array([float(len(s.losses)) for s in searches]),
                "evaluations_to_best": np.array([float(s.losses.argmin() + 1) for s in searches]),
            },
            {"nothing_feasible": np.where(np.isfinite(best), -1.0, 1.0)},
        )

    def explain(self, design: Mapping[str, Any]) -> Mapping[str, Any]:
        """What one search reached."""
        found = self.evaluate(design)
        return {name: float(values[0]) for name, values in found.metrics.items()}

    def survey(self, designs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Tables and curves over all searches."""
        from strategies.reporting.strategy_curves import progress_figure

        groups: dict[str, list[Search]] = {}
        for row in decision_rows(designs):
            groups.setdefault(str(row["strategy"]), []).append(self._search(row))
        metric = self.problem.goal.metrics[0]
        return {
            "tables": {f"Strategies compared by {metric}": self._rows(groups)},
            "texts": {"What the differences mean": significance_text(groups)},
            "figures": {
                "best_against_evaluations": progress_figure(groups, metric, "evaluations"),
                "best_against_seconds": progress_figure(groups, metric, "seconds"),
            },
        }

    def _search(self, row: Mapping[str, Any]) -> Search:
        key = str(row["strategy"]), int(row["run_seed"])
        if key not in self._done:
            make = self.strategies[key[0]]
            offered = {"problem": self.problem, "space": self.problem.space, "seed": key[1]}
            named = inspect.signature(make).parameters
            strategy = make(**{name: value for name, value in offered.items() if name in named})
            log = in_memory_log(self.problem.meta(" ".join(map(str, key)), key[1]))
            result = Tuner(self.problem, strategy, log, self.budget).run()
            batches = list(result.reader.batches())
            front = np.stack([result.reader.values(f"metric/{metric}") for metric in FRONT], axis=1)
            feasible = np.isfinite(result.losses[:, 0])
            self._done[key] = Search(
                losses=result.losses[:, 0],
                front=np.where(feasible[:, None], front, np.inf),
                seconds=np.concatenate([np.full(len(b), b.elapsed_s) for b in batches]),
            )
        return self._done[key]

    @staticmethod
    def _rows(groups: Mapping[str, Sequence[Search]]) -> list[dict[str, Any]]:
        """Per strategy: median, spread, evaluations, seconds and hypervolume; the best first."""
        fronts = [s.front[non_dominated(s.front)] for ss in groups.values() for s in ss]
        reference = worst_reference(np.concatenate(fronts))
        least = min(s.best[-1] for searches in groups.values() for s in searches)
        most = max(hypervolume(s.front, reference) for ss in groups.values() for s in ss)
        rows = []
        for name, searches in groups.items():
            final = np.array([search.best[-1] for search in searches])
            volumes = [hypervolume(search.front, reference) / most for search in searches]
            rows.append(
                {
                    "strategy": name,
                    "seeds": len(searches),
                    "median best / best of all": float(np.median(final) / least),
                    "worst / best of all": float(final.max() / least),
                    "evaluations": float(np.median([len(s.losses) for s in searches])),
                    "evaluations to its best": float(
                        np.median([s.losses.argmin() + 1 for s in searches])
                    ),
                    "seconds": float(np.median([s.seconds[-1] for s in searches])),
                    "hypervolume / best": float(np.median(volumes)),
                }
            )
        return sorted(rows, key=lambda row: row["median best / best of all"])


def significance_text(groups: Mapping[str, Sequence[Search]]) -> str:
    """Every strategy against the one with the best median, by the Mann-Whitney U test (two-sided).

    Probabilities are Holm's: corrected for the number of comparisons.
    """
    from scipy.stats import mannwhitneyu

    final = {name: np.array([s.best[-1] for s in searches]) for name, searches in groups.items()}
    order = sorted(final, key=lambda name: float(np.median(final[name])))
    first, others = order[0], order[1:]
    raw = [float(mannwhitneyu(final[first], final[name]).pvalue) for name in others]
    lines = [
        f"Final values of {len(final[first])} seeds; {first} has the best median. Mann-Whitney U, "
        "two-sided, Holm-corrected:"
    ]
    held = 0.0
    for rank, place in enumerate(np.argsort(raw, kind="stable")):
        held = max(held, min(1.0, raw[place] * (len(raw) - rank)))
        word = "better than" if held < SIGNIFICANT else "not distinguishable from"
        lines.append(f"  {first} is {word} {others[place]} (p = {held:.3g})")
    return "\n".join(lines)
