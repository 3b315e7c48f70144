"""Timeloop files: round trips over the reference cases, older spellings, errors."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from evaluators.accelerator.priced_design import accelerator_of
from evaluators.reference.golden_cases import GoldenCase, read_golden
from evaluators.reference.golden_formats import codec_formats, reference_optimization
from spaces.interchange.accelforge_export import export_accelforge
from spaces.interchange.accelforge_import import import_accelforge, nest_items, read_accelforge
from spaces.interchange.timeloop_export import FILES, export_timeloop
from spaces.interchange.timeloop_import import REST_FILE, import_timeloop
from spaces.interchange.timeloop_yaml import TimeloopError
from spaces.mappings.design_file import Design, design_to_data, read_design, write_design
from spaces.mappings.loop_nest import TEMPORAL
from spaces.workloads.workload import Precision
from tests.spaces.interchange.timeloop_schema import check_section

GOLDEN = Path(__file__).resolve().parent.parent.parent / "golden"
CASES = [
    *read_golden(GOLDEN / "sparseloop_matmul.json.gz"),
    *read_golden(GOLDEN / "published_fig1.json"),
]
ACCELFORGE = GOLDEN / "accelforge_mappings.json"
TECHNOLOGY = {"name": "golden", "values": {"leakage_mw_per_mm2": 0.0}}
ALLOWED_REST = ("densities/A/source", "densities/B/source", "densities/Z", "evaluator/technology")


def golden_design(case: GoldenCase) -> Design:
    formats, ids = codec_formats(case)
    optimization = reference_optimization(case)
    rules = [
        {"level": r.level, "target": r.target, "leaders": list(r.leaders), "kind": r.kind}
        for r in optimization.rules
    ]
    skipping: dict[str, object] = {"rules": rules} if rules else {}
    if optimization.compute != "none":
        skipping["compute"] = optimization.compute
    bits = min(level.access_bits for level in case.hardware.levels)
    return Design(
        case.operator,
        case.hardware,
        replace(case.mapping, format_id=ids),
        formats,
        case.densities,
        Precision(bits, bits, bits, bits),
        evaluator={"technology": TECHNOLOGY} | ({"skipping": skipping} if skipping else {}),
    )


def prices(design: Design) -> dict[str, float]:
    priced = replace(design, evaluator={**design.evaluator, "technology": TECHNOLOGY})
    metrics = accelerator_of(priced).evaluate(priced.mapping).metrics
    return {name: float(values[0]) for name, values in metrics.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_round_trip(case: GoldenCase, tmp_path: Path) -> None:
    design = golden_design(case)
    rest = export_timeloop(design, tmp_path)
    unexpected = [key for key in rest if key not in ALLOWED_REST]
    assert [key for key in unexpected if not key.startswith("evaluator/skipping/rules")] == []
    for section, name in FILES.items():
        check_section(section, (tmp_path / name).read_text())
    bare = import_timeloop([tmp_path / name for name in FILES.values()])
    assert bare.design is not None
    assert bare.notes == ()
    assert prices(bare.design) == prices(design)
    whole = import_timeloop([tmp_path])
    assert whole.design is not None
    assert design_to_data(whole.design) == design_to_data(design)


def even_mappings() -> list[str]:
    names = []
    for case in read_golden(ACCELFORGE):
        keep = case.mapping.keep_at[0]
        above = [0, *(case.mapping.loop_trip[0] > 1).cumsum().tolist()]
        if all(len({above[p] for p in column if p >= 0}) == 1 for column in keep.T):
            names.append(case.name)
    return names


@pytest.mark.parametrize("case", read_golden(ACCELFORGE), ids=lambda case: case.name)
def test_accelforge_import(case: GoldenCase, tmp_path: Path) -> None:
    design = import_accelforge(ACCELFORGE, case.name)
    metrics = prices(design)
    assert metrics["energy_pj"] == pytest.approx(case.expected["energy_pJ"], rel=1e-6)
    assert metrics["latency_cycles"] == pytest.approx(case.expected["latency_cycles"], rel=1e-6)
    write_design(tmp_path / "design.yaml", design)
    assert prices(read_design(tmp_path / "design.yaml")) == metrics
    assert export_accelforge(design, tmp_path / "af.json") == {}
    again = import_accelforge(tmp_path / "af.json", case.name)
    assert prices(again) == metrics
    if case.name not in even_mappings():
        with pytest.raises(ValueError, match="one depth"):
            export_timeloop(design, tmp_path / "tl")
        return
    export_timeloop(design, tmp_path / "tl")
    back = import_timeloop([tmp_path / "tl"]).design
    assert back is not None
    assert prices(back) == metrics


def test_accelforge_takes_dense_designs_on_one_array(tmp_path: Path) -> None:
    design = golden_design(next(case for case in CASES if case.densities))
    hardware = design.hardware
    one_axis = [replace(level, fan_out={}) for level in hardware.levels]
    with pytest.raises(ValueError, match=r"hardware.levels: AccelForge takes one array of axes"):
        export_accelforge(
            replace(design, hardware=replace(hardware, levels=tuple(one_axis))), tmp_path / "a.json"
        )
    assert not (tmp_path / "a.json").exists()


def test_accelforge_names_the_nearest_mapping() -> None:
    with pytest.raises(TimeloopError, match=r"no mapping 'd32_aa'; did you mean 'd32_a'"):
        import_accelforge(ACCELFORGE, "d32_aa")


OLD = """
architecture:
  version: 0.3
  subtree:
    - name: system
      local:
        - {name: DRAM, class: DRAM, attributes: {width: 64, word-bits: 16}}
      subtree:
        - name: chip
          attributes: {technology: 45nm}
          local:
            - {name: GLB, class: SRAM, attributes: {depth: 1024, width: 64, block-size: 4,
               word-bits: 16}}
          subtree:
            - name: PE[0..15]
              local:
                - {name: RF, class: regfile, attributes: {depth: 16, width: 16, word-bits: 16}}
                - {name: MAC, class: intmac, attributes: {datawidth: 16}}
