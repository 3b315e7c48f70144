"""Files of ours: line and key of every mistake, older layouts, what editors are told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spaces.documents import FileError
from spaces.hardware_config import build_hardware
from spaces.hardware_file import read_hardware, write_hardware
from spaces.mappings.dataflow import Dataflow
from spaces.mappings.dataflow_file import read_dataflow, write_dataflow
from spaces.mappings.design_file import read_design
from spaces.workloads.workload import matmul
from spaces.workloads.workload_file import workload_file, write_workload

DESIGN = """\
schema: cosearch.design/1
operator:
  name: q_proj
  ranks: {M: 1, K: 64, N: 64}
  tensors:
    A: {dimensions: [M, K], class: activation}
    W: {dimensions: [K, N], class: weight}
    Z: {dimensions: [M, N], class: output}
hardware:
  name: tiny
  levels:
    DRAM: {kind: dram}
    RF: {capacity: 512B}
nest:
  - DRAM keeps A W Z
  - for N in 64
  - RF keeps W Z
  - for K in 64
formats:
  W: {DRAM: "B(K,N)"}
bits: {weight: 4}
"""
HARDWARE = """\
schema: cosearch.hardware/1
name: tiny
clock: 1GHz
levels:
  DRAM: {kind: dram, bandwidth: 8GB/s}
  GLB:
    capacity: 4KiB
    fan_out: {X: 4}
"""
WORKLOAD = """\
schema: cosearch.workload/2
name: block
tokens: 2
operators:
  - name: q_proj
    ranks: {M: 2, K: 8, N: 4}
    tensors:
      A: {dimensions: [M, K], class: activation}
      W: {dimensions: [K, N], class: weight}
      Z: {dimensions: [M, N], class: output}
    count: 3
left_out: {softmax: 48}
"""
DATAFLOW = """\
schema: cosearch.dataflow/1
name: mine
spatial: {X: [N]}
order:
  DRAM: [K, N, M]
