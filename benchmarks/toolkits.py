"""The same black-box study in bare Optuna, bare pymoo, Ax and here: time, durability, front.

    python benchmarks/toolkits.py [--trials 500] [--seeds 3] [--ax PYTHON [--ax-trials 60]]

The work is `+experiment=operator_mapping`: mappings and formats of one LLaMA-2-7B projection,
energy against latency, capacities as constraints. Every toolkit prices points through the same
evaluator, in the batch size that it offers, and gets the constraints natively. `own ms` is time per
trial outside the evaluator, the sampler's included; `durable` says whether a kill leaves the trials
done. Hypervolumes are of feasible trials, relative to the best front of all rows together, with one
reference point. Ax needs an interpreter of its own (`pip install ax-platform`) and proposes by
Bayesian optimisation: seconds per trial, so fewer trials.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution

from evaluators.evaluation import Evaluation, FloatArray
from spaces.space import Columns
from strategies.pareto import hypervolume, non_dominated, worst_reference
from strategies.problem import Problem
from strategies.tasks.instantiate import make_strategy
from strategies.tasks.notebook import compose, problem_of
from strategies.tuning.budget import Budget
from strategies.tuning.trial_log import create_log
from strategies.tuning.tuner import Tuner

EXPERIMENT = ["+experiment=operator_mapping", "tracking=none"]


@dataclass
class Pricer:
    """The problem's evaluator, with what it cost and what it found.

    Attributes:
        problem: What every toolkit searches.
        seconds: Spent decoding and evaluating.
        losses, feasible: Of every point so far, in order.
    """

    problem: Problem
    seconds: float = 0.0
    losses: list[FloatArray] = field(default_factory=list)
    feasible: list[NDArray[np.bool_]] = field(default_factory=list)

    def price(self, columns: Columns) -> tuple[FloatArray, FloatArray]:
        """Losses (n, m) and constraints (n, c) of n points."""
        begin = time.perf_counter()
        found = self.problem.evaluator.evaluate(self.problem.space.decode(columns))
        self.seconds += time.perf_counter() - begin
        return self.record(found)

    def record(self, found: Evaluation) -> tuple[FloatArray, FloatArray]:
        """Remember an evaluation."""
        losses = self.problem.goal.losses(found)
        self.losses.append(losses)
        self.feasible.append(found.feasible)
        return losses, np.stack(list(found.violations.values()), axis=1)

    def price_one(self, values: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
        """Losses (m,) and constraints (c,) of one point."""
        losses, constraints = self.price(
            {name: np.array([value]) for name, value in values.items()}
        )
        return losses[0], constraints[0]

    def front(self, trials: int) -> FloatArray:
        """Feasible, non-dominated losses of the first trials, shape (k, m)."""
        losses = np.concatenate(self.losses)[:trials]
        kept = losses[np.concatenate(self.feasible)[:trials]]
        return kept[non_dominated(kept)]


def bare_optuna(pricer: Pricer, trials: int, seed: int, folder: Path | None) -> None:
    """NSGA-II by `study.optimize`; its storage in SQLite where a folder is given."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["minimize"] * len(pricer.problem.goal.objectives),
        sampler=optuna.samplers.NSGAIISampler(population_size=50, seed=seed),
        storage=None if folder is None else f"sqlite:///{folder}/optuna.db",
    )
    parameters = pricer.problem.space.parameters

    def objective(trial: optuna.Trial) -> list[float]:
        values = {name: suggest(trial, name, kind) for name, kind in parameters.items()}
        losses, constraints = pricer.price_one(values)
        for number, violation in enumerate(constraints.tolist()):
            trial.set_constraint(f"c{number}", violation)
        return [float(loss) for loss in losses]

    study.optimize(objective, n_trials=trials)


