import json

import numpy as np
import pytest

from spaces.workloads.workload import (
    Operator,
    Precision,
    TensorClass,
    Workload,
    gemm,
    matmul,
    require_positive,
)


def test_precision_gives_each_role_its_width_and_outputs_the_partial_sums():
    precision = Precision(weight=4, activation=8, kv=16, psum=32)
    assert [precision.bits(role) for role in TensorClass] == [4, 8, 16, 32]
    assert precision.bits("kv") == 16


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"weight": 0}, "bits.weight must be an integer >= 1, got 0"),
        ({"kv": 2.5}, r"bits.kv must be an integer >= 1, got 2\.5"),
        ({"psum": True}, "bits.psum must be an integer >= 1, got True"),
        ({"activation": 65}, "bits.activation must be an integer <= 64, got 65"),
    ],
)
def test_precision_names_field_rule_and_value(widths, message):
    with pytest.raises(ValueError, match=message):
        Precision(**widths)


def test_numpy_integers_are_sizes():
    require_positive({"K": np.int64(3)})


@pytest.mark.parametrize("size", [50257, 11008, 2049])
def test_everyday_sizes_pass_through(size):
    workload = gemm(M=2049, K=size, N=50257)
    row = workload.describe()[0]
    assert row["macs"] == workload.macs == 2049 * size * 50257
    assert [tensor["elements"] for tensor in row["tensors"]] == [
        2049 * size,
        size * 50257,
        2049 * 50257,
    ]


def test_batched_gemm_batches_every_tensor():
    workload = gemm(M=2, K=3, N=5, B=7, bits=Precision(weight=4))
    assert workload.operators[0].rank_names == ("B", "M", "K", "N")
    assert (workload.macs, workload.tokens, workload.parameters) == (210, 14, 105)
    assert workload.matmul_parameters == workload.parameters
    assert workload.precision.weight == 4


def test_gemm_refuses_an_empty_rank():
    with pytest.raises(ValueError, match="N must be an integer >= 1, got 0"):
        gemm(M=1, K=1, N=0)


def test_describe_lists_shares_classes_and_widths():
    operators = (
        matmul("a", {"M": 1, "K": 2, "N": 3}, count=2),
        matmul("b", {"M": 1, "K": 2, "N": 2}, (TensorClass.ACTIVATION, TensorClass.KV)),
    )
    rows = Workload("two", operators, precision=Precision(kv=4)).describe()
    assert [row["share"] for row in rows] == [0.75, 0.25]
    assert [row["count"] for row in rows] == [2, 1]
    assert rows[1]["tensors"][1] == {
        "name": "W",
        "tensor_class": "kv",
        "dimensions": ["K", "N"],
        "elements": 4,
        "bits": 4,
    }


def test_describe_is_json():
    rows = gemm(M=1, K=2, N=3).describe()
    assert json.loads(json.dumps(rows)) == rows


def test_only_weights_are_matmul_parameters():
    operators = (
        matmul("projection", {"M": 9, "K": 2, "N": 3}, count=4),
        matmul("scores", {"M": 9, "K": 2, "N": 3}, (TensorClass.ACTIVATION, TensorClass.KV)),
    )
    assert Workload("w", operators).matmul_parameters == 24


def test_operator_names_must_differ():
    operator = matmul("same", {"M": 1, "K": 1, "N": 1})
    with pytest.raises(ValueError, match="operator names must differ, got 'same' twice"):
        Workload("w", (operator, operator))


def test_count_must_be_a_multiple_of_the_layers():
    parent = matmul("p", {"M": 1, "K": 1, "N": 1})
    with pytest.raises(ValueError, match="count must be a multiple of its 2 layers, got 3"):
        Operator("p", parent.ranks, parent.tensors, count=3, layers=(0, 1))


def test_operators_can_be_keys_of_a_cache():
    first, second = (matmul("p", {"M": 1, "K": 2, "N": 3}) for _ in range(2))
    assert {first: "priced"}[second] == "priced"
