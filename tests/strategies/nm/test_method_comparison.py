"""Paired gains and compression at equal fidelity, by hand."""

import math

import pytest

from strategies.nm.method_comparison import Key, MethodComparison

LOSSES: dict[Key, float] = {
    ("uniform", 0.5, 0): 0.20,
    ("uniform", 0.5, 1): 0.24,
    ("uniform", 0.6, 0): 0.40,
    ("uniform", 0.6, 1): 0.44,
    ("owl", 0.6, 0): 0.41,
    ("owl", 0.6, 1): 0.47,
    ("retained_saliency", 0.6, 0): 0.30,
    ("retained_saliency", 0.6, 1): 0.34,
}


def compared() -> MethodComparison:
    rows = {
        key: {
            "fidelity_loss": loss,
            "agreement": 1 - loss,
            "density": 1 - key[1],
            "sparsity": key[1],
        }
        | {"certified": 1.0}
        for key, loss in LOSSES.items()
    }
    return MethodComparison(rows)


def test_gains_are_paired_and_positive_when_better_in_either_direction() -> None:
    for metric in ("fidelity_loss", "agreement"):
        gain = compared().gain("owl", "uniform", 0.6, metric)
        assert gain.mean == pytest.approx(-0.02)  # -0.01 and -0.03
        assert gain.standard_error == pytest.approx(0.01)
        assert not gain.no_worse
        assert compared().gain("retained_saliency", "owl", 0.6, metric).no_worse


def test_gain_without_common_seeds_is_unknown() -> None:
    gain = compared().gain("owl", "uniform", 0.5, "fidelity_loss")
    assert math.isnan(gain.mean)
    assert not gain.no_worse


def test_compression_interpolates_the_density_of_uniform() -> None:
    comparison = compared()  # loss 0.32 lies midway between uniform at 50 % and at 60 %
    assert comparison.compression("retained_saliency", 0.6, "fidelity_loss") == pytest.approx(
        0.45 / 0.4
    )
    assert comparison.compression("uniform", 0.6, "fidelity_loss") == pytest.approx(1.0)
    assert math.isnan(comparison.compression("owl", 0.6, "fidelity_loss"))  # worse than uniform


def test_table_has_a_row_per_measured_pair_best_first() -> None:
    table = compared().table()
    assert [(row["target"], row["method"]) for row in table] == [
        (0.5, "uniform"),
        (0.6, "retained_saliency"),
        (0.6, "uniform"),
        (0.6, "owl"),
    ]
    assert table[1]["over owl"] == "+0.120 ± 0.010"
    assert table[1]["fewer weights"] == "1.12x"
    assert table[0]["over owl"] == ""
    assert table[1]["optimal"] is True
    assert [row["method"] for row in compared().table("agreement")] == [r["method"] for r in table]


def test_settings_are_listed_by_seed_and_are_no_fidelity() -> None:
    rows = {
        ("owl_tuned", 0.6, 1): {"loss": 0.2, "owl_lambda": 0.05, "owl_threshold": 7.0},
        ("uniform", 0.6, 0): {"loss": 0.3},
        ("owl_tuned", 0.6, 0): {"loss": 0.2, "owl_lambda": 0.02, "owl_threshold": 3.0},
    }
    comparison = MethodComparison(rows)
    assert comparison.fidelity_metrics == ["loss"]
    assert comparison.settings_table() == [
        {
            "target": 0.6,
            "method": "owl_tuned",
            "owl_lambda by seed": "0.02, 0.05",
            "owl_threshold by seed": "3, 7",
        }
    ]
