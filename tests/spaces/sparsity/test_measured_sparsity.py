"""Profiles from files; the density model of a mask needs safetensors (the llm extra)."""

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from evaluators.sparsity.density import density_model
from spaces.sparsity.measured_sparsity import measured_densities, measured_masks
from spaces.sparsity.sparsity import DENSE, split_by_layer
from spaces.sparsity.stored_weights import read_tensor
from spaces.workloads.language_model import layered
from spaces.workloads.workload import Workload, matmul

CONF = str(Path(__file__).parents[3] / "conf")


def layers_of(name="down_proj", layers=8):
    return layered(matmul(name, {"M": 1, "K": 64, "N": 32}), layers)


def load(sparsity, *overrides):
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose(overrides=[f"+sparsity={sparsity}", *overrides])
    return instantiate(config.sparsity)


def save(file, tensors):
    """Write a safetensors file by its specification; numpy's names give the types."""
    kinds = {"float32": "F32", "float64": "F64", "uint16": "BF16", "complex64": "C64"}
    header, data = {}, b""
    for name, values in tensors.items():
        span = [len(data), len(data) + values.nbytes]
        kind = kinds[values.dtype.name]
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": span}
        data += values.tobytes()
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return file


def table(folder, rows, **extra):
    file = folder / "table.json"
    file.write_text(json.dumps({"densities": rows, **extra}))
    return str(file)


def test_measured_densities_are_grouped_without_changing_their_mean(tmp_path):
    values = np.linspace(0.1, 0.8, 8)
    rows = [
        {"operator": "down_proj", "layers": layer, "density": density}
        for layer, density in enumerate(values)
    ]
    path = table(tmp_path, rows, source="a measurement")
    workload = Workload("w", (layers_of(), layers_of("up_proj")))
    for groups, expected in ((0, 8), (4, 4), (1, 1), (99, 8)):
        profile = measured_densities(path, groups)
        split = split_by_layer(workload, profile)
        parts = [op for op in split.operators if op.role == "down_proj"]
        specs = [profile.resolve(op, op.tensors[1]) for op in parts]
        assert len(parts) == expected
        mean = sum(op.count * spec.density for op, spec in zip(parts, specs, strict=True)) / 8
        assert mean == pytest.approx(values.mean())
        assert specs[0].source == "a measurement"
    assert profile.resolve(workload.operators[1], workload.operators[1].tensors[1]) == DENSE


def test_a_measured_default_is_refined_by_layers(tmp_path):
    rows = [
        {"operator": "down_proj", "density": 0.5},
        {"operator": "down_proj", "layers": "6-7", "density": 0.25},
        {"operator": "down_proj", "density": 0.9, "tensor_class": "activation"},
    ]
    profile = measured_densities(table(tmp_path, rows))
    workload = split_by_layer(Workload("w", (layers_of(),)), profile)
    found = {
        op.name: [profile.resolve(op, tensor).density for tensor in op.tensors]
        for op in workload.operators
    }
    assert found == {"down_proj[0-5]": [0.9, 0.5, 1.0], "down_proj[6-7]": [0.9, 0.25, 1.0]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"operator": "a", "density": 2},
            r"densities\[0\]: density must be between 0 and 1, got 2",
        ),
        ({"operator": "a"}, r"densities\[0\]: key 'density' is missing"),
        ({"operator": "a", "density": 1, "layer": 3}, "unknown key 'layer'; did you mean 'layers'"),
        ("row", r"densities\[0\] must be an object, got 'row'"),
        ({"operator": "a", "density": 1, "tensor_class": "w"}, "tensor_class"),
    ],
)
def test_bad_tables_are_named(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        measured_densities(table(tmp_path, [row]))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"sparsity\.path must be a file"):
        measured_densities(str(tmp_path / "none.json"))


@pytest.mark.llm
def test_masks_of_stored_weights_reach_the_density_model(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.random((2, 32, 64)) * (rng.random((2, 32, 64)) < 0.3)
    tensors = {f"layers.{i}.down.weight": weights[i] for i in range(2)}
    file = save(tmp_path / "model.safetensors", tensors)
    profile = measured_masks(str(file), {"down_proj": "layers.{layer}.down.weight"}, "0-1")
    workload = split_by_layer(Workload("w", (layers_of(layers=2),)), profile)
    assert [op.name for op in workload.operators] == ["down_proj[0]", "down_proj[1]"]
    for index, operator in enumerate(workload.operators):
        spec = profile.resolve(operator, operator.tensors[1])
        real = np.count_nonzero(weights[index]) / weights[index].size
        assert spec.density == pytest.approx(real)
        model = density_model(spec, ["K", "N"], [64, 32])
        assert model.density == pytest.approx(real)


def test_a_missing_tensor_is_named(tmp_path):
    file = save(tmp_path / "model.safetensors", {"a": np.ones((2, 2))})
    with pytest.raises(ValueError, match="no tensor 'b', the first: a"):
        measured_masks(str(file), {"down_proj": "b"})
    with pytest.raises(ValueError, match="no file"):
        measured_masks(str(tmp_path / "none"), {"down_proj": "b"})


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "model.safetensors"
    good = save(tmp_path / "good.safetensors", {"b": np.ones((4, 4))}).read_bytes()
    for damaged in (b"", b"no tensors here", good[:-1], good[:8] + b"x" + good[9:]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot be read as safetensors"):
            measured_masks(str(file), {"down_proj": "b"})


def test_an_unread_type_is_named(tmp_path):
    file = save(tmp_path / "model.safetensors", {"b": np.ones(2, dtype=np.complex64)})
    with pytest.raises(ValueError, match="tensor 'b' has type C64, read are F64, F32"):
        read_tensor(file, "b")


def test_bfloat16_becomes_float32_and_negative_zero_is_zero(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x0000, 0x8000], dtype=np.uint16)
    file = save(tmp_path / "model.safetensors", {"b": bits})
    assert read_tensor(file, "b").tolist() == [1.0, -2.0, 0.0, 0.0]
    rule = measured_masks(str(file), {"down_proj": "b"}).rules["b"]
    assert rule.spec.density == 0.5


@pytest.mark.llm
def test_files_of_the_safetensors_package_are_read(tmp_path):
    from safetensors.numpy import save_file

    tensors = {name: np.random.default_rng(0).random((3, 5)) for name in ("a", "b")}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for name, values in tensors.items():
        np.testing.assert_array_equal(read_tensor(tmp_path / "model.safetensors", name), values)


def test_the_shipped_config_of_a_table_composes(tmp_path):
    path = table(tmp_path, [{"operator": "fc1", "density": 0.5}])
    profile = load("measured", f"sparsity.path={path}", "sparsity.groups=2")
    assert [rule.spec.density for rule in profile.rules.values()] == [0.5]


def test_the_shipped_config_of_masks_composes(tmp_path):
    name = "model.layers.0.mlp.down_proj.weight"
    file = save(tmp_path / "w.safetensors", {name: np.eye(4, dtype=np.float32)})
    profile = load("measured_masks", f"sparsity.path={file}")
    assert [rule.spec.density for rule in profile.rules.values()] == [0.25]
