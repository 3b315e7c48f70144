"""How long the certified search takes: mappings alone, and jointly with whole families of formats.

    python benchmarks/joint_search.py [--repeats 5] [--gradient]

Hardware A16 and B32 of tests/golden/search_targets.json, least energy-delay product, uneven
placement and bypass free. Dense rows are projections of LLaMA-2-7B, of a 70B and of a 405B shape.
Joint rows offer one or both operands every format of a family at every level, with capacities in
compressed bits and compute units that skip zeros: the lists of conf/format, and all formats of up
to three levels. A row's time runs from the operator and the name of the family to the certificate:
processor time of one thread, median of the repeats, compiled code warm. Then one row in a fresh
process, with machine code compiled anew and from disk; --gradient adds the rows of
exact_against_gradient.py. The last line is a JSON summary.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from exact_against_gradient import gradient_rows, print_rows, summary
from hydra.utils import instantiate
from omegaconf import OmegaConf
from search_quality import NO_LEAKAGE, accelforge_hardware

from evaluators.accelerator.intersection import SparseOptimization
from evaluators.accelerator.sparse_accelerator import SparseAccelerator
from evaluators.formats.complete_family import CompleteFamily
from spaces.formats.compression_format import Format
from spaces.formats.format_space import DEFAULT_RUN_BITS
from spaces.formats.offered_formats import FormatOffer
from spaces.sparsity.sparsity import DENSE, DensitySpec
from spaces.workloads.workload import Precision, matmul
from strategies.exact.exact_search import exact_search
from strategies.exact.search_result import SearchResult

ROOT = Path(__file__).resolve().parents[1]
SPEC = json.loads((ROOT / "tests/golden/search_targets.json").read_text())["accelforge"]["spec"]
PRECISION = Precision(weight=8, activation=8, kv=8, psum=8)
ONE, BOTH = ("W",), ("A", "W")
PREFILL = {"M": 2048, "K": 4096, "N": 4096}
DECODE = {"M": 1, "K": 4096, "N": 4096}
LARGE = (
    {"M": 2048, "K": 8192, "N": 28672},
    {"M": 32, "K": 8192, "N": 28672},
    {"M": 2048, "K": 16384, "N": 53248},
    {"M": 2048, "K": 53248, "N": 16384},
    {"M": 32, "K": 53248, "N": 16384},
)
"""Feed-forward layers of LLaMA-2-70B (hidden 8192, 28672) and of the 405B shape (16384, 53248)."""

ZEROS = {
    "random 10 %": DensitySpec("bernoulli", 0.1),
    "random 30 %": DensitySpec("bernoulli", 0.3),
    "2:4": DensitySpec("n_m", 0.5, {"n": 2, "m": 4, "dimension": "K"}),
}


COMPLETE = {"complete r=4,6": (4, 6), "complete": DEFAULT_RUN_BITS}
"""Run widths of the families of all formats of up to three levels, see `CompleteFamily`."""


@dataclass(frozen=True)
class Row:
    """One problem and how long it may take.

    Attributes:
        sizes: Rank sizes.
        arch: A16 or B32.
        family: File of conf/format or name in `COMPLETE`; empty = dense.
        sparse: Operands that it is offered to.
        zeros: Name of their density.
        bar_s: Processor time allowed.
    """

    sizes: dict[str, int]
    arch: str
    bar_s: float
    family: str = ""
    sparse: tuple[str, ...] = ()
    zeros: str = ""

    @property
    def shape(self) -> str:
        """Sizes as people write them."""
        return "x".join(str(size) for size in self.sizes.values())


def rows() -> Iterator[Row]:
    """Dense problems, then joint ones."""
    for arch in ("A16", "B32"):
        yield from (Row(sizes, arch, 0.1) for sizes in (PREFILL, DECODE))
        yield from (Row(sizes, arch, 1.0) for sizes in LARGE)
    for sizes in (PREFILL, DECODE):
        for family in ("hierarchical_2", "hierarchical_3", "hierarchical_4", *COMPLETE):
            one_s = 1.0 if family == "complete" else 0.3
            for zeros in ZEROS:
                independent = ZEROS[zeros].model == "bernoulli"
                if independent or family not in COMPLETE:
                    yield Row(sizes, "A16", one_s, family, ONE, zeros)
                if independent:
                    yield Row(sizes, "A16", 1.0, family, BOTH, zeros)


COLD = Row(PREFILL, "A16", 1.0, "hierarchical_3", BOTH, "random 30 %")
"""The row that is searched in a fresh process."""


@cache
def offer(family: str) -> FormatOffer:
    """A family of conf/format."""
    found = instantiate(OmegaConf.load(ROOT / "conf/format" / f"{family}.yaml"), _convert_="all")
    assert isinstance(found, FormatOffer)
    return found


def offered(row: Row) -> dict[str, tuple[int, tuple[Format, ...]]]:
    """By tensor how many formats the family has, and those to search, uncompressed first."""
    operator = matmul("projection", row.sizes)
    sizes = {
        name: {rank: row.sizes[rank] for rank in operator.tensor(name).ranks} for name in row.sparse
    }
    if row.family in COMPLETE:
        family = CompleteFamily(ZEROS[row.zeros], run_bits=COMPLETE[row.family])
        return {name: (family.space(n).size, family.needed(n)) for name, n in sizes.items()}
    listed = {name: offer(row.family).formats(n) for name, n in sizes.items()}
    return {name: (len(formats), formats) for name, formats in listed.items()}


def certified_search(row: Row) -> tuple[SearchResult, SparseAccelerator, dict[str, int]]:
    """What is timed: the result, its evaluator, and the number of formats offered by tensor."""
    offers = offered(row)
    accelerator = SparseAccelerator(
        matmul("projection", row.sizes),
        accelforge_hardware(SPEC["archs"][row.arch], bypass=True),
        densities=dict.fromkeys(row.sparse, ZEROS.get(row.zeros, DENSE)),
        formats={name: formats for name, (_, formats) in offers.items()},
        precision=PRECISION,
        technology=NO_LEAKAGE,
        stationarity="explicit",
        optimization=SparseOptimization(compute="skipping" if row.sparse else "none"),
    )
    counts = {name: count for name, (count, _) in offers.items()}
    return exact_search(accelerator.cost_terms(), "edp"), accelerator, counts


def measured(row: Row, repeats: int) -> dict[str, Any]:
    """One row of the table; its value is priced again by the evaluator."""
    certified_search(row)
    busy, wall = [], []
    for _ in range(repeats):
        begin, used = perf_counter(), process_time()
        found, accelerator, counts = certified_search(row)
        wall.append(perf_counter() - begin)
        busy.append(process_time() - used)
    priced = accelerator.evaluate(found.mappings).metrics
    value = float(priced["energy_pj"][0] * priced["latency_cycles"][0])
    return {
        "shape": row.shape,
        "hardware": row.arch,
        "offered": counts,
        "family": row.family,
        "zeros": row.zeros,
        "edp_pj_cycles": value,
        "certified": found.certified and abs(value - found.lower_bound) <= 1e-9 * value,
        "gap": found.gap,
        "cpu_s": median(busy),
        "wall_s": median(wall),
        "bar_s": row.bar_s,
        "joins": found.visited,
    }


def print_row(row: dict[str, Any]) -> None:
    """One line."""
    counts = ", ".join(f"{name} {count:,}" for name, count in row["offered"].items()) or "dense"
    print(
        f"{row['shape']:18}{row['hardware']:5}{row['family']:16}{counts:25}{row['zeros']:13}"
        f"{'yes' if row['certified'] else 'no':>9}{row['gap']:9.1e}{row['cpu_s'] * 1e3:9.1f}"
        f"{row['wall_s'] * 1e3:9.1f}{row['bar_s'] * 1e3:8.0f}{row['joins']:9}",
        flush=True,
    )


def cold_times() -> dict[str, float]:
    """Processor seconds of a fresh process that searches one row: without machine code, and with
    it on disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, __file__, "--one"]
        spent = [_of_children()]
        for _ in range(2):
            subprocess.run(command, env=environment, check=True, capture_output=True)
            spent.append(_of_children())
    return {"compiling_cpu_s": spent[1] - spent[0], "from_disk_cpu_s": spent[2] - spent[1]}