minimum_utilisation: 0.5
"""
FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "design": (DESIGN, read_design),
    "hardware": (HARDWARE, read_hardware),
    "workload": (WORKLOAD, lambda path: workload_file(str(path))),
    "dataflow": (DATAFLOW, read_dataflow),
}


@pytest.mark.parametrize("kind", FILES)
def test_good_files_are_read(kind: str, tmp_path: Path) -> None:
    text, read = FILES[kind]
    (tmp_path / "mine.yaml").write_text(text)
    assert read(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("design", "cosearch.design/1", "cosearch.hardware/1", "schema: must be one of cosearch.d"),
        ("design", "class: weight", "clas: weight", "operator.tensors.W: unknown key 'clas'; did"),
        ("design", "K: 64,", "K: many,", "operator.ranks.K: must be a whole number, got 'many'"),
        ("design", "[M, K]", "[M, J]", "operator.tensors.A.dimensions: must be one of M, K, N"),
        ("design", "kind: dram", "kind: dran", "levels.DRAM.kind: must be one of .*mean 'dram'"),
        ("design", "512B", "512 parsecs", "hardware.levels.RF.capacity must be an amount of data"),
        ("design", "for N in 64", "for N in 65x", r"nest\[1\]: must read 'LEVEL"),
        ("design", "RF keeps W Z", "RFF keeps W Z", r"nest\[2\]: no level 'RFF'.*'RF'"),
        ("design", "DRAM: \"B(K,N)\"", "DRAM: \"BB(K,N)\"", "formats.W.DRAM: .*unknown primitive"),
        ("design", "weight: 4", "weight: 65", "bits.weight: must be between 1 and 64, got 65"),
        ("design", "name: tiny", "name: tiny\n  name: two", "key 'name' stands twice"),
        ("hardware", "capacity:", "capasity:", "levels.GLB: unknown key 'capasity'; did"),
        ("hardware", "8GB/s", "8GB", "levels.DRAM.read_bandwidth must be data per s or cycle"),
        ("hardware", "{X: 4}", "{X: 0}", "levels.GLB.fan_out.X: must be >= 1, got 0"),
        ("hardware", "clock: 1GHz", "clock: fast", "clock must be a number with a unit such as 1G"),
        ("workload", "count: 3", "counts: 3", r"operators\[0\]: unknown key 'counts'; did you me"),
        ("workload", "tokens: 2", "tokens: 0", "tokens: must be >= 1, got 0"),
        ("workload", "class: weight", "class: wait", r"operators\[0\].tensors.W.class: must be"),
        ("workload", "softmax: 48", "softmax: few", "left_out.softmax: must be a whole number"),
        ("dataflow", "spatial:", "spatail:", "dataflow: unknown key 'spatail'; did you mean 'spat"),
        ("dataflow", "0.5", "1.5", "minimum_utilisation: must be between 0 and 1, got 1.5"),
        ("dataflow", "[K, N, M]", "KNM", "order.DRAM: must be a list, got 'KNM'"),
    ],
)  # fmt: skip
def test_bad_files_name_line_key_and_rule(
    kind: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    text, read = FILES[kind]
    assert text.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    line = text[: text.index(old)].count("\n") + 1 + new.count("\n")
    with pytest.raises(FileError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FILES)
def test_a_missing_key_and_a_missing_file_are_named(kind: str, tmp_path: Path) -> None:
    _, read = FILES[kind]
    (tmp_path / "mine.yaml").write_text(f"schema: cosearch.{kind}/9\n")
    with pytest.raises(FileError, match=f":1: schema: must be one of cosearch.{kind}/1"):
        read(tmp_path / "mine.yaml")
    with pytest.raises(FileError, match=r"none\.yaml: cannot be read: No such file"):
        read(tmp_path / "none.yaml")


def test_older_layouts_are_read(tmp_path: Path) -> None:
    operator = WORKLOAD[WORKLOAD.index("    ranks") : WORKLOAD.index("left_out")]
    (tmp_path / "one.yaml").write_text("operator:\n    name: q_proj\n" + operator)
    (tmp_path / "two.yaml").write_text(WORKLOAD)
    one, two = (workload_file(str(tmp_path / name)) for name in ("one.yaml", "two.yaml"))
    assert one.operators == two.operators
    (tmp_path / "hydra.yaml").write_text(
        HARDWARE.replace("schema: cosearch.hardware/1", "_target_: spaces.hardware_config.build")
    )
    (tmp_path / "now.yaml").write_text(HARDWARE)
    assert read_hardware(tmp_path / "hydra.yaml") == read_hardware(tmp_path / "now.yaml")


def test_a_workload_file_says_what_is_computed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(WORKLOAD)
    workload = workload_file(str(tmp_path / "mine.yaml"))
    assert (workload.name, workload.tokens, workload.macs) == ("block", 2, 3 * 2 * 8 * 4)
    assert workload.parameters == 3 * 8 * 4
    assert workload.left_out_share == pytest.approx(48 / (48 + 2 * 192))


def test_what_is_written_is_read_back_and_names_its_schema(tmp_path: Path) -> None:
    hardware = build_hardware("h", {"DRAM": {"kind": "dram"}, "RF": {"capacity": "1kB"}})
    write_hardware(tmp_path / "h.yaml", hardware)
    assert read_hardware(tmp_path / "h.yaml") == hardware
    operators = (matmul("a", {"M": 1, "K": 2, "N": 3}), matmul("b", {"M": 4, "K": 2, "N": 3}))
    write_workload(tmp_path / "w.yaml", "two", operators)
    assert workload_file(str(tmp_path / "w.yaml")).operators == operators
    flow = Dataflow("x", spatial={"X": ["M"]}, maximum_trip={"DRAM": {"M": 2}})
    write_dataflow(tmp_path / "d.yaml", flow)
    assert read_dataflow(tmp_path / "d.yaml") == flow
    for name, schema in (("h", "hardware-1"), ("w", "workload-2"), ("d", "dataflow-1")):
        first = (tmp_path / f"{name}.yaml").read_text().splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (tmp_path / first.partition("=")[2]).resolve().name == f"{schema}.json"
        assert (tmp_path / first.partition("=")[2]).is_file()
