"""The pictures of a sweep: one file with its curves and parallel coordinates, and drawings that stand in its page."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from roadbed.report.inline import NAME_LETTERS, POINTS_PER_INCH, drawing, drawn_words, inline_svg
from roadbed.report.parallel import draw_parallel
from roadbed.report.pictures import check_picture, save_figure
from roadbed.report.sweep_curves import changed_keys, draw_trials, draw_values
from roadbed.report.sweep_table import metric_name, one_line, score_words, short_names
from roadbed.tuning.results import SweepResult

# What the page shows on wide and on narrow screens: a point of the drawing is about a pixel of the page.
WIDE_PT, NARROW_PT = 1100, 350
# With more axes than this, upright ones stand too close for their words.
MOST_UPRIGHT = 9
# Values that change are drawn for so many keys at most.
MOST_CHANGED = 12


def draw_sweep(result: SweepResult, path: Path) -> None:
    """Write the trials' curves and, below them, their values, as PNG or SVG. Raises ValueError without any trial."""
    check_picture(path)
    if not result.trials:
        raise ValueError("there are no trials to draw")
    with drawing():
        values_pt = _parallel_height_pt(result, WIDE_PT)
        figure = _figure(WIDE_PT, 480 + values_pt)
        figure.set_dpi(120)
        grid = figure.add_gridspec(2, 1, height_ratios=(480, values_pt))
        figure.suptitle(_title(result), fontsize=16)
        draw_trials(figure.add_subfigure(grid[0]).subplots(), result)
        values_axes = figure.add_subfigure(grid[1]).subplots()
        draw_parallel(values_axes, result, width_pt=WIDE_PT, is_turned=_is_turned(result, WIDE_PT))
        save_figure(figure, path)


def curves_for_page(result: SweepResult) -> str:
    """The trials' curves: a drawing for wide screens, one for narrow ones."""
    drawings = []
    label = f"{metric_name(result.metric)} of {len(result.trials)} trials over epochs. The table has their figures."
    with drawing():
        for name, width_pt, height_pt in (("wide", WIDE_PT, 440), ("narrow", NARROW_PT, 380)):
            figure = _figure(width_pt, height_pt)
            draw_trials(figure.subplots(), result)
            drawings.append(inline_svg(figure, name=f"curves-{name}", label=label))
    return "".join(drawings)


def parallel_for_page(result: SweepResult) -> str:
    """The parallel coordinates, for wide and for narrow screens."""
    drawings = []
    label = "What each trial tried and how it scored, as lines over an axis per value. The table has their figures."
    with drawing():
        for name, width_pt in (("wide", WIDE_PT), ("narrow", NARROW_PT)):
            figure = _figure(width_pt, _parallel_height_pt(result, width_pt))
            draw_parallel(figure.subplots(), result, width_pt=width_pt, is_turned=_is_turned(result, width_pt))
            drawings.append(inline_svg(figure, name=f"parallel-{name}", label=label))
    return "".join(drawings)


def changes_for_page(result: SweepResult) -> str:
    """The values that trials changed on their way, over epochs, a panel for each."""
    keys = changed_keys(result)[:MOST_CHANGED]
    names = short_names(result.parameters)
    label = f"{', '.join(names[key] for key in keys)} of all trials over epochs. The lists below have the figures."
    drawings = []
    with drawing():
        for name, width_pt, columns in (("wide", WIDE_PT, min(3, len(keys))), ("narrow", NARROW_PT, 1)):
            num_rows = -(-len(keys) // columns)
            figure = _figure(width_pt, 210 * num_rows)
            panels = list(figure.subplots(num_rows, columns, squeeze=False).flat)
            for panel, key in zip(panels, keys, strict=False):
                draw_values(panel, result, key)
                panel.set_title(drawn_words(names[key], NAME_LETTERS), loc="left", fontsize=12, weight="bold")
                panel.set_xlabel("epoch")
            for panel in panels[len(keys) :]:
                panel.set_axis_off()
            drawings.append(inline_svg(figure, name=f"changes-{name}", label=label))
    return "".join(drawings)


def _title(result: SweepResult) -> str:
    title = drawn_words(one_line(result.name), NAME_LETTERS)
    if result.winner is None:
        return title
    score = score_words(result.metric, result.score(result.winner))
    return f"{title}: trial {result.winner.number}, {drawn_words(metric_name(result.metric), NAME_LETTERS)} {score}"


def _figure(width_pt: float, height_pt: float) -> Figure:
    return Figure(figsize=(width_pt / POINTS_PER_INCH, height_pt / POINTS_PER_INCH), layout="constrained")


def _is_turned(result: SweepResult, width_pt: float) -> bool:
    return width_pt < WIDE_PT or len(result.parameters) + 1 > MOST_UPRIGHT


def _parallel_height_pt(result: SweepResult, width_pt: float) -> float:
    return 70 * (len(result.parameters) + 1) if _is_turned(result, width_pt) else 400
