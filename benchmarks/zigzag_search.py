"""Runs ZigZag's mapping search on one matmul; for an interpreter that has `zigzag-dse` installed.

    PYTHON benchmarks/zigzag_search.py '{"arch": {...}, "dims": {"M": 1, ...}, "lpf_limit": 6}'

`arch` is an architecture in the schema of tests/golden/search_targets.json. Prints one JSON line:
energy [pJ], latency [cycles], CPU and wall seconds of the search, and the best mapping (spatial
loops; temporal loops per operand and level, innermost first). Nothing of this project is imported.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import yaml

PLENTY_BITS = 10**13
OPERANDS = ("I1", "I2", "O")
DIRECTIONS = {"I1": ("fh", "tl"), "I2": ("fh", "tl"), "O": ("fh", "tl", "fl", "th")}


def memory(level: dict[str, Any], word_bits: int, served: list[str]) -> dict[str, Any]:
    """One storage level, energies per full-width access; one shared port, or free ones."""
    words = level["bandwidth_words_per_cycle"]
    width = word_bits * (words or 1)
    moves = [f"{name}, {way}" for name in OPERANDS for way in DIRECTIONS[name]]
    shared = [moves] if words else [[move] for move in moves]
    return {
        "size": level["size_bits"] or PLENTY_BITS,
        "r_cost": level["read_pJ_per_word"] * (words or 1),
        "w_cost": level["write_pJ_per_word"] * (words or 1),
        "area": 0,
        "latency": 1,
        "auto_cost_extraction": False,
        "operands": list(OPERANDS),
        "ports": [
            {
                "name": f"rw_port_{number}",
                "type": "read_write",
                "bandwidth_min": word_bits,
                "bandwidth_max": width,
                "allocation": allocation,
            }
            for number, allocation in enumerate(shared, 1)
        ],
        "served_dimensions": served,
    }


def accelerator(arch: dict[str, Any], word_bits: int) -> dict[str, Any]:
    """The architecture in ZigZag's terms: levels innermost first, below an array D1 x D2."""
    inner = arch["pe_array"]["above_level"]
    levels = reversed(arch["levels"])
    axes = ["D1", "D2"]
    return {
        "name": "accelerator",
        "memories": {
            level["name"]: memory(level, word_bits, [] if level["name"] == inner else axes)
            for level in levels
        },
        "operational_array": {
            "input_precision": [word_bits, word_bits],
            "unit_energy": arch["mac"]["energy_pJ"],
            "unit_area": 1,
            "dimensions": axes,
            "sizes": [arch["pe_array"]["X"], arch["pe_array"]["Y"]],
        },
    }


def layer(dims: dict[str, int], word_bits: int) -> dict[str, Any]:
    return {
        "id": 0,
        "name": "gemm",
        "operator_type": "Gemm",
        "equation": "O[m][n]+=I[m][k]*W[k][n]",
        "dimension_relations": [],
        "loop_dims": list(dims),
        "loop_sizes": list(dims.values()),
        "operand_precision": dict.fromkeys(("W", "I", "O", "O_final"), word_bits),
        "operand_source": {"I": 0, "W": 0},
    }


def found(tree: Any) -> Any:
    """The one layer's evaluation in the nested lists that the search returns."""
    if type(tree).__name__ == "CostModelEvaluation":
        return tree
    parts = tree if isinstance(tree, list | tuple) else ()
    return next((hit for hit in map(found, parts) if hit is not None), None)


def main(request: dict[str, Any]) -> dict[str, Any]:
    from zigzag.api import get_hardware_performance_zigzag

    bits = request["word_bits"]
    with tempfile.TemporaryDirectory() as name:
        files = {
            "workload": [layer(request["dims"], bits)],
            "accelerator": accelerator(request["arch"], bits),
            "mapping": [
                {"name": "default", "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"}}
            ],
        }
        paths = {}
        for key, content in files.items():
            paths[key] = str(Path(name) / f"{key}.yaml")
            Path(paths[key]).write_text(yaml.safe_dump(content, sort_keys=False))
        begin = time.perf_counter()
        energy, latency, tree = get_hardware_performance_zigzag(
            **paths,
            opt="EDP",
            dump_folder=f"{name}/out",
            lpf_limit=request["lpf_limit"],
            nb_spatial_mappings_generated=request["spatial_mappings"],
            enable_mix_spatial_mapping=request["mixed"],
            loma_show_progress_bar=False,
        )
        wall = time.perf_counter() - begin
    usage = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    best = found(tree)
    return {
        "energy_pj": float(energy),
        "latency_cycles": float(latency),
        "wall_s": wall,
        "cpu_s": sum(each.ru_utime + each.ru_stime for each in usage),
        "peak_mb": max(each.ru_maxrss for each in usage) / 1024,
        "temporal": {str(k): _plain(v) for k, v in loops(best.temporal_mapping).items()},
        "spatial": {str(k): _plain(v) for k, v in best.spatial_mapping.mapping_dict_origin.items()},
    }


def loops(mapping: Any) -> Any:
    return mapping.mapping_dic_stationary


def _plain(levels: Any) -> list[list[list[Any]]]:
    return [[[str(rank), int(trip)] for rank, trip in level] for level in levels]


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(main(json.loads(sys.argv[1]))))
