"""Block-diagonal models on analog arrays: speed of projection, evaluator, scheduler and machine.

    python benchmarks/analog_cim.py

Prints one table (medians) and a last JSON line. Bars: 4096 x 4096 projection <= 3 s, GPT-2-medium
scheduled <= 10 s, >= 100,000 configurations per second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from evaluators.accuracy.monarch import MonarchMatrix, project
from evaluators.analog.analog_cim import AnalogCim
from evaluators.analog.crossbar_simulator import simulate
from evaluators.analog.execution import execute
from evaluators.analog.numerics import Nonidealities
from evaluators.analog.technology import technology
from spaces.cim.mapping import RULES, CimChoices, CimDesigns, CimMappingSpace, one_design
from spaces.cim.model import CimModel, ProjectionSite, cim_model
from spaces.cim.monarch_shape import padded_square
from spaces.workloads.transformer import TransformerShape

GPT2 = cim_model(TransformerShape("gpt2_medium", 1024, 16, 4096, 50257, decoder_layers=24), 1024)
CONFIGURATIONS = 100_000


def seconds(work: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """Median wall-clock and median CPU seconds; on a loaded machine only the second means much."""
    wall, cpu = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return median(wall), median(cpu)


def projection_seconds() -> tuple[float, float]:
    weight = np.random.default_rng(0).standard_normal((4096, 4096))
    return seconds(lambda: project(weight, padded_square(4096, 4096)))


def random_designs(model: CimModel, n: int) -> CimDesigns:
    choices = CimChoices(
        rule=RULES,
        block=(0, 32, 64, 128),
        array_size=(128, 256, 512),
        adcs_per_array=(1, 2, 4, 8, 16, 32, 64),
        adc_bits=(0, 3, 4, 5, 6, 8),
        sub_steps=(1, 4),
    )
    space = CimMappingSpace(model, choices)
    return space.decode(space.sample(n, np.random.default_rng(0)))


def evaluator_seconds() -> tuple[float, float]:
    """For `CONFIGURATIONS` designs."""
    designs, evaluator = random_designs(GPT2, CONFIGURATIONS), AnalogCim(technology("pcm"))
    evaluator.evaluate(designs)
    return seconds(lambda: evaluator.evaluate(designs))


def schedule_seconds(mapping: str) -> tuple[tuple[float, float], int]:
    design = one_design(GPT2, CimChoices(mapping=(mapping,), packing=("spread",)))
    evaluator = AnalogCim(technology("pcm"))
    _, stream = execute(evaluator, design)
    return seconds(lambda: execute(evaluator, design), repeats=1), len(stream)


def product_error(mapping: str, effects: Nonidealities) -> float:
    """Relative error of a 1024 x 1024 Monarch product on the machine."""
    rng = np.random.default_rng(1)
    model = CimModel("one", (ProjectionSite("q", 1024, 1024),))
    choices = CimChoices(mapping=(mapping,), packing=("spread",))
    placement, stream = execute(AnalogCim(technology("pcm")), one_design(model, choices))
    shape = padded_square(1024, 1024)
    first, second = (rng.standard_normal((1, 1, 32, 32, 32)) for _ in range(2))
    matrix, inputs = MonarchMatrix(shape, first, second), rng.standard_normal((8, 1024))
    found = simulate(placement, stream, {(0, 0, 0): matrix}, {(0, 0): inputs}, effects)[0, 0, 0]
    expected = matrix.apply(inputs)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def error_rows() -> list[tuple[str, float]]:
    """What the published resolutions do to the numbers."""
    rows = []
    for mapping, bits in (("sparse", 5), ("dense_a", 5), ("dense_b", 3)):
        sliced = Nonidealities(8, 1, 8, 1, adc_bits=bits)
        whole = Nonidealities(8, 8, 8, 8, adc_bits=bits, adc_range="full")
        fine = Nonidealities(8, 8, 8, 8, adc_bits=8, adc_range="full")
        rows += [
            (f"{mapping}, exact", product_error(mapping, Nonidealities())),
            (f"{mapping}, {bits}-bit ADC, 1-bit inputs and cells", product_error(mapping, sliced)),
            (f"{mapping}, {bits}-bit ADC, 8-bit inputs and cells", product_error(mapping, whole)),
            (f"{mapping}, 8-bit ADC, 8-bit inputs and cells", product_error(mapping, fine)),
        ]
    return rows


def main() -> None:
    """Print the table and the JSON line."""
    results: dict[str, float] = {}
    wall, cpu = projection_seconds()
    results |= {"projection_4096_wall_s": wall, "projection_4096_cpu_s": cpu}
    wall, cpu = evaluator_seconds()
    results["configurations_per_wall_s"] = CONFIGURATIONS / wall
    results["configurations_per_cpu_s"] = CONFIGURATIONS / cpu
    for mapping in ("linear", "sparse", "dense_a", "dense_b"):
        (wall, cpu), commands = schedule_seconds(mapping)
        results[f"schedule_gpt2_{mapping}_wall_s"] = wall
        results[f"schedule_gpt2_{mapping}_cpu_s"] = cpu
        results[f"schedule_gpt2_{mapping}_commands"] = commands
    errors = error_rows()
    for name, value in (*results.items(), *errors):
        print(f"{name:60} {value:14.4g}")
    print(json.dumps({**results, "relative_errors": dict(errors)}))


if __name__ == "__main__":
    main()
