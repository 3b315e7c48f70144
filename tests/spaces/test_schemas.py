"""Published schemas: up to date, valid, and of one mind with the readers."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from spaces.interchange.accelforge_import import import_accelforge
from spaces.interchange.timeloop_export import timeloop_documents
from spaces.interchange.timeloop_yaml import dump
from spaces.mappings.design_fields import hardware_from_data
from spaces.mappings.design_file import design_from_data, design_to_data
from spaces.schemas import SCHEMAS, schema_text

ROOT = Path(__file__).resolve().parent.parent.parent
DESIGN = design_to_data(
    import_accelforge(ROOT / "tests/golden/accelforge_mappings.json", "u1_decode_uneven")
)
ANY = {"type": "array"}
DIRECTIVE = {
    "type": "object",
    "required": ["target", "type"],
    "properties": {
        "target": {"type": "string"},
        "type": {"enum": ["temporal", "spatial", "dataspace"]},
        "factors": {"type": "array", "items": {"type": "string", "pattern": r"^\w+=\d+$"}},
        "permutation": {"type": "array", "items": {"type": "string"}},
        "split": {"type": "integer"},
        "keep": ANY,
        "bypass": ANY,
    },
    "additionalProperties": False,
}
TIMELOOP = {
    "architecture": {
        "required": ["version", "nodes"],
        "properties": {
            "version": {"const": "0.4"},
            "nodes": {
                "items": {
                    "required": ["name"],
                    "properties": {
                        "class": {"enum": ["DRAM", "SRAM", "regfile", "intmac"]},
                        "attributes": {"type": "object"},
                        "spatial": {"properties": {"meshX": {"type": "integer"}}},
                    },
                    "additionalProperties": {"type": "string"},
                }
            },
        },
    },
    "problem": {"required": ["version", "shape", "instance"]},
    "mapping": {"type": "array", "items": DIRECTIVE},
    "sparse_optimizations": {
        "required": ["version", "targets"],
        "properties": {
            "targets": {
                "items": {
                    "required": ["target"],
                    "properties": {
                        "target": {"type": "string"},
                        "representation_format": {"required": ["data_spaces"]},
                        "action_optimization": {"items": {"required": ["type", "options"]}},
                        "compute_optimization": ANY,
                    },
                    "additionalProperties": False,
                }
            }
        },
    },
    "ERT": {
        "required": ["version", "tables"],
        "properties": {"tables": {"items": {"required": ["name", "actions"]}}},
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schema_is_current_and_valid(name: str) -> None:
    assert (ROOT / "docs" / "schemas" / f"{name}.json").read_text() == schema_text(name)
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text(name)))


def test_written_designs_validate() -> None:
    jsonschema.validate(DESIGN, SCHEMAS["design-1"]())
    jsonschema.validate({"operator": DESIGN["operator"]}, SCHEMAS["workload-1"]())


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "hardware").glob("*.yaml")), ids=str)
def test_shipped_hardware_validates(path: Path) -> None:
    data = {k: v for k, v in yaml.safe_load(path.read_text()).items() if k != "_target_"}
    jsonschema.validate(data, SCHEMAS["hardware-1"]())
    assert hardware_from_data(data).levels


@pytest.mark.parametrize(
    "change",
    [
        {"nests": []},
        {"schema": "cosearch.design/2"},
        {"bits": {"weight": 0}},
        {"conventions": {"stationarity": "sometimes"}},
        {"densities": {"W": 1.5}},
        {"hardware": {"name": "x", "levels": {"A": {"kind": "tape"}}}},
        {"operator": {"name": "x", "ranks": {"M": 0}, "tensors": {}}},
    ],
    ids=str,
)
def test_schema_and_reader_refuse_the_same(change: dict[str, object]) -> None:
    data = {**DESIGN, **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMAS["design-1"]())
    with pytest.raises(ValueError, match=r"\w"):
        design_from_data(data)


def test_exports_have_the_structure_of_timeloop_files() -> None:
    even = design_from_data(
        design_to_data(
            import_accelforge(ROOT / "tests/golden/accelforge_mappings.json", "t01_tiny_os")
        )
    )
    for section, content in timeloop_documents(even).items():
        text = dump({section: content})
        plain = yaml.safe_load(text.replace("!Component", "").replace("!Container", ""))
        jsonschema.validate(plain[section], TIMELOOP[section])
