"""What decoding costs: energy per element and primitive, and elements per cycle.

Other tools leave decoders out, although they can dominate (Copernicus, arXiv 2011.10932: decoding
seven formats on FPGA). No source gives energies per primitive for an ASIC, so the defaults below
are estimates: operations that a decoder makes per element, priced with the 8-bit addition of
Horowitz, ISSCC 2014 (0.03 pJ at 45 nm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from spaces.formats.compression_format import Format, Primitive

ADD_PJ = 0.03
"""8-bit addition at 45 nm and 0.9 V [pJ]; Horowitz, ISSCC 2014."""

DEFAULT_OPERATIONS: Mapping[str, float] = MappingProxyType(
    {"None": 0.0, "B": 1.0, "CP": 2.0, "RLE": 2.0, "UOP": 1.0, "Custom": 2.0}
)
"""Additions per decoded element and level, an estimate: B counts ones (one addition), CP compares a
coordinate and selects, RLE accumulates a run and compares, UOP subtracts two offsets."""


@dataclass(frozen=True)
class Decoder:
    """Cost of the decoders between a compressed copy and its reader.

    Attributes:
        pj_per_element: Primitive name -> pJ per element of the tile (zeros included) and level.
        elements_per_cycle: Elements of a tile that the decoder of one instance covers per cycle;
            inf = never the bottleneck.
        source: Where the numbers come from.
    """

    pj_per_element: Mapping[str, float] = field(default_factory=dict)
    elements_per_cycle: float = float("inf")
    source: str = "no decoder cost"

    def __post_init__(self) -> None:
        known = [primitive.value for primitive in Primitive]
        for name, value in self.pj_per_element.items():
            if name not in known:
                raise ValueError(f"decoder has no primitive {name!r}; known: {', '.join(known)}")
            if not value >= 0:
                raise ValueError(f"decoder.pj_per_element.{name} must be >= 0, got {value}")
        if not self.elements_per_cycle > 0:
            raise ValueError(
                f"decoder.elements_per_cycle must be > 0, got {self.elements_per_cycle}"
            )


NO_DECODER = Decoder()
"""Decoding is free, as in the reference tools."""


def estimated_decoder(elements_per_cycle: float = float("inf")) -> Decoder:
    """Clearly marked defaults for studies that ask for decoder cost."""
    return Decoder(
        {name: count * ADD_PJ for name, count in DEFAULT_OPERATIONS.items()},
        elements_per_cycle=elements_per_cycle,
        source="estimate: additions per element at 45 nm, no measurement behind it",
    )


def decoder_pj_per_element(decoder: Decoder, fmt: Format) -> float:
    """Energy to decode one element of a tile stored in a format: the sum over its levels [pJ].

    >>> from spaces.formats.compression_format import level
    >>> csr = Format((level("UOP", "M"), level("CP", "K")))
    >>> round(decoder_pj_per_element(estimated_decoder(), csr), 3)
    0.09
    """
    return sum(decoder.pj_per_element.get(lvl.primitive.value, 0.0) for lvl in fmt.levels)