def suggest(trial: optuna.Trial, name: str, kind: Any) -> Any:
    """The value that Optuna suggests for a discrete parameter."""
    if isinstance(kind, CategoricalDistribution):
        return trial.suggest_categorical(name, kind.choices)
    return trial.suggest_int(name, kind.low, kind.high, step=kind.step)


def bare_pymoo(pricer: Pricer, trials: int, seed: int) -> None:
    """NSGA-II over integer genes, a generation at a time."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem as PymooProblem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    parameters = pricer.problem.space.parameters
    highs = [
        len(kind.choices) - 1
        if isinstance(kind, CategoricalDistribution)
        else (kind.high - kind.low) // kind.step
        for kind in parameters.values()
        if isinstance(kind, CategoricalDistribution | IntDistribution)
    ]

    def columns_of(genes: NDArray[Any]) -> Columns:
        columns = {}
        for position, (name, kind) in enumerate(parameters.items()):
            gene = genes[:, position].astype(np.int64)
            if isinstance(kind, CategoricalDistribution):
                columns[name] = np.array(kind.choices)[gene]
            else:
                assert isinstance(kind, IntDistribution)
                columns[name] = kind.low + kind.step * gene
        return columns

    class Mappings(PymooProblem):  # type: ignore[misc]
        def _evaluate(self, x: NDArray[Any], out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"], out["G"] = pricer.price(columns_of(x))

    sample = {name: np.array([value]) for name, value in _first_point(pricer.problem).items()}
    found = pricer.problem.evaluator.evaluate(pricer.problem.space.decode(sample))
    repair = RoundingRepair()
    algorithm = NSGA2(
        pop_size=100,
        sampling=IntegerRandomSampling(),
        crossover=SBX(repair=repair, vtype=float),
        mutation=PM(repair=repair, vtype=float),
    )
    size = len(highs)
    problem = Mappings(
        n_var=size,
        n_obj=len(pricer.problem.goal.objectives),
        n_ieq_constr=len(found.violations),
        xl=np.zeros(size, dtype=int),
        xu=np.array(highs),
        vtype=int,
    )
    minimize(problem, algorithm, ("n_eval", trials), seed=seed)


def _first_point(problem: Problem) -> dict[str, Any]:
    columns = problem.space.sample(1, np.random.default_rng(0))
    return {name: column[0].item() for name, column in columns.items()}


def ax(pricer: Pricer, trials: int, seed: int, python: str) -> None:
    """Ax's default strategy, in its own interpreter, see benchmarks/ax_client.py."""
    parameters = {
        name: {"choices": list(kind.choices)}
        if isinstance(kind, CategoricalDistribution)
        else {"low": kind.low, "high": kind.high}
        for name, kind in pricer.problem.space.parameters.items()
        if isinstance(kind, CategoricalDistribution | IntDistribution)
    }
    point = {name: np.array([value]) for name, value in _first_point(pricer.problem).items()}
    found = pricer.problem.evaluator.evaluate(pricer.problem.space.decode(point))
    metrics = list(pricer.problem.goal.metrics)
    request = {
        "parameters": parameters,
        "metrics": metrics,
        "constraints": list(found.violations),
        "trials": trials,
        "seed": seed,
    }
    child = subprocess.Popen(
        [python, str(Path(__file__).with_name("ax_client.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(request) + "\n")
    for _ in range(trials):
        line = child.stdout.readline()
        if not line:
            raise SystemExit(f"--ax: {python} ended early; can it import ax?")
        losses, constraints = pricer.price_one(json.loads(line))
        told = dict(zip(metrics, losses.tolist(), strict=True))
        told |= dict(zip(found.violations, constraints.tolist(), strict=True))
        child.stdin.write(json.dumps(told) + "\n")
    child.stdin.close()
    child.wait()


def here(pricer: Pricer, trials: int, seed: int, folder: Path, strategy: str) -> None:
    """A strategy of ours by its YAML name, with the durable trial log."""

    class Priced:
        """The problem's evaluator, watched."""

        def evaluate(self, designs: Any) -> Evaluation:
            begin = time.perf_counter()
            found = pricer.problem.evaluator.evaluate(designs)
            pricer.seconds += time.perf_counter() - begin
            pricer.record(found)
            return found

        def explain(self, design: Any) -> Mapping[str, Any]:
            return pricer.problem.evaluator.explain(design)

    problem = Problem(pricer.problem.space, Priced(), pricer.problem.goal)
    node = compose([*EXPERIMENT, f"strategy={strategy}"]).strategy
    proposing = make_strategy(node, pricer.problem, seed)
    with create_log(folder / "trials.db", problem.meta("study", seed, {})) as log:
        Tuner(problem, proposing, log, Budget(trials=trials)).run()


@dataclass(frozen=True)
class Row:
    """One toolkit: how it runs, and what of it survives a kill."""

    name: str
    durable: bool
    run: Callable[[Pricer, int, int, Path], None]


ROWS = (
    Row("Optuna NSGA-II, in memory", False, lambda p, n, s, _: bare_optuna(p, n, s, None)),
    Row("Optuna NSGA-II, SQLite", True, bare_optuna),
    Row("pymoo NSGA-II", False, lambda p, n, s, _: bare_pymoo(p, n, s)),
    Row("here: strategy=nsga2", True, partial(here, strategy="nsga2")),
    Row("here: strategy=pymoo_nsga2", True, partial(here, strategy="pymoo_nsga2")),
    Row("here: strategy=progressive", True, partial(here, strategy="progressive")),
)


def measure(row: Row, problem: Problem, trials: int, seeds: int) -> list[tuple[float, Pricer]]:
    """Wall seconds outside the evaluator and the priced points, once per seed."""
    found = []
    for seed in range(seeds):
        pricer = Pricer(problem)
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            row.run(pricer, trials, seed, Path(folder))
            found.append((time.perf_counter() - begin - pricer.seconds, pricer))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ax", help="a Python that has ax-platform installed")
    parser.add_argument("--ax-trials", type=int, default=60)
    chosen = parser.parse_args()
    problem = problem_of(compose(EXPERIMENT))
    few = min(chosen.ax_trials, chosen.trials)
    runs = {row: measure(row, problem, chosen.trials, chosen.seeds) for row in ROWS}
    if chosen.ax:
        row = Row("Ax, its default", False, lambda p, n, s, _: ax(p, n, s, chosen.ax))
        runs[row] = measure(row, problem, few, 1)
    best = np.concatenate(
        [pricer.front(chosen.trials) for done in runs.values() for _, pricer in done]
    )
    best = best[non_dominated(best)]
    reference = worst_reference(best, margin=1.0)
    whole = hypervolume(best, reference)
    rows = []
    for row, done in runs.items():
        n = len(np.concatenate(done[0][1].losses))
        volumes = {
            k: median(hypervolume(pricer.front(k), reference) / whole for _, pricer in done)
            for k in (few, chosen.trials)
            if k <= n
        }
        own = median(seconds / n for seconds, _ in done) * 1e3
        rows.append({"toolkit": row.name, "trials": n, "own_ms": own, "durable": row.durable})
        rows[-1] |= {f"hypervolume_{k}": volume for k, volume in volumes.items()}
    keys = [f"hypervolume_{few}", f"hypervolume_{chosen.trials}"]
    print(
        f"{'toolkit':28} {'trials':>6} {'own ms':>9} durable {' '.join(f'{k:>16}' for k in keys)}"
    )
    for found in rows:
        volumes_text = " ".join(
            f"{found[key]:16.4f}" if key in found else f"{'':16}" for key in keys
        )
        print(
            f"{found['toolkit']:28} {found['trials']:6} {found['own_ms']:9.3f} "
            f"{'yes' if found['durable'] else 'no':7} {volumes_text}"
        )
    print(json.dumps({"benchmark": "toolkits", "rows": rows}))


if __name__ == "__main__":
    main()
