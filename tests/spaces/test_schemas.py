"""Published schemas: up to date, valid, and of one mind with the readers."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from spaces.interchange.accelforge_import import import_accelforge
from spaces.mappings.design_fields import hardware_from_data
from spaces.mappings.design_file import design_from_data, design_to_data
from spaces.schemas import CURRENT, SCHEMAS, schema_text, write_schemas

ROOT = Path(__file__).resolve().parent.parent.parent
DESIGN = design_to_data(
    import_accelforge(ROOT / "tests/golden/accelforge_mappings.json", "u1_decode_uneven")
)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_published_schema_is_current_and_valid(kind: str) -> None:
    published = ROOT / "docs" / "schemas" / f"{kind}-{CURRENT[kind]}.json"
    assert published.read_text() == schema_text(kind)
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text(kind)))


def test_nothing_else_is_published(tmp_path: Path) -> None:
    names = {path.name for path in write_schemas(tmp_path)}
    assert {path.name for path in (ROOT / "docs" / "schemas").iterdir()} == names


PRESETS = [p for p in sorted((ROOT / "conf" / "hardware").glob("*.yaml")) if p.stem != "file"]


@pytest.mark.parametrize("path", PRESETS, ids=str)
def test_shipped_hardware_validates(path: Path) -> None:
    data = {k: v for k, v in yaml.safe_load(path.read_text()).items() if k != "_target_"}
    jsonschema.validate(data, SCHEMAS["hardware"]())
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
        jsonschema.validate(data, SCHEMAS["design"]())
    with pytest.raises(ValueError, match=r"\w"):
        design_from_data(data)
