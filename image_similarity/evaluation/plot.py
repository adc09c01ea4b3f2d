"""The figures of several models as small bar charts in one picture."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from image_similarity.errors import ExtraMissing
from image_similarity.evaluation.bootstrap import Figure
from image_similarity.evaluation.results import Evaluation

# Okabe and Ito's colours, which colour-blind people can tell apart, then two greys.
_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C7A00", "#777777",
    "#BBBBBB",
)  # fmt: skip
_ACROSS = 4


def main_measures(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the measures worth a chart, as (task, measure): all but those of single edits, the scene filter's last."""
    names = [
        (each.task, each.measure)
        for model in evaluation.models
        for each in model.figures
        if not each.measure.startswith("recall@1, ")
    ]
    # The scene filter's charts have bars for the few models that know scenes.
    return sorted(dict.fromkeys(names), key=lambda name: name[0].startswith("scene filter"))


def check_plot() -> None:
    """Refuse a plot at once where none can be drawn, not after an hour of measuring.

    Raises:
        ExtraMissing: matplotlib is not installed.
    """
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ExtraMissing(
            "a plot needs the package matplotlib, which is not installed",
            hint='pip install "image_similarity[evaluate]"',
        ) from error


def write_plot(evaluation: Evaluation, path: Path) -> None:
    """Write a PNG with one chart for each main measure, a bar with its interval for each model.

    Raises:
        ExtraMissing: matplotlib is not installed.
        OSError.
    """
    check_plot()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    measures = main_measures(evaluation)
    across = min(_ACROSS, len(measures))
    down = -(-len(measures) // across)
    bars = len(evaluation.models)
    # Not pyplot: it keeps every figure in a state of its own.
    canvas: Any = Canvas(
        figsize=(2.2 + 2.7 * across, 0.9 + down * (0.75 + 0.24 * bars)), layout="constrained"
    )
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(down, across, squeeze=False)
    for place, axis in enumerate(axes.flat):
        if place >= len(measures):
            axis.axis("off")
            continue
        _draw(axis, evaluation, *measures[place], named=place % across == 0)
    canvas.suptitle(_title(evaluation), fontsize=9, color="#444444")
    canvas.savefig(path, format="png", dpi=150, metadata={"Software": None})


def _draw(axis: Any, evaluation: Evaluation, task: str, measure: str, *, named: bool) -> None:
    for row, model in enumerate(evaluation.models):
        figure = _figure(model.figures, task, measure)
        if figure is None or figure.value is None or figure.low is None or figure.high is None:
            axis.text(1, row, "–", va="center", fontsize=8, color="#777777")
            continue
        value, low, high = (100 * each for each in (figure.value, figure.low, figure.high))
        axis.barh(row, value, height=0.72, color=_COLOURS[row % len(_COLOURS)])
        axis.errorbar(
            value, row, xerr=[[value - low], [high - value]], color="#222222", lw=1, capsize=2
        )
        # Beside the bar where there is room, else within it.
        inside = high > 80
        place = min(value, low) - 2 if inside else high + 2
        axis.text(
            place,
            row,
            f"{value:.1f}",
            va="center",
            ha="right" if inside else "left",
            fontsize=7.5,
            color="white" if inside and _is_dark(_COLOURS[row % len(_COLOURS)]) else "#222222",
        )
    axis.set_title(
        f"{task}: {measure}" if task not in measure else measure, fontsize=8.5, loc="left"
    )
    axis.set_xlim(0, 100)
    axis.set_ylim(len(evaluation.models) - 0.4, -0.6)
    names = [model.name.replace("+", "+\n") for model in evaluation.models] if named else []
    axis.set_yticks(range(len(names)), names, fontsize=7.5)
    axis.tick_params(axis="x", labelsize=7)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _figure(figures: tuple[Figure, ...], task: str, measure: str) -> Figure | None:
    return next((each for each in figures if (each.task, each.measure) == (task, measure)), None)


def _is_dark(colour: str) -> bool:
    """Whether white letters can be read on it: the luma of BT.601 is below the middle."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140


def _title(evaluation: Evaluation) -> str:
    setting = evaluation.setting
    return (
        f"per cent, with 95 % intervals from {setting['resamples']} resamples of the queries; "
        f"{setting['pictures']} pictures"
    )