problem:
  shape:
    name: small
    dimensions: [M, N, K]
    data-spaces:
      - {name: A, projection: [[[M]], [[K]]]}
      - {name: B, projection: [[[N]], [[K]]]}
      - {name: Z, projection: [[[M]], [[N]]], read-write: true}
  instance: {M: 4, N: 32, K: 16, densities: {B: {distribution: fixed-structured, density: 0.5}}}
mapping:
  - {target: DRAM, type: temporal, factors: N=2 K=1 M=4, permutation: KNM}
  - {target: GLB, type: temporal, factors: N=1 K=4 M=1, permutation: NMK}
  - {target: GLB, type: bypass, keep: [A, Z], bypass: [B]}
  - {target: GLB, type: spatial, factors: N=16 K=1 M=1, permutation: NKM, split: 1}
  - {target: RF, type: temporal, factors: N=1 K=0 M=1, permutation: KNM}
ERT:
  version: 0.3
  tables:
    - name: system.chip.GLB
      actions: [{name: read, arguments: {}, energy: 4.5}, {name: write, energy: 5.5}]
constraints:
  targets:
    - {target: GLB, type: spatial, factors: K=1, permutation: NKM}
    - {target: GLB, type: dataspace, bypass: [B]}
    - {target: DRAM, type: temporal, factors: M=2, permutation: MNK}
