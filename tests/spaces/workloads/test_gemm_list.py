import pytest

from spaces.workloads.gemm_list import gemm_list
from spaces.workloads.workload import Precision, TensorClass


def write(folder, text):
    file = folder / "products.csv"
    file.write_text(text)
    return str(file)


def test_a_list_of_products(tmp_path):
    text = "name, M, K, N, B, count, operands\nfc,1,11008,50257,,32,\nscores,1,128,2049,8,,kv\n"
    workload = gemm_list(write(tmp_path, text), tokens=2, bits=Precision(kv=4))
    fc, scores = workload.operators
    assert (fc.name, fc.count, fc.ranks) == ("fc", 32, {"M": 1, "K": 11008, "N": 50257})
    assert scores.ranks == {"B": 8, "M": 1, "K": 128, "N": 2049}
    assert scores.tensor("W").tensor_class is TensorClass.KV
    assert workload.parameters == workload.matmul_parameters == 32 * 11008 * 50257
    assert (workload.name, workload.tokens, workload.precision.kv) == ("products", 2, 4)


def test_the_optional_columns_may_be_missing(tmp_path):
    workload = gemm_list(write(tmp_path, "N,K,M,name\n4,3,2,fc\n"))
    assert workload.operators[0].ranks == {"M": 2, "K": 3, "N": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,M,K\nfc,1,2\n", r"products\.csv:1: column 'N' is missing"),
        ("name,M,K,N,counts\n", "unknown key 'counts'; did you mean 'count'"),
        ("name,M,K,N\n", "holds no products below its header"),
        ("", "column 'name' is missing"),
        (
            "name,M,K,N\na,1,2,3\nb,1,2.5,3\n",
            r":3: K: must be an integer >= 1, got '2\.5'",
        ),
        ("name,M,K,N\na,1,2\n", r"products\.csv:2: N: must be an integer >= 1, got ''"),
        ("name,M,K,N\na,0,2,3\n", r"products\.csv:2: M: must be an integer >= 1, got '0'"),
        ("name,M,K,N,operands\na,1,2,3,wait\n", r"products\.csv:2: operands: unknown key 'wait'"),
        ("name,M,K,N\na,1,2,3\na,1,2,3\n", "operator names must differ, got 'a' twice"),
    ],
)
def test_bad_lists_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        gemm_list(write(tmp_path, text))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"workload\.path must be a CSV file"):
        gemm_list(str(tmp_path / "none.csv"))