def _of_children() -> float:
    """Processor seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(repeats: int, gradient: bool) -> int:
    """Print the tables; 1 when a row is not certified or takes longer than its bar."""
    print(
        f"{'shape':18}{'on':5}{'family':16}{'offered':25}{'zeros':13}{'certified':>9}"
        f"{'gap':>9}{'CPU ms':>9}{'wall ms':>9}{'bar ms':>8}{'joins':>9}"
    )
    table = []
    for row in rows():
        table.append(measured(row, repeats))
        print_row(table[-1])
    cold = cold_times()
    print(
        f"fresh process, {COLD.shape} with {COLD.family} for both operands, imports included: "
        f"{cold['compiling_cpu_s']:.1f} CPU s without, {cold['from_disk_cpu_s']:.2f} CPU s with "
        "machine code on disk"
    )
    against: Sequence[dict[str, Any]] = gradient_rows() if gradient else ()
    if against:
        print_rows(against)
    missed = [row for row in table if not row["certified"] or row["cpu_s"] > row["bar_s"]]
    document = {
        "benchmark": "joint_search",
        "rows": table,
        "missed": len(missed),
        "cold": cold,
        "gradient": {**summary(against), "rows": against} if against else None,
    }
    print(json.dumps(document))
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="searches timed per row")
    parser.add_argument("--gradient", action="store_true", help="add the gradient strategy's rows")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        certified_search(COLD)
    else:
        sys.exit(main(given.repeats, given.gradient))