"""


def test_older_spellings_are_read_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    imported = import_timeloop([tmp_path / "old.yaml"])
    design = imported.design
    assert design is not None
    nest = design_to_data(design)["nest"]
    assert nest == [
        "DRAM keeps A, B, Z", "for M in 4", "for N in 2", "GLB keeps A, Z", "for K in 4",
        "spatial PE: N in 16", "RF keeps A, B, Z", "for K in 4",
    ]  # fmt: skip
    glb = design.hardware.levels[1]
    assert (glb.capacity_bits, glb.access_bits, glb.read_energy_pj) == (65536, 64, 4.5)
    assert design.hardware.technology_nm == 45
    assert any("'data-spaces' is an older spelling of 'data_spaces'" in n for n in imported.notes)
    assert all(n.startswith("old.yaml:") for n in imported.notes)
    flow = imported.dataflow
    assert flow is not None
    assert (flow.spatial, flow.bypass) == ({"GLB.PE": ["M", "N"]}, {"GLB": ["B"]})
    assert (flow.order, flow.maximum_trip) == ({"DRAM": ["K", "N", "M"]}, {"DRAM": {"M": 2}})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("permutation: NMK", "permutation: NXK", r"old.yaml:LINE: permutation: no dimension 'X'"),
        ("type: bypass", "type: bypas", r"old.yaml:LINE: type: unknown 'bypas'.*'bypass'"),
        ("keep: [A, Z]", "kepe: [A, Z]", r"old.yaml:LINE: kepe: unknown key.*'keep'"),
        ("target: RF,", "target: RFF,", r"old.yaml:LINE: target: no storage 'RFF'.*'RF'"),
        ("density: 0.5", "density: 1.5", r"old.yaml:LINE: density: must be between 0 and 1"),
        ("energy: 4.5", "energy: -1", r"old.yaml:LINE: energy: must be a number >= 0"),
        ("depth: 1024", "depth: 2**10", r"old.yaml:LINE: depth: must be a number > 0"),
        (
            "dimensions: [M, N, K]",
            "dimension: [M]",
            r"old.yaml:LINE: dimension: unknown key.*dimens",
        ),
        ("factors: N=1 K=4 M=1,", "factors: N=1 K~4,", r"old.yaml:LINE: factors: must read like"),
        ("problem:", "problem: [", r"old.yaml:\d+: is not YAML"),
    ],
)
def test_bad_files_give_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert OLD.count(old) >= 1
    text = OLD.replace(old, new, 1)
    (tmp_path / "old.yaml").write_text(text)
    line = text[: text.index(new)].count("\n") + 1
    with pytest.raises(TimeloopError, match=message.replace("LINE", str(line))) as caught:
        import_timeloop([tmp_path / "old.yaml"])
    assert "\n" not in str(caught.value)


def test_what_timeloop_cannot_say_is_named(tmp_path: Path) -> None:
    base = golden_design(CASES[0])
    design = replace(base, precision=Precision(4, 16, 16, 32), stationarity="explicit")
    rest = export_timeloop(design, tmp_path)
    assert {"bits/weight", "bits/psum", "conventions/stationarity"} <= set(rest)
    assert "cosearch_rest" in yaml.safe_load((tmp_path / REST_FILE).read_text())
    back = import_timeloop([tmp_path]).design
    assert back is not None
    assert design_to_data(back) == design_to_data(design)
    assert (back.mapping.loop_kind != TEMPORAL).any()


def test_accelforge_yaml_nodes_become_a_nest(tmp_path: Path) -> None:
    case = read_golden(ACCELFORGE)[0]
    (tmp_path / "m.yaml").write_text(
        "nodes:\n"
        "- !Storage {component: DRAM, tensors: [I, W, O]}\n"
        "- !Temporal {rank_variable: k, tile_shape: 4}\n"
        "- !Storage {component: GLB, tensors: [I, O]}\n"
        "- !Temporal {rank_variable: k, tile_shape: 1}\n"
        "- !Compute {einsum: matmul, component: MAC}\n"
    )
    nodes = read_accelforge(tmp_path / "m.yaml")["nodes"]
    size = case.operator.ranks["K"]
    assert nest_items(nodes, case.operator, case.hardware) == [
        "DRAM keeps I, W, O", f"for K in {size // 4}", "GLB keeps I, O", "for K in 4",
    ]  # fmt: skip
    nodes[1]["rank_variable"] = "q"
    with pytest.raises(TimeloopError, match=r"m.yaml:3: rank_variable: no rank 'Q'"):
        nest_items(nodes, case.operator, case.hardware)
