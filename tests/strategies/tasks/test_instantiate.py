from __future__ import annotations

import pytest
from omegaconf import OmegaConf
from optuna.samplers import TPESampler

from strategies.optuna_strategy import OptunaStrategy
from strategies.random_strategy import RandomStrategy
from strategies.tasks.instantiate import instantiate, make_strategy, resolve_target
from tests.strategies.problems import bowl_problem


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "optuna.create_study",
        "strategies.tuning.tuner.time.sleep",
        "strategies.tuning.trial_log.sqlite3.connect",
        "pymoo.core.algorithm.copy.deepcopy",
        "strategies.tuning.tuner",
        "strategiesx.tuner.Tuner",
        None,
        3,
    ],
)
def test_targets_outside_the_allowed_packages_are_refused(target: object) -> None:
    with pytest.raises(ValueError, match=r"key._target_: must begin with spaces\., evaluators\."):
        instantiate({"_target_": target}, "key")


def test_a_nested_target_is_refused_before_anything_is_built() -> None:
    config = {
        "_target_": "strategies.optuna_strategy.OptunaStrategy",
        "sampler": {"_target_": "os.system", "command": "touch /tmp/never"},
    }
    with pytest.raises(ValueError, match=r"strategy.sampler._target_: must begin with"):
        make_strategy(OmegaConf.create(config), bowl_problem())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("optuna.samplers.TPESample", "no 'TPESample' there; did you mean 'TPESampler'"),
        ("strategies.optuna_stratgy.OptunaStrategy", "did you mean 'optuna_strategy'"),
        ("strategies.random_strategy.RandmStrategy", "did you mean 'RandomStrategy'"),
    ],
)
def test_near_misses_are_named(target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_target(target, "strategy")


def test_wrong_and_missing_arguments_are_named() -> None:
    base = "strategies.random_strategy.RandomStrategy"
    with pytest.raises(ValueError, match=r"no argument 'batchsize'; did you mean 'batch_size'"):
        make_strategy({"_target_": base, "batchsize": 4}, bowl_problem())
    with pytest.raises(ValueError, match=r"key.space: RandomStrategy needs this argument"):
        instantiate({"_target_": base}, "key")


def test_an_error_of_the_constructor_is_passed_on() -> None:
    with pytest.raises(ValueError, match=r"strategy.batch_size: must be >= 1, got 0"):
        make_strategy(
            {"_target_": "strategies.random_strategy.RandomStrategy", "batch_size": 0},
            bowl_problem(),
        )


def test_objects_are_passed_as_they_are() -> None:
    problem = bowl_problem()
    strategy = make_strategy({"_target_": "strategies.random_strategy.RandomStrategy"}, problem, 3)
    assert isinstance(strategy, RandomStrategy)
    assert strategy.space is problem.space


def test_a_sampler_factory_gets_the_seed_and_keeps_its_own_arguments() -> None:
    config = {
        "_target_": "strategies.optuna_strategy.OptunaStrategy",
        "sampler": {
            "_target_": "optuna.samplers.TPESampler",
            "_partial_": True,
            "n_startup_trials": 3,
        },
    }
    first, second = (make_strategy(config, bowl_problem(), 4) for _ in range(2))
    assert isinstance(first, OptunaStrategy)
    assert isinstance(first.sampler, TPESampler)
    assert first.sampler._n_startup_trials == 3
    assert {k: v.tolist() for k, v in first.ask(1).items()} == {
        k: v.tolist() for k, v in second.ask(1).items()
    }


def test_what_cannot_ask_and_tell_is_no_strategy() -> None:
    with pytest.raises(ValueError, match="strategy: must have ask and tell, got Budget"):
        make_strategy({"_target_": "strategies.tuning.budget.Budget"}, bowl_problem())


def test_lists_and_plain_data_are_kept() -> None:
    assert instantiate({"a": [1, {"b": "x"}], "c": None}) == {"a": [1, {"b": "x"}], "c": None}
