"""Mapping spaces of every kind, small enough to enumerate, and everyday ones that are not."""

from __future__ import annotations

from spaces.hardware import Hardware, Level
from spaces.mappings.dataflow import Dataflow
from spaces.mappings.mapping_space import MappingFreedom, MappingSpace
from spaces.mappings.placement import format_offer
from spaces.workloads.workload import TensorClass, matmul

TINY = Hardware("tiny", (Level("DRAM"), Level("GLB", fan_out={"X": 2}), Level("RF")))
TWO_LEVELS = Hardware("two", (Level("DRAM", fan_out={"X": 3, "Y": 2}), Level("RF")))
EDGE = Hardware("edge", (Level("DRAM"), Level("GLB", fan_out={"X": 16, "Y": 16}), Level("RF")))
ONLY_WEIGHTS = Hardware(
    "only_weights",
    (
        Level("DRAM"),
        Level("GLB", must_keep=frozenset({TensorClass.OUTPUT}), fan_out={"X": 2}),
        Level("RF", may_keep=frozenset({TensorClass.WEIGHT})),
    ),
)

EVEN = MappingFreedom(placement="even", maximum_padding=0.0)
KEEP_ALL = MappingFreedom(placement="even", bypass=False, maximum_padding=0.0)
NO_BYPASS = MappingFreedom(bypass=False, maximum_padding=0.0)
PADDED = MappingFreedom(placement="even", bypass=False, maximum_padding=0.4)


def even_small() -> MappingSpace:
    return MappingSpace(matmul("m", {"M": 2, "K": 2, "N": 2}), TINY, freedom=KEEP_ALL)


def bypass_small() -> MappingSpace:
    return MappingSpace(matmul("m", {"M": 1, "K": 2, "N": 2}), TINY, freedom=EVEN)


def uneven_small() -> MappingSpace:
    return MappingSpace(matmul("m", {"M": 1, "K": 4, "N": 2}), TWO_LEVELS, freedom=NO_BYPASS)


def restricted_levels() -> MappingSpace:
    return MappingSpace(matmul("m", {"M": 1, "K": 2, "N": 2}), ONLY_WEIGHTS)


def padded_small() -> MappingSpace:
    return MappingSpace(matmul("m", {"M": 1, "K": 3, "N": 5}), TWO_LEVELS, freedom=PADDED)


def ordered_small() -> MappingSpace:
    dataflow = Dataflow(order={"outermost": ["K", "M"], "RF": ["N", "K", "M"]})
    operator = matmul("m", {"M": 2, "K": 2, "N": 2})
    return MappingSpace(operator, TWO_LEVELS, dataflow, freedom=EVEN)


def stationary_small() -> MappingSpace:
    dataflow = Dataflow(stationary={"RF": "weight"}, spatial={"X": ["N"], "Y": ["K"]})
    return MappingSpace(matmul("m", {"M": 2, "K": 2, "N": 2}), TWO_LEVELS, dataflow)


def formats_small() -> MappingSpace:
    operator = matmul("m", {"M": 1, "K": 2, "N": 2})
    formats = {
        "W": {"DRAM": ["none", "bitmap", "csr"], "RF": ["none", "bitmap"]},
        "A": {"DRAM": ["bitmap"]},
    }
    offer = format_offer(formats, operator, TINY)
    return MappingSpace(operator, TINY, formats=offer, freedom=EVEN)


def unit_operator() -> MappingSpace:
    return MappingSpace(matmul("m", {"M": 1, "K": 1, "N": 1}), EDGE, freedom=KEEP_ALL)


def decode_projection() -> MappingSpace:
    return MappingSpace(matmul("m", {"M": 1, "K": 4096, "N": 11008}), EDGE)


def padded_head() -> MappingSpace:
    dataflow = Dataflow(minimum_utilisation=1.0, minimum_tile={"RF": {"K": 8}})
    return MappingSpace(matmul("m", {"M": 1, "K": 1024, "N": 50257}), EDGE, dataflow)


def attention() -> MappingSpace:
    operands = (TensorClass.ACTIVATION, TensorClass.KV)
    operator = matmul("m", {"B": 32, "M": 1, "K": 128, "N": 2049}, operands)
    return MappingSpace(operator, EDGE, Dataflow(maximum_trip={"RF": {"N": 4}}))


MAPPING_SPACES = {
    build.__name__: build
    for build in (
        even_small,
        bypass_small,
        uneven_small,
        restricted_levels,
        padded_small,
        ordered_small,
        stationary_small,
        formats_small,
        unit_operator,
        decode_projection,
        padded_head,
        attention,
    )
}
