"""Our spaces, evaluators and samplers in a plain `study.optimize` of Optuna.

docs/bare_optuna.md shows a program.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from optuna import Trial
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from spaces.space import Columns, Space
from strategies.problem import Problem


def suggested(trial: Trial, space: Space) -> Columns:
    """What a trial proposes for every parameter of a space: a batch of one for `space.decode`.

    Raises:
        ValueError: If a parameter of the space is neither int, float nor categorical.
    """
    columns = {}
    for name, kind in space.parameters.items():
        if isinstance(kind, CategoricalDistribution):
            value = trial.suggest_categorical(name, kind.choices)
        elif isinstance(kind, IntDistribution):
            value = trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
        elif isinstance(kind, FloatDistribution):
            value = trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)
        else:
            raise ValueError(f"{name}: must be int, float or categorical, got {kind!r}")
        columns[name] = np.array([value])
    return columns


def objective_of(problem: Problem) -> Callable[[Trial], tuple[float, ...]]:
    """The function to give to `study.optimize`: one trial, priced as one design.

    It returns the goal's metrics in order; violated constraints reach the sampler, and a failed
    evaluation, whose metrics are nan, is a failed trial. An evaluator that raises ends the study
    unless `optimize` is told what to `catch`.
    """

    def objective(trial: Trial) -> tuple[float, ...]:
        designs = problem.space.decode(suggested(trial, problem.space))
        evaluation = problem.goal.constrain(problem.evaluator.evaluate(designs))
        for name, values in evaluation.violations.items():
            trial.set_constraint(name, float(values[0]))
        return tuple(float(evaluation.metrics[name][0]) for name in problem.goal.metrics)

    return objective
