"""How the exact co-search grows with the model, the storage levels, the formats and the hardware.

    python benchmarks/growth.py

Prints one table: what is varied, its value, searches made, CPU seconds, and whether every result is
certified; the last line is the same as JSON. CPU time of one thread, machine code warm (one search
of the same kind runs first).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

from hydra import compose, initialize_config_dir

from evaluators.accelerator.sparse_model import SparseModel
from spaces.hardware_sizes import resized
from strategies.exact.exact_search import exact_search
from strategies.nested_search import NestedSearch
from strategies.tasks.instantiate import instantiate

CONF = Path(__file__).parents[1] / "conf"
SHAPES = {
    "llama2_7b": ["workload=llama2_7b"],
    "llama2_13b": ["workload=llama2_13b"],
    "llama2_70b": ["workload=llama2_70b"],
    "405B shape": [
        "workload=llama2_70b",
        "workload.shape.hidden=16384",
        "workload.shape.feed_forward=53248",
        "workload.shape.decoder_layers=126",
        "workload.shape.heads=128",
        "workload.shape.vocabulary=128256",
    ],
}
"""LLaMA-3.1-405B: hidden 16384, feed-forward 53248, 126 layers, 128 heads,
vocabulary 128256 (its config.json)."""

FORMATS = {1: "bitmap", 2: "hierarchical_2", 3: "hierarchical_3", 4: "hierarchical_4"}
SIZES = ("64KiB", "128KiB", "256KiB", "512KiB", "1MiB", "2MiB", "4MiB", "8MiB")
CANDIDATES = (1, 2, 4, 8)


def model_of(*overrides: str) -> SparseModel:
    """The model of llama_decode with these differences."""
    config = compose("config", ["+experiment=llama_decode", *overrides])
    model: SparseModel = instantiate(config.evaluator, "evaluator").model
    return model


def priced(models: list[SparseModel]) -> dict[str, Any]:
    """Best mappings of every operator of every model, all formats offered, least EDP."""
    searches = certified = 0
    begin = process_time()
    for model in models:
        calls: list[None] = []
        nested = NestedSearch(model, counted(exact_search, calls), threads=1)
        (choice,) = nested.choices([model.unrestricted("edp")])
        searches += len(calls)
        certified += choice.certified
    return {
        "searches": searches,
        "cpu_s": round(process_time() - begin, 3),
        "certified": certified == len(models),
    }


def counted(search: Callable[..., Any], calls: list[None]) -> Callable[..., Any]:
    """The search, noting every call."""

    def noting(*arguments: Any, **named: Any) -> Any:
        calls.append(None)
        return search(*arguments, **named)

    return noting


def without_level(model: SparseModel, name: str) -> SparseModel:
    """The model on hardware that lacks a level; its fan-out stays, one level further out."""
    levels = list(model.hardware.levels)
    place = model.hardware.level_names.index(name)
    outer, gone = levels[place - 1], levels.pop(place)
    levels[place - 1] = replace(outer, fan_out={**outer.fan_out, **gone.fan_out})
    return replace(model, hardware=replace(model.hardware, levels=tuple(levels)))


def with_level(model: SparseModel) -> SparseModel:
    """The model with a second shared buffer, eight times as large, outside the first."""
    levels = list(model.hardware.levels)
    buffer = levels[1]
    larger = replace(buffer, name="L2", capacity_bits=8 * buffer.capacity_bits, fan_out={})
    levels.insert(1, larger)
    return replace(model, hardware=replace(model.hardware, levels=tuple(levels)))


def cases() -> Iterator[tuple[str, str, Callable[[], list[SparseModel]]]]:
    """What is varied, its value, and the models to price."""
    for name, overrides in SHAPES.items():
        yield "model", name, lambda overrides=overrides: [model_of(*overrides)]  # type: ignore[misc]
    base = model_of()
    yield "storage levels", "2", lambda: [without_level(base, "GLB")]
    yield "storage levels", "3", lambda: [base]
    yield "storage levels", "4", lambda: [with_level(base)]
    for depth, name in FORMATS.items():
        yield "format levels", str(depth), lambda name=name: [model_of(f"format={name}")]  # type: ignore[misc]
    for count in CANDIDATES:
        models = [
            replace(base, hardware=resized(base.hardware, {"GLB.capacity": size}))
            for size in SIZES[:count]
        ]
        yield "hardware candidates", str(count), lambda models=models: models  # type: ignore[misc]


def main() -> None:
    """Print the table and the JSON line."""
    rows: list[dict[str, Any]] = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        priced([model_of(), with_level(model_of())])
        print(f"{'varied':22}{'value':14}{'searches':>9}{'CPU s':>9}  certified")
        for varied, value, models in cases():
            row = priced(models())
            rows.append({"varied": varied, "value": value, **row})
            yes = "yes" if row["certified"] else "no"
            shown = f"{row['searches']:>9}{row['cpu_s']:>9.2f}  {yes}"
            print(f"{varied:22}{value:14}{shown}", flush=True)
    print(json.dumps({"benchmark": "growth", "rows": rows}))


if __name__ == "__main__":
    main()
