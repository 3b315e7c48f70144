"""The stages of a search as a table, as tracked numbers and as a funnel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strategies.reporting.terminal import Rows
from strategies.strategy import StageRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Stages of the search"


def stage_rows(stages: Sequence[StageRecord]) -> Rows:
    """Candidates in, cut and on, by stage, and what cut them."""
    return [
        {
            "stage": f"{number} {stage.name}",
            "in": stage.entered,
            "cut": stage.cut,
            "on": stage.entered - stage.cut,
            "cut by": stage.bound,
        }
        for number, stage in enumerate(stages)
    ]


def stage_metrics(stages: Sequence[StageRecord]) -> dict[str, float]:
    """`stage/NUMBER_NAME/in`, `/cut` and `/on`."""
    return {
        f"stage/{str(row['stage']).replace(' ', '_')}/{what}": float(row[what])
        for row in stage_rows(stages)
        for what in ("in", "cut", "on")
    }


def funnel_figure(rows: Rows) -> Figure:
    """A bar per stage: what came in, of which what went on; logarithmic."""
    from strategies.reporting.figures import GREY, PALETTE, new_axes

    figure, axes = new_axes(TITLE, "candidates", "")
    axes.set_axisbelow(True)
    names = [str(row["stage"]) for row in rows]
    came_in, went_on = ([int(row[what]) for row in rows] for what in ("in", "on"))
    axes.barh(names, came_in, color=GREY, alpha=0.45, height=0.55, label="came in")
    axes.barh(names, went_on, color=PALETTE[0], height=0.35, label="went on")
    for place, row in enumerate(rows):
        axes.annotate(
            f"{row['on']:,} of {row['in']:,}; cut by {row['cut by']}",
            (1.0, place), xytext=(4, -21), textcoords="offset points", fontsize=7,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(left=0.8)
    axes.set_ylim(len(rows) - 0.2, -0.6)
    axes.legend(loc="lower right", fontsize=8)
    return figure
