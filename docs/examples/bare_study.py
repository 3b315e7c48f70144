"""The study `my_study` in bare Optuna and MLflow: python docs/examples/bare_study.py TRIALS."""

import sys

import mlflow
import optuna
from my_cost import evaluate

mlflow.set_tracking_uri("sqlite:///bare.db")
mlflow.set_experiment("bare")


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """One trial, tracked as a nested run."""
    params = {
        "tile": trial.suggest_int("tile", 16, 1024, log=True),
        "banks": trial.suggest_int("banks", 1, 32),
        "policy": trial.suggest_categorical("policy", ["lru", "random"]),
    }
    with mlflow.start_run(run_name=f"trial {trial.number:05d}", nested=True):
        mlflow.log_params(params)
        metrics = evaluate(**params)
        mlflow.log_metrics(metrics)
    return metrics["energy_pj"], metrics["latency_cycles"]


sampler = optuna.samplers.TPESampler(
    seed=0, n_startup_trials=20, multivariate=True, constant_liar=True
)
study = optuna.create_study(
    directions=["minimize", "minimize"],
    sampler=sampler,
    study_name="bare",
    storage="sqlite:///optuna.db",
    load_if_exists=True,
)
with mlflow.start_run(run_name="bare"):
    study.optimize(objective, n_trials=int(sys.argv[1]), catch=(Exception,))
    mlflow.log_metric("search/trials", len(study.trials))
for best in study.best_trials:
    print(best.number, best.values, best.params)
