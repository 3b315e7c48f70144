"""Which formats an accelerator's decoders support: a list that fits tensors of any dimensions.

An offer is written once and resolved for every tensor: format names, or texts with the words `*`,
`first`, `rest` and `last` in place of dimension names. `hierarchical_texts` writes the families of
two to four levels: an outer level over the whole tensor, then sub-dimensions of the innermost
dimension, of sizes that tiles of a dataflow usually have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

from spaces.formats.compression_format import UNCOMPRESSED, Format, canonical
from spaces.formats.format_grammar import NAMED, parse_format


@dataclass(frozen=True)
class FormatOffer:
    """Formats that tensors may be stored in.

    Attributes:
        texts: Names or texts, see `spaces.formats.format_grammar`; uncompressed storage need not be
        named.
    """

    texts: Sequence[str]

    def formats(self, sizes: Mapping[str, int]) -> tuple[Format, ...]:
        """The offer for one tensor (dimension name -> size): canonical, uncompressed first.

        Formats that store this tensor in the same way, and those that need more dimensions than
        it has, appear once and not at all.

        >>> offer = FormatOffer(["bitmap", "csr", "B(*)"])
        >>> [str(fmt) for fmt in offer.formats({"K": 64, "N": 64})]
        ['None', 'B(K,N)', 'UOP(K)-CP(N)']
        """
        names = list(sizes)
        parsed = [parse_format(text, names) for text in self.texts if _fits(text, len(names))]
        return tuple(dict.fromkeys([UNCOMPRESSED, *(canonical(fmt, sizes) for fmt in parsed)]))


def _fits(text: str, dimensions: int) -> bool:
    plain = text.strip().lower()
    needed = NAMED[plain][0] if plain in NAMED else 2 if "rest" in plain else 1
    return dimensions >= needed


def listed_offer(texts: Sequence[str]) -> FormatOffer:
    """An offer of exactly these formats."""
    return FormatOffer(tuple(texts))


def flat_texts(run_bits: Sequence[int]) -> tuple[str, ...]:
    """Every single-level format, run lengths in these widths, and the row and column forms.

    >>> flat_texts([4])
    ('bitmap', 'coo', 'csr', 'csc', 'RLE(*,r=4)')
    """
    return ("bitmap", "coo", "csr", "csc", *(f"RLE(*,r={bits})" for bits in run_bits))


def block_texts(edges: Sequence[int]) -> tuple[str, ...]:
    """Square uncompressed blocks, found by a bitmap or by coordinates.

    >>> block_texts([4])
    ('B(*)-None(*:4)', 'CP(*)-None(*:4)')
    """
    return tuple(f"{outer}(*)-None(*:{edge})" for edge in edges for outer in ("B", "CP"))


def hierarchical_texts(
    levels: int, primitives: Sequence[str], inner_sizes: Sequence[int], run_bits: Sequence[int]
) -> tuple[str, ...]:
    """Formats of exactly `levels` levels, the inner ones on parts of the innermost dimension.

    Args:
        levels: 2 or more.
        primitives: Of every level, among B, CP, RLE, None; the outermost is never None.
        inner_sizes: Extents of a level and all inside it, decreasing inwards.
        run_bits: Widths of RLE levels.

    >>> hierarchical_texts(2, ["B"], [4, 16], [])
    ('B(*)-B(last:4)', 'B(*)-B(last:16)')
    """
    marks = [_level_words(primitive, run_bits) for primitive in primitives]
    words = [word for options in marks for word in options]
    texts = []
    for chosen in product(words, repeat=levels):
        if chosen[0][0] == "None" or _repeats_none(chosen):
            continue
        for extents in combinations(sorted(inner_sizes, reverse=True), levels - 1):
            sizes = [
                extent // inner for extent, inner in zip(extents, (*extents[1:], 1), strict=True)
            ]
            levels_text = [_level_text(chosen[0], "*")]
            levels_text += [
                _level_text(word, f"last:{size}")
                for word, size in zip(chosen[1:], sizes, strict=True)
            ]
            texts.append("-".join(levels_text))
    return tuple(sorted(dict.fromkeys(texts), key=lambda text: (len(text), text)))


def _repeats_none(words: Sequence[tuple[str, str]]) -> bool:
    return any(outer[0] == inner[0] == "None" for outer, inner in pairwise(words))


def _level_words(primitive: str, run_bits: Sequence[int]) -> list[tuple[str, str]]:
    if primitive == "RLE":
        return [("RLE", f",r={bits}") for bits in run_bits]
    return [(primitive, "")]


def _level_text(word: tuple[str, str], dimension: str) -> str:
    return f"{word[0]}({dimension}{word[1]})"


def hierarchical_offer(
    levels: int,
    primitives: Sequence[str] = ("B", "CP", "RLE", "None"),
    inner_sizes: Sequence[int] = (4, 16, 64, 256),
    run_bits: Sequence[int] = (4, 6, 8),
) -> FormatOffer:
    """All flat formats and the hierarchical ones of up to `levels` levels.

    Raises:
        ValueError: If `levels` is below 1 or inner sizes do not divide one another.
    """
    ordered = sorted(inner_sizes)
    if levels < 1:
        raise ValueError(f"format offer: levels must be >= 1, got {levels}")
    for inner, outer in pairwise(ordered):
        if outer % inner:
            raise ValueError(f"format offer: inner_sizes must divide one another, got {ordered}")
    texts = [*flat_texts(run_bits)]
    if levels > 1:
        texts += ["bcsr", "csb", *block_texts(inner_sizes)]
    for depth in range(2, levels + 1):
        texts += hierarchical_texts(depth, primitives, inner_sizes, run_bits)
    return FormatOffer(tuple(texts))
