"""Our staged sampler in a plain Optuna study: python docs/examples/bare_sampler.py TRIALS."""

import sys

import numpy as np
import optuna

from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from spaces.hardware_file import read_hardware
from spaces.mappings.mapping_space import MappingSpace
from spaces.workloads.workload import matmul
from strategies.objective import make_goal
from strategies.plain_study import objective_of
from strategies.problem import Problem
from strategies.progressive_sampler import ProgressiveSampler

operator = matmul("projection", {"M": 1, "K": 4096, "N": 4096})
hardware = read_hardware("conf/hardware/edge.yaml")
space = MappingSpace(operator, hardware)
evaluator = SparseAccelerator(operator, hardware)
problem = Problem(space, evaluator, make_goal(["energy_pj", "latency_cycles"]))

study = optuna.create_study(
    directions=["minimize", "minimize"], sampler=ProgressiveSampler(space, evaluator, seed=0)
)
study.optimize(objective_of(problem), n_trials=int(sys.argv[1]))
best = study.best_trials[0]
print(best.number, best.values, best.user_attrs["stage"])
design = space.decode({name: np.array([value]) for name, value in best.params.items()})
print(space.describe(design, 0)["text"])
