from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluators.evaluation import Evaluation
from spaces.space import Columns
from strategies.problem import Problem
from strategies.random_strategy import ExhaustiveStrategy, RandomStrategy
from strategies.reporting.study_result import StudyResult
from strategies.tuning.budget import Budget
from strategies.tuning.progress import Progress
from strategies.tuning.trial_batch import TrialBatch
from strategies.tuning.trial_log import TrialLog, create_log, in_memory_log, resume_log
from strategies.tuning.tuner import Observer, Tuner
from tests.strategies.problems import DISCRETE, Bowl, bowl_problem


class Recorder:
    """Notes what it is told; interrupts after a number of batches."""

    def __init__(self, interrupt_after: int | None = None):
        self.interrupt_after = interrupt_after
        self.numbers: list[int] = []
        self.started_with = -1
        self.result: StudyResult | None = None

    def study_started(self, log: TrialLog, progress: Progress) -> None:
        self.started_with = progress.trials

    def batch_done(self, batch: TrialBatch, progress: Progress) -> None:
        self.numbers += range(batch.first, batch.first + len(batch))
        assert progress.trials == self.numbers[-1] + 1
        if self.interrupt_after is not None:
            self.interrupt_after -= 1
            if self.interrupt_after == 0:
                raise KeyboardInterrupt

    def study_ended(self, result: StudyResult) -> None:
        self.result = result


def tuned(problem: Problem, trials: int, observers: Sequence[Observer] = ()) -> StudyResult:
    strategy = RandomStrategy(problem.space, seed=1, batch_size=16)
    log = in_memory_log(problem.meta("t", 1))
    return Tuner(problem, strategy, log, Budget(trials=trials), observers).run()


def rows(result: StudyResult) -> list[list[object]]:
    frame = result.frame()
    kept = [c for c in frame.columns if c.startswith(("param/", "metric/", "violation/", "state"))]
    return [list(row) for row in frame[["number", *kept]].fillna(-1.0).itertuples(index=False)]


def test_spends_exactly_the_budget_and_tells_the_observers() -> None:
    recorder = Recorder()
    result = tuned(bowl_problem(), 50, [recorder])
    assert result.ended_by == "trials"
    assert recorder.numbers == list(range(50))
    assert recorder.started_with == 0
    assert recorder.result is result
    assert sum(result.counts.values()) == 50


def test_best_and_front_are_those_of_a_plain_loop() -> None:
    result = tuned(bowl_problem(constraints=["energy_pj <= 150"]), 200)
    frame = result.frame()
    good = frame[(frame["metric/energy_pj"] <= 150) & (frame["violation/capacity"] <= 0)]
    pairs = list(zip(good["metric/energy_pj"], good["metric/latency_cycles"], strict=True))
    expected = [
        number
        for number, pair in zip(good["number"], pairs, strict=True)
        if not any(q != pair and q[0] <= pair[0] and q[1] <= pair[1] for q in pairs)
    ]
    assert result.front.tolist() == expected
    best = result.best_of("energy_pj")
    assert best is not None
    assert best.metrics["energy_pj"] == good["metric/energy_pj"].min()
    assert result.best is not None
    assert result.best.number in expected


def test_a_best_trial_can_be_decoded_and_priced_again() -> None:
    problem = bowl_problem()
    best = tuned(problem, 40).best
    assert best is not None
    again = problem.evaluator.evaluate(problem.space.decode(best.columns))
    assert again.metrics["energy_pj"][0] == best.metrics["energy_pj"]


def test_a_failed_evaluation_is_a_failed_trial_with_its_reason() -> None:
    result = tuned(bowl_problem(evaluator=Bowl(fail_below=4)), 60)
    frame = result.frame()
    failed = frame[frame["state"] == "failed"]
    assert (failed["param/tile_m"] < 4).all()
    assert set(failed["reason"]) == {"ArithmeticError: tile_m is too small"}
    assert failed["metric/energy_pj"].isna().all()
    assert result.counts["failed"] == int((frame["param/tile_m"] < 4).sum()) > 0


def test_a_study_of_failures_alone_ends_with_no_best() -> None:
    result = tuned(bowl_problem(evaluator=Bowl(fail_below=99)), 20)
    assert result.counts == {"failed": 20}
    assert result.best is None
    assert result.hypervolume == 0.0


def test_a_silent_nan_is_a_failed_trial() -> None:
    class Holes(Bowl):
        def evaluate(self, designs: Columns) -> Evaluation:
            evaluation = super().evaluate(designs)
            evaluation.metrics["energy_pj"][0] = np.nan
            return evaluation

    result = tuned(bowl_problem(evaluator=Holes()), 32)
    assert result.counts["failed"] == result.reader.n_batches
    assert "not a number" in result.frame()["reason"].tolist()[0]


def test_an_unknown_metric_ends_the_study_before_anything_is_written() -> None:
    problem = bowl_problem(["enery_pj"])
    log = in_memory_log(problem.meta("t"))
    with pytest.raises(ValueError, match=r"'enery_pj' is no metric.*did you mean 'energy_pj'"):
        Tuner(problem, RandomStrategy(problem.space), log, Budget(trials=5)).run()
    assert len(log) == 0


