"""What a study without a feasible trial says."""

from strategies.reporting.outcome import gather
from tests.strategies.problems import bowl_problem
from tests.strategies.tuning.test_tuner import tuned


def test_a_study_without_a_feasible_trial_names_the_constraint_and_its_distance() -> None:
    problem = bowl_problem(constraints=["energy_pj <= -1000"])
    findings = gather(problem.space, problem.evaluator, tuned(problem, 20))
    assert findings.tables == {}
    text = findings.texts["No feasible trial"]
    assert "20 of 20 trials break it, the nearest by" in text
    assert "energy_pj" in text
