"""ZigZag layers: a convolution and a matrix product, and what is wrong in a file."""

from pathlib import Path

import pytest

from spaces.hardware import Hardware
from spaces.interchange.timeloop_yaml import Notes, TimeloopError
from spaces.interchange.zigzag_import import import_zigzag
from spaces.workloads.workload import TensorClass

LAYERS = """
- id: 0
  operator_type: Conv
  equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
  dimension_relations: [ix=2*ox+1*fx, iy=2*oy+1*fy]
  loop_dims: [B, K, C, OY, OX, FY, FX]
  loop_sizes: [1, 64, 3, 112, 112, 7, 7]
  operand_precision: {W: 8, I: 8, O: 16, O_final: 8}
- id: 1
  operator_type: Gemm
  equation: O[b][k]+=W[k][c]*I[b][c]
  loop_dims: [B, K, C]
  loop_sizes: [4, 1000, 2048]
"""


def test_layers_become_operators(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(LAYERS)
    notes = Notes()
    read = import_zigzag(tmp_path / "w.yaml", notes)
    assert isinstance(read, list)
    conv, gemm = read
    assert (conv.macs, gemm.macs) == (118013952, 4 * 1000 * 2048)
    assert [tensor.name for tensor in conv.tensors] == ["I", "W", "O"]
    assert conv.tensor_elements("I") == 3 * 229 * 229
    assert notes.lines == ["w.yaml:8: key 'operand_precision' is not used"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("O[b][k]+=W[k][c]*I[b][c]", "O=W", r"w.yaml:11: equation: must read like"),
        ("*I[b][c]\n", "*I[b][d]\n", r"w.yaml:11: equation: no loop dimension 'D'"),
        ("[4, 1000, 2048]", "[4, 1000]", r"w.yaml:13: loop_sizes: must have 3 sizes, got 2"),
        ("2048", "0", r"w.yaml:13: loop_sizes: must be whole numbers >= 1, got 0"),
        ("ix=2*ox+1*fx", "ix=ox", r"w.yaml:5: dimension_relations: must read like"),
        ("loop_dims: [B, K, C]\n", "loop_dim: [B, K, C]\n", r"loop_dims: is missing; did you"),
    ],
)
def test_bad_layers_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in LAYERS
    (tmp_path / "w.yaml").write_text(LAYERS.replace(old, new))
    with pytest.raises(TimeloopError, match=message):
        import_zigzag(tmp_path / "w.yaml", Notes())


ACCELERATOR = """
name: small
memories:
  rf_w: {size: 1024, r_bw: 8, w_bw: 8, r_cost: 0.095, w_cost: 0.095, r_port: 1, w_port: 1,
         rw_port: 0, latency: 1, operands: [I2], served_dimensions: []}
  rf_o: {size: 16, r_bw: 16, w_bw: 16, r_cost: 0.021, w_cost: 0.021, r_port: 2, w_port: 2,
         rw_port: 0, operands: [O], served_dimensions: [D2]}
  sram: {size: 16777216, r_bw: 2048, w_bw: 1024, r_cost: 416, w_cost: 189, r_port: 1, w_port: 1,
         rw_port: 0, operands: [I1, O], min_r_granularity: 64, served_dimensions: [D1, D2]}
  dram: {size: 10000000000, r_bw: 64, w_bw: 64, r_cost: 700, w_cost: 750, r_port: 0, w_port: 0,
         rw_port: 1, operands: [I1, I2, O], served_dimensions: [D1, D2]}
operational_array: {unit_energy: 0.04, unit_area: 1, dimensions: [D1, D2], sizes: [32, 16]}
"""


def test_an_accelerator_becomes_hardware(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text(ACCELERATOR)
    notes = Notes()
    hardware = import_zigzag(tmp_path / "h.yaml", notes)
    assert isinstance(hardware, Hardware)
    assert hardware.level_names == ("dram", "sram", "rf_o", "rf_w")
    assert hardware.instances == (1, 1, 32, 32 * 16, 32 * 16)
    dram, sram, rf_o, rf_w = hardware.levels
    assert (dram.kind, dram.shared_port, dram.may_keep) == ("dram", True, None)
    assert sram.may_keep == {TensorClass.ACTIVATION, TensorClass.OUTPUT}
    assert (sram.read_energy_pj, sram.write_energy_pj) == (416, 189 * 2)
    assert (rf_o.read_bits_per_cycle, rf_o.fan_out) == (32, {"D2": 16})
    assert rf_w.may_keep == {TensorClass.WEIGHT, TensorClass.KV}
    assert hardware.compute.energy_pj == 0.04
    assert [line.split(":")[1] for line in notes.lines] == ["9"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size: 16,", "sise: 16,", r"h.yaml:6: sise: unknown key; did you mean 'size'"),
        ("r_cost: 416", "r_cost: free", r"h.yaml:8: r_cost: must be a number >= 0, got 'free'"),
        ("operands: [I2]", "operands: [W]", r"h.yaml:5: operands: no operand 'W'"),
        ("[D2]}", "[D3]}", r"h.yaml:7: served_dimensions: no dimension 'D3'; valid: D1, D2"),
        ("[I1, I2, O], served_dimensions: [D1, D2]", "[I1, I2, O], served_dimensions: [D1]",
         r"h.yaml:11: served_dimensions: must hold D2"),
        ("sizes: [32, 16]", "sizes: [32]", r"h.yaml:12: sizes: must have 2 sizes, got 1"),
        ("unit_area: 1", "is_imc: true", r"h.yaml:12: is_imc: in-memory-computing arrays"),
        ("memories:", "memory:", r"h.yaml.*: memories: is missing; did you mean 'memory'"),
    ],
)  # fmt: skip
def test_bad_accelerators_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ACCELERATOR
    (tmp_path / "h.yaml").write_text(ACCELERATOR.replace(old, new, 1))
    with pytest.raises(TimeloopError, match=message):
        import_zigzag(tmp_path / "h.yaml", Notes())