def test_ends_when_the_strategy_has_finished() -> None:
    problem = bowl_problem(definitions=DISCRETE)
    log = in_memory_log(problem.meta("t"))
    result = Tuner(problem, ExhaustiveStrategy(problem.space), log, Budget()).run()
    assert (result.ended_by, result.n_trials) == ("finished", 200)
    assert len({tuple(row[2:5]) for row in rows(result)}) == 200


def test_ends_after_the_given_seconds() -> None:
    problem = bowl_problem(evaluator=Bowl(seconds=0.02))
    log = in_memory_log(problem.meta("t"))
    strategy = RandomStrategy(problem.space, batch_size=1)
    result = Tuner(problem, strategy, log, Budget(seconds=0.2)).run()
    assert result.ended_by == "seconds"
    assert 2 <= result.n_trials <= 11


def test_batches_of_a_slow_evaluator_are_short() -> None:
    class Slow(Bowl):
        def evaluate(self, designs: Columns) -> Evaluation:
            time.sleep(0.05 * len(designs["tile_m"]))
            return super().evaluate(designs)

    problem = bowl_problem(evaluator=Slow())
    log = in_memory_log(problem.meta("t"))
    strategy = RandomStrategy(problem.space, seed=1, batch_size=256)
    result = Tuner(problem, strategy, log, Budget(seconds=0.5)).run()
    assert result.ended_by == "seconds"
    assert result.n_trials <= 31  # 1 + 2 + 4 + 8 + 16: a whole batch would take 13 seconds


def test_ends_when_the_gap_is_proven() -> None:
    class Certifying(RandomStrategy):
        gap = np.inf

        def tell(self, columns: Columns, evaluation: Evaluation) -> None:
            self.gap = 0.05 if self.gap > 1 else 0.01

    problem = bowl_problem()
    log = in_memory_log(problem.meta("t"))
    strategy = Certifying(problem.space, seed=0, batch_size=10)
    result = Tuner(problem, strategy, log, Budget(trials=100, gap=0.01)).run()
    assert (result.ended_by, result.n_trials) == ("gap", 3)


def test_an_interrupted_study_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    problem = bowl_problem()
    log = create_log(tmp_path / "t.sqlite", problem.meta("t"))
    strategy = RandomStrategy(problem.space, seed=1, batch_size=16)
    first = Tuner(problem, strategy, log, Budget(trials=80), [Recorder(interrupt_after=2)]).run()
    assert (first.ended_by, first.n_trials) == ("interrupted", 3)
    log.close()
    recorder = Recorder()
    with resume_log(tmp_path / "t.sqlite", problem.meta("t")) as log:
        strategy = RandomStrategy(problem.space, seed=1, batch_size=16)
        second = Tuner(problem, strategy, log, Budget(trials=80), [recorder]).run()
        assert recorder.started_with == 3
        assert rows(second) == rows(tuned(problem, 80))


def test_given_designs_come_first_are_tagged_and_not_repeated(tmp_path: Path) -> None:
    problem = bowl_problem()
    given = problem.space.sample(3, np.random.default_rng(8))
    for trials, expected in ((10, 10), (20, 20)):
        path = tmp_path / "t.sqlite"
        log = resume_log(path) if path.exists() else create_log(path, problem.meta("t"))
        with log:
            strategy = RandomStrategy(problem.space, seed=1)
            tuner = Tuner(problem, strategy, log, Budget(trials=trials))
            tuner.enqueue(given, {"baseline": "csr"})
            result = tuner.run()
            assert result.n_trials == expected
            tags = result.reader.tags()
            assert tags[:3] == [{"baseline": "csr", "origin": "given"}] * 3
            assert not any(tags[3:])
            np.testing.assert_array_equal(result.frame()["param/scale"][:3], given["scale"])


def test_given_designs_need_every_parameter() -> None:
    problem = bowl_problem()
    tuner = Tuner(
        problem, RandomStrategy(problem.space), in_memory_log(problem.meta("t")), Budget(trials=1)
    )
    with pytest.raises(ValueError, match="'tile_m' has no values"):
        tuner.enqueue({"scale": np.ones(2)})


def test_the_number_of_workers_does_not_change_the_result() -> None:
    serial = bowl_problem(evaluator=Bowl(fail_below=1))
    parallel = Problem(serial.space, serial.evaluator, serial.goal, workers=2)
    assert rows(tuned(parallel, 40)) == rows(tuned(serial, 40))


def test_progress_knows_the_best_and_the_share_of_the_budget() -> None:
    class Last(Recorder):
        def batch_done(self, batch: TrialBatch, progress: Progress) -> None:
            self.progress = progress

    last = Last()
    result = tuned(bowl_problem(), 40, [last])
    best = result.best_of("energy_pj")
    assert best is not None
    assert last.progress.best["energy_pj"] == best.metrics["energy_pj"]
    assert last.progress.best_trial["energy_pj"] == best.number
    assert last.progress.fraction == 1.0
