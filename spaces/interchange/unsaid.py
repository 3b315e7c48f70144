"""What another tool's file did not bring back of a design."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml


def unsaid(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, str]]:
    """Fields of plain data whose value did not come back, as (path, value in YAML)."""
    for key in dict.fromkeys([*ours, *theirs]):
        here = f"{path}/{key}" if path else str(key)
        if key not in ours:
            yield here, "absent"
        elif isinstance(ours[key], Mapping) and isinstance(theirs.get(key), Mapping):
            yield from unsaid(ours[key], theirs[key], here)
        elif key not in theirs or ours[key] != theirs[key]:
            text = yaml.safe_dump(ours[key], default_flow_style=True, width=10**6)
            yield here, text.removesuffix("...\n").strip()
