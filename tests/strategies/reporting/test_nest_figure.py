"""Loop nests and format trees drawn from their listings."""

from strategies.reporting.nest_figure import MAX_NESTS, nest_figures, nest_items, stored_formats

LISTING = """\
DRAM keeps A 64x64, W 64x64 as B(K:16,N)-CP(K), Z 64x64
for K in 4
  GLB keeps W 16x64 as B(K,N), Z 64x64
  spatial X: N in 8
    for M in 64"""


def test_a_listing_is_read_item_by_item() -> None:
    items = nest_items(LISTING)
    assert [item.depth for item in items] == [0, 0, 1, 1, 2]
    assert [item.kind for item in items] == ["keeps", "for", "keeps", "spatial", "for"]
    assert stored_formats(items) == {"W in DRAM": ["B(K:16,N)", "CP(K)"], "W in GLB": ["B(K,N)"]}


def test_other_texts_are_not_drawn() -> None:
    texts = {"settings": '{"tile": 4}', "nest": LISTING, "prose": "for example, nothing\nat all"}
    (figure,) = nest_figures(texts).values()
    assert figure.axes[0].get_title(loc="left") == "nest"


def test_every_item_and_every_primitive_is_in_the_picture() -> None:
    figures = nest_figures({f"operator {index}": LISTING for index in range(MAX_NESTS + 3)})
    assert len(figures) == MAX_NESTS
    shown = [text.get_text() for text in figures["nest_0"].axes[0].texts]
    for line in LISTING.splitlines():
        assert line.strip() in shown
    assert {"B(K:16,N)", "CP(K)", "W in GLB"} <= set(shown)
    assert shown.count("non-zeros") == 2
