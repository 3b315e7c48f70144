import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from evaluators.sparsity.density import density_model
from spaces.sparsity.sparsity import (
    DENSE,
    DensityRule,
    DensitySpec,
    SparsityProfile,
    format_layers,
    n_m,
    n_m_per_layer,
    parse_layers,
    split_by_layer,
    unstructured,
)
from spaces.workloads.convolution import ConvolutionShape, conv2d
from spaces.workloads.language_model import layered
from spaces.workloads.workload import Workload, matmul

CONF = Path(__file__).parents[3] / "conf"
PROFILES = sorted(file.stem for file in (CONF / "sparsity").glob("*.yaml"))
INLINE = [name for name in PROFILES if not name.startswith("measured")]
WORKLOADS = sorted(file.stem for file in (CONF / "workload").glob("*.yaml"))


def layers_of(name="down_proj", layers=8, calls=1):
    return layered(matmul(name, {"M": 1, "K": 64, "N": 32}), layers, calls)


def load(workload, sparsity, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        choices = [f"+workload={workload}", f"+sparsity={sparsity}"]
        config = compose(overrides=[*choices, *overrides])
    return instantiate(config.workload), instantiate(config.sparsity)


def weight_specs(workload, profile):
    split = split_by_layer(workload, profile)
    return {op.name: profile.resolve(op, op.tensors[1]) for op in split.operators}


@pytest.mark.parametrize(
    "workload", [name for name in WORKLOADS if name not in ("hf", "gemm_list", "onnx", "file")]
)
def test_every_shipped_workload_takes_every_kind_of_profile(workload):
    for sparsity in ("llama_mixed", "nm_per_layer", "block", "activation"):
        model, profile = load(workload, sparsity)
        split = split_by_layer(model, profile)
        assert split.macs == model.macs
        assert split.matmul_parameters == model.matmul_parameters
        for operator in split.operators:
            for tensor in operator.tensors:
                spec = profile.resolve(operator, tensor)
                names = [dimension.name for dimension in tensor.dimensions]
                sizes = [operator.ranks.get(name, 9) for name in names]
                assert density_model(spec, names, sizes).density == pytest.approx(
                    spec.density, abs=1e-2
                )


@pytest.mark.parametrize("sparsity", INLINE)
def test_every_shipped_profile_has_a_source_for_every_number(sparsity):
    _, profile = load("gemm", sparsity)
    specs = [profile.weight, profile.activation, profile.kv, profile.output]
    specs += [rule.spec for rule in profile.rules.values() if rule.spec]
    assert all(spec.source for spec in specs)
    text = (CONF / "sparsity" / f"{sparsity}.yaml").read_text()
    assert len(text.splitlines()) <= 24


def test_hugging_face_config_composes(tmp_path):
    values = {
        "model_type": "gpt2",
        "n_embd": 8,
        "n_head": 2,
        "n_layer": 3,
        "n_positions": 2048,
        "vocab_size": 50257,
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    model, _ = load("hf", "dense", f"workload.path={tmp_path}")
    assert model.operators[0].count == 3


def test_llama_mixed_is_what_its_comment_says():
    model, profile = load("llama2_7b", "llama_mixed")
    specs = weight_specs(model, profile)
    assert len(specs) == 12
    assert specs["q_proj"].parameters == {"n": 2, "m": 4, "dimension": "K"}
    densities = {name: spec.density for name, spec in specs.items()}
    assert densities["down_proj[0-3]"] == 0.38
    assert densities["down_proj[4-15]"] == 0.32
    assert densities["down_proj[16-31]"] == 0.265
    assert densities["lm_head"] == 1.0
    mean = (4 * 0.38 + 12 * 0.32 + 16 * 0.265) / 32
    assert mean == pytest.approx(0.3)
    assert {profile.activation.density, profile.kv.density, profile.output.density} == {1.0}


def test_a_class_is_overridden_from_the_command_line():
    model, profile = load("llama2_7b", "llama_mixed", "sparsity.weight.density=0.5")
    densities = {name: spec.density for name, spec in weight_specs(model, profile).items()}
    assert densities["gate_up_proj[0-3]"] == 0.58
    assert densities["q_proj"] == 0.5
    _, profile = load("gemm", "dense", "sparsity.activation.density=0.4")
    assert (profile.activation.model, profile.activation.density) == ("hypergeometric", 0.4)
    model, profile = load("gemm", "nm_2_4", "sparsity.weight.n=1", "sparsity.weight.m=8")
    assert weight_specs(model, profile)["gemm"].density == 0.125


def test_relu_sparsity_only_where_a_relu_is():
    for name, density in (("opt_6_7b", 0.1), ("gpt2_medium", 1.0), ("llama2_7b", 1.0)):
        model, profile = load(name, "activation", "workload.context=64")
        down = next(op for op in model.operators if op.name == "down_proj")
        assert profile.resolve(down, down.tensors[0]).density == density
        assert profile.resolve(down, down.tensors[1]).density == 1.0


def test_nm_patterns_of_the_layer_groups_come_from_two_lists():
    model, profile = load("llama2_7b", "nm_per_layer", "sparsity.patterns=[6:8,4:8,2:8]")
    specs = weight_specs(model, profile)
    assert specs["q_proj[0-7]"].density == 0.75
    assert specs["q_proj[24-31]"].density == 0.25


def test_split_shares_out_counts_and_keeps_roles():
    workload = Workload("w", (layers_of("kv_proj", layers=8, calls=2),))
    profile = n_m_per_layer(["0-1", "2,7"], ["1:4", "3:4"])
    split = split_by_layer(workload, profile)
    assert [(op.name, op.count, op.layers) for op in split.operators] == [
        ("kv_proj[0-1]", 4, (0, 1)),
        ("kv_proj[2,7]", 4, (2, 7)),
        ("kv_proj[3-6]", 8, (3, 4, 5, 6)),
    ]
    assert {op.role for op in split.operators} == {"kv_proj"}
    assert split_by_layer(split, profile) == split


def test_equal_groups_are_not_split():
    profile = n_m_per_layer(["0-3", "4-7"], ["2:4", "2:4"])
    workload = Workload("w", (layers_of(),))
    assert split_by_layer(workload, profile) == workload


def test_an_unsplit_operator_with_several_densities_is_refused():
    operator = layers_of()
    profile = n_m_per_layer(["0-3"], ["2:4"])
    with pytest.raises(ValueError, match=r"has 2 densities .* split the workload by layer first"):
        profile.resolve(operator, operator.tensors[1])


def test_rules_apply_in_order_and_offsets_build_on_them():
    rules = {
        "all": DensityRule(spec=unstructured(0.5)),
        "early": DensityRule(layers="0", offset=0.1),
        "late": DensityRule(layers=7, offset=-0.7),
    }
    profile = SparsityProfile("p", rules=rules)
    densities = weight_specs(Workload("w", (layers_of(),)), profile)
    assert {name: spec.density for name, spec in densities.items()} == {
        "down_proj[0]": 0.6,
        "down_proj[1-6]": 0.5,
        "down_proj[7]": 0.0,
    }


def test_offsets_leave_dense_tensors_and_patterns_alone():
    rule = DensityRule(offset=-0.2)
    assert rule.apply(DENSE) is DENSE
    assert rule.apply(n_m(2, 4)).density == 0.5


def test_operators_are_chosen_by_pattern_and_class():
    rule = DensityRule("q_proj | *kv_proj", tensor_class="weight", spec=unstructured(0.5))
    names = ["q_proj", "cross.kv_proj", "o_proj"]
    chosen = [rule.matches(layers_of(name), layers_of(name).tensors[1], 0) for name in names]
    assert chosen == [True, True, False]
    assert not rule.matches(layers_of("q_proj"), layers_of("q_proj").tensors[0], 0)


def test_dimension_words_follow_the_operator():
    profile = SparsityProfile("p", weight=n_m(2, 4))
    cases = [
        (matmul("fc", {"M": 1, "K": 64, "N": 32}), "K"),
        (matmul("fc", {"B": 9, "M": 1, "K": 64, "N": 32}), "K"),
        (conv2d("conv", ConvolutionShape(8, 4, size=5, kernel=5)), "C"),
    ]
    for operator, dimension in cases:
        spec = profile.resolve(operator, operator.tensors[1])
        assert spec.parameters["dimension"] == dimension


@pytest.mark.parametrize(
    "shape",
    [
        ConvolutionShape(3, 64, size=112, kernel=7, stride=2),
        ConvolutionShape(32, 32, size=7, kernel=5, groups=32),
    ],
)
def test_patterns_that_cannot_fit_leave_the_tensor_dense(shape):
    operator = conv2d("conv", shape)
    spec = SparsityProfile("p", weight=n_m(2, 4)).resolve(operator, operator.tensors[1])
    assert (spec.model, spec.density) == ("dense", 1.0)
    assert "dense: " in spec.source


@pytest.mark.parametrize("text", ["3-1", "a", "1,,2", "-1", "1-"])
def test_bad_layers_are_named(text):
    with pytest.raises(ValueError, match="layers must be written like 0-3,31"):
        parse_layers(text)


def test_layers_round_trip():
    for layers in [(0,), (0, 1, 2, 31), (5, 7, 9), tuple(range(80))]:
        assert parse_layers(format_layers(layers)) == set(layers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bernoulli", 1.5), "density must be between 0 and 1, got 1.5"),
        (("bernouli", 0.5), "did you mean 'bernoulli'"),
        (("dense", 0.5), "density of a dense tensor must be 1, got 0.5"),
    ],
)
def test_bad_densities_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DensitySpec(*arguments)


def test_unequal_lists_of_patterns_are_named():
    with pytest.raises(ValueError, match="as many as the 2 groups in layers, got 1"):
        n_m_per_layer(["0", "1"], ["2:4"])
