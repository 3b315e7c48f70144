"""ZigZag layers: a convolution and a matrix product, and what is wrong in a file."""

from pathlib import Path

import pytest

from spaces.interchange.timeloop_yaml import Notes, TimeloopError
from spaces.interchange.zigzag_import import zigzag_operators

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
    conv, gemm = zigzag_operators(tmp_path / "w.yaml", notes)
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
        zigzag_operators(tmp_path / "w.yaml", Notes())
