"""Files of ours as plain data: parsed, brought up to date, checked, and located when wrong.

A design, hardware, workload or dataflow file is YAML, or JSON by its suffix. `schema:
cosearch.KIND/N` states its kind and the version of its layout; older versions are upgraded. Every
mistake is one line: file, line, field, rule, value, and the nearest valid key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from spaces.schemas import CURRENT, check_data, schema_name
from spaces.validation import FieldError, nearest

PUBLISHED = Path(__file__).resolve().parent.parent / "docs" / "schemas"
"""Where the schemas lie, in a checkout."""


class FileError(ValueError):
    """A file that cannot be read; the message is one line that begins with file and line."""


def read_document(path: str | Path, kind: str) -> dict[str, Any]:
    """The content of a file of this kind, in the current layout and valid under its schema.

    Raises:
        FileError: If the file is missing, does not parse, or breaks the schema.
    """
    text = read_text(path)
    data = parse(path, text)
    with located(path, text):
        if not isinstance(data, dict):
            raise FieldError(f"{kind}: must be a mapping, got {data!r}", "")
        current = upgraded(kind, data)
        check_data(kind, current)
    return current


def read_text(path: str | Path) -> str:
    """The text of a file; `FileError` when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise FileError(f"{path}: cannot be read: {reason}") from None


def parse(path: str | Path, text: str) -> Any:
    """YAML, or JSON by the suffix, as plain data; `FileError` names the line where it ends."""
    try:
        return json.loads(text) if Path(path).suffix == ".json" else yaml.load(text, _Loader)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}"
        raise FileError(f"{place}: is not JSON: {error.msg} at column {error.colno}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise FileError(f"{path}:{line}: is not YAML: {problem} at column {column}") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key that stands twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) and key.value != "<<" else key
        if name in seen:
            problem = f"key {name!r} stands twice"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        seen.add(name)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


@contextmanager
def located(path: str | Path, text: str) -> Iterator[None]:
    """Put file and line in front of every `ValueError` of the block.

    The line is that of a `FieldError`'s field, as deep as the file has it.
    """
    try:
        yield
    except FileError:
        raise
    except ValueError as error:
        line = line_of(text, error.field) if isinstance(error, FieldError) else 1
        raise FileError(f"{path}:{line}: {' '.join(str(error).split())}") from None


def line_of(text: str, field: str) -> int:
    """Line of a dotted field in a YAML or JSON text: of the innermost of its keys that is there.

    The first key may be the kind of the file, as in `hardware.levels` of a hardware file.

    >>> line_of("a: {b: 1}\\nnest:\\n- x\\n- for K in 4\\n", "nest[1]")
    4
    """
    return found_line(text, field) or 1


def found_line(text: str, field: str) -> int | None:
    """As `line_of`; None where not even the first key of the field is there."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # JSON with tabs
        return None
    line, rest = None, field
    if node is not None and _below(node, rest) is None:
        rest = rest.partition(".")[2]
    while node is not None and rest:
        found = _below(node, rest)
        if found is None:
            break
        line, node, rest = found
    return line


def _below(node: yaml.Node, field: str) -> tuple[int, yaml.Node, str] | None:
    """Line, node and remaining path of the first part of a path."""
    index = re.match(r"\[(\d+)\]\.?", field)
    if isinstance(node, yaml.SequenceNode) and index and int(index[1]) < len(node.value):
        item = node.value[int(index[1])]
        return item.start_mark.line + 1, item, field[index.end() :]
    if isinstance(node, yaml.MappingNode):
        keys = {str(key.value): (key, value) for key, value in node.value}
        fits = [k for k in keys if field == k or field.startswith((f"{k}.", f"{k}["))]
        if fits:
            key, value = keys[max(fits, key=len)]
            return key.start_mark.line + 1, value, field[len(key.value) :].removeprefix(".")
    return None


def upgraded(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data in the current layout of its kind; a file that states none is of version 1.

    Raises:
        FieldError: If the schema is another kind's or of a version that is not known.
    """
    current = dict(data)
    stated = str(current.get("schema", schema_name(kind, 1)))
    known = [schema_name(kind, version) for version in range(1, CURRENT[kind] + 1)]
    if stated not in known:
        hint = nearest(stated, known)
        raise FieldError(
            f"schema: must be one of {', '.join(known)}, got {stated!r}{hint}", "schema"
        )
    for version in range(known.index(stated) + 1, CURRENT[kind]):
        current = UPGRADES[kind, version](current)
    if kind == "hardware":
        current.pop("_target_", None)  # as files of conf/hardware have it
    return current


def _workload_2(data: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 held one operator, as an import wrote it; version 2 lists operators."""
    rest = {key: value for key, value in data.items() if key not in ("operator", "schema")}
    operators = [data["operator"]] if "operator" in data else []
    return {"schema": schema_name("workload", 2), **rest, "operators": operators}


UPGRADES = {("workload", 1): _workload_2}
"""(kind, version) -> what turns that layout into the next one."""


def write_document(path: str | Path, kind: str, text: str) -> None:
    """Write a file of ours, complete or not at all; YAML tells editors where its schema is."""
    target = Path(path)
    head = "" if target.suffix == ".json" else editor_comment(target.parent, kind)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(head + text, encoding="utf-8")
    partial.replace(target)


def editor_comment(folder: Path, kind: str) -> str:
    """The first line of a file in a folder, for editors; empty where no schemas are installed."""
    schema = PUBLISHED / f"{kind}-{CURRENT[kind]}.json"
    if not schema.is_file():
        return ""
    place = Path(os.path.relpath(schema, folder.resolve())).as_posix()
    return f"# yaml-language-server: $schema={place}\n"
