"""Timeloop's YAML files: tags, line numbers for errors, and the older spellings of keys.

Versions 0.2 to 0.4 spell one key in several ways (`data-spaces`, `dataspaces`, `data_spaces`). All
are read; the words of version 0.4 are what the rest of our code sees, and every older word is noted
once. Source of the names: the v0.4 input formats at timeloop.csail.mit.edu/v4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from spaces.validation import nearest

OLDER_KEYS: Mapping[str, str] = {
    "dataspaces": "data_spaces",
    "flattened_rank_ids": "flattened_rankIDs",
    "word_bits": "datawidth",
    "memory_width": "width",
    "memory_depth": "depth",
    "entries": "depth",
    "architecture_constraints": "constraints",
    "mapspace_constraints": "constraints",
    "sparse_opt": "sparse_optimizations",
}
"""Older spelling, hyphens already underscores -> the word of version 0.4."""

VERSIONS = ("0.2", "0.3", "0.4")
"""Versions whose files are read."""


class TimeloopError(ValueError):
    """A Timeloop file that cannot be read: one line with file, line, key and rule."""


class Node(dict[str, Any]):
    """A YAML mapping that knows its file, its tag and the line of every key."""

    file: str = ""
    line: int = 0
    tag: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}

    def place(self, key: object = None) -> str:
        """`file:line` of a key, or of the mapping."""
        return f"{self.file}:{self.lines.get(str(key), self.line)}"


@dataclass
class Notes:
    """What an import did not take at its word, once each, in order."""

    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Keep a note unless it is there already."""
        if text not in self.lines:
            self.lines.append(text)


def fail(node: Mapping[str, Any], key: object, rule: str) -> TimeloopError:
    """The error of one key: `file:line: key: rule`."""
    place = f"{node.place(key)}: " if isinstance(node, Node) else ""
    return TimeloopError(f"{place}{key}: {rule}")


def demand(node: Mapping[str, Any], key: str) -> Any:
    """The value of a required key; `TimeloopError` with the nearest key that is there."""
    if key not in node:
        raise fail(node, key, f"is missing{nearest(key, node)}")
    return node[key]


def known_keys(node: Mapping[str, Any], valid: Iterable[str]) -> None:
    """Raise `TimeloopError` for the first key that is not valid, with the nearest one."""
    names = list(valid)
    for key in node:
        if key not in names:
            raise fail(node, key, f"unknown key{nearest(key, names)}")


def read_documents(paths: Sequence[Path], notes: Notes) -> Node:
    """All top-level keys of these files; the `*.yaml` and `*.yml` of a folder are its files.

    Raises:
        TimeloopError: If a file cannot be read, or two files state one key.
    """
    merged = Node()
    for path in _files(paths):
        document = _read(path, notes)
        for key, value in document.items():
            if key in merged:
                raise fail(document, key, f"stands in {merged.place(key)} already")
            merged[key] = value
            merged.lines[key] = document.lines[key]
            merged.file = document.file
    return merged


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        elif path.is_file():
            files.append(path)
        else:
            raise TimeloopError(f"{path}: no such file or folder")
    if not files:
        raise TimeloopError(f"{', '.join(map(str, paths))}: holds no YAML files")
    return files


def _read(path: Path, notes: Notes) -> Node:
    document = read_yaml(path, notes)
    if not isinstance(document, Node):
        raise TimeloopError(f"{path.name}:1: must be a mapping at its top level")
    return document


def read_yaml(path: Path, notes: Notes) -> Any:
    """The content of one YAML file, its mappings as `Node`; `TimeloopError` names the line."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        loader.file, loader.notes = path.name, notes
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise TimeloopError(f"{path.name}:{line}: is not YAML: {problem}") from None
    except (OSError, UnicodeDecodeError):
        raise TimeloopError(f"{path}: cannot be read as UTF-8 text") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML whose mappings are `Node`; unknown tags are kept by name."""

    file = ""
    notes = Notes()


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Node:
    loader.flatten_mapping(node)
    result = Node()
    result.file, result.line = loader.file, node.start_mark.line + 1
    for key_node, value_node in node.value:
        written = str(loader.construct_object(key_node, deep=True))
        key = _current_key(written)
        line = key_node.start_mark.line + 1
        if key != written:
            loader.notes.add(f"{loader.file}:{line}: {written!r} is an older spelling of {key!r}")
        result[key] = loader.construct_object(value_node, deep=True)
        result.lines[key] = line
    return result


def _current_key(written: str) -> str:
    plain = written.replace("-", "_")
    return OLDER_KEYS.get(plain, plain)


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        result = _mapping(loader, node)
        result.tag = suffix
        return result
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_multi_constructor("!", _tagged)


class Tagged(dict[str, Any]):
    """A mapping that is written with a tag such as `!Component`."""

    def __init__(self, tag: str, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.tag = tag


class _Dumper(yaml.SafeDumper):
    """Safe YAML without anchors, with tags."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal objects in full."""
        return True


_Dumper.add_representer(
    Tagged, lambda dumper, data: dumper.represent_mapping(data.tag, data.items())
)


def dump(document: Mapping[str, Any]) -> str:
    """A document as YAML text; innermost collections on one line."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=None))
