"""Plots of measurements as PNG or SVG; the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from slimc.analysis.sensitivity_curves import Curve, Curves
from slimc.passes.prune.measured_damage import fit_monotone
from slimc.pipeline.sensitivity.regions import RegionNoise, RegionNoises

Form = Literal["png", "svg"]

_SIZE = 8.0  # of the font
_STYLE = {
    "font.size": _SIZE,
    "svg.hashsalt": "slimc",  # otherwise ids are random
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NO_DATES = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
_DPI = 130
_ROW, _COLUMN = 0.19, 0.52  # inches of a cell of the heat map
_LETTER = 0.068  # inches: average width of a letter
_CURVES = (4.6, 4.4)  # inches: size of the panel of curves
_TOP, _BOTTOM, _SIDE = 0.75, 1.0, 0.25  # inches around the panels
_NAME = 38  # letters of a name
_END = 6.5  # font size at the ends of curves
_NAMED = 5  # labeled curves: so many of the most sensitive, and of the least
_ALL_NAMED = 16  # up to so many curves, all are labeled
_HEAT, _DEPTH = "YlOrRd", "viridis"
_LEAST, _MOST = 1e-3, 3.0  # errors at the ends of the color map
_BARS = 48  # regions with their own bar
_BAR_PANEL, _BAR_TEXT, _BAR_BOTTOM = 4.2, 1.0, 0.5  # inches: bars, text after the longest, axis
_HIGHEST = 2.5  # larger errors are drawn at the edge: such outputs are unrelated to the model's


def draw_curves(curves: Curves, form: Form, title: str, score: bool = False) -> bytes:
    """Draw a heat map of prune groups by ratios, and the curves; return the bytes of the file.

    score: the curves are losses of a metric, on their own scale, and not relative errors.
    """
    shown = [curve for curve in curves.curves if curve.points]
    return _render(lambda: _curves_figure(shown, curves.ratios, title, score), form)


def draw_bar_chart(losses: RegionNoises, form: Form, title: str) -> bytes:
    """Draw each region's share of the total loss, the worst on top; return the bytes of the file.

    Where there are many, the smallest ones share one bar.
    """
    return _render(lambda: _bar_figure(losses, title), form)


def _render(make: Callable[[], Figure], form: Form) -> bytes:
    with style.context(["default", _STYLE], after_reset=True):
        figure = make()
        FigureCanvasAgg(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format=form, dpi=_DPI, metadata=_NO_DATES[form])
    return buffer.getvalue()


def _bar_figure(losses: RegionNoises, title: str) -> Figure:
    shown, rest = losses.regions[:_BARS], losses.regions[_BARS:]
    rows = [
        (_shorten(region.name), losses.share(region), _loss_text(region, losses.score))
        for region in shown
    ]
    if rest:
        rows.append((f"{len(rest)} others", sum(map(losses.share, rest)), ""))
    names = _LETTER * max(len(name) for name, _, _ in rows) + 0.2
    width = _SIDE + names + _BAR_PANEL + _BAR_TEXT + _SIDE
    bars_height = _ROW * len(rows)
    height = _TOP + bars_height + _BAR_BOTTOM
    figure = Figure(figsize=(width, height))
    figure.text(_SIDE / width, 1 - 0.28 / height, title, fontsize=10, weight="bold", va="center")
    place = (
        (_SIDE + names) / width,
        _BAR_BOTTOM / height,
        _BAR_PANEL / width,
        bars_height / height,
    )
    axes = figure.add_axes(place)
    shares = [100 * share for _, share, _ in rows]
    colours = [colormaps[_HEAT](0.25 + 0.7 * share) for _, share, _ in rows]
    axes.barh(np.arange(len(rows)), shares, height=0.75, color=colours)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, max(max(shares), 1e-9))
    axes.set_yticks(np.arange(len(rows)), [name for name, _, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of the summed losses of single regions, in percent")
    for row, (_, share, text) in enumerate(rows):
        label = f" {100 * share:.1f} %" + (f", {text}" if text else "")
        axes.text(100 * share, row, label, va="center", fontsize=_END)
    return figure


def _loss_text(region: RegionNoise, score: str) -> str:
    """Return the loss of a region alone: SQNR, or the loss of the metric."""
    return f"{_format_error(region.noise)} lost" if score else f"{region.sqnr_db:.1f} dB"


def _curves_figure(
    shown: list[Curve], ratios: tuple[float, ...], title: str, score: bool
) -> Figure:
    """Place the panels in inches: names, heat map and depth on the left, curves on the right."""
    names = _LETTER * max((len(_short_name(c)) for c in shown), default=0) + 0.2
    cells = (_COLUMN * len(ratios), _ROW * len(shown))
    heat_left = _SIDE + names
    curves_left = heat_left + cells[0] + 0.85
    ends = max((len(_short_name(shown[place])) for place in _labeled_curves(shown)), default=0)
    width = curves_left + _CURVES[0] + 0.2 + _LETTER * ends * _END / _SIZE + _SIDE
    height = _TOP + _BOTTOM + max(cells[1], _CURVES[1])
    figure = Figure(figsize=(width, height))

    def panel(x: float, panel_width: float, panel_height: float, offset: float = 0.0) -> Any:
        y = height - _TOP - offset - panel_height
        return figure.add_axes((x / width, y / height, panel_width / width, panel_height / height))

    figure.text(_SIDE / width, 1 - 0.28 / height, title, fontsize=10, weight="bold", va="center")
    norm = _color_scale(shown, score)
    _draw_heat_map(panel(heat_left, *cells), shown, ratios, norm)
    _draw_depths(panel(heat_left + cells[0] + 0.05, 0.1, cells[1]), len(shown))
    bar = panel(_SIDE + 0.2, heat_left + cells[0] - _SIDE - 0.2, 0.1, cells[1] + 0.3)
    figure.colorbar(ScalarMappable(norm, _HEAT), cax=bar, orientation="horizontal")
    bar.set_xlabel(_axis_label(score))
    bar.minorticks_off()
    _draw_curves(panel(curves_left, *_CURVES), shown, ratios, score)
    return figure


def _color_scale(shown: list[Curve], score: bool) -> Normalize:
    """Return the scale of the colors: the same for all errors, so that plots are comparable."""
    if not score:
        return LogNorm(_LEAST, _MOST, clip=True)
    most = max((point.error for curve in shown for point in curve.points), default=0.0)
    return Normalize(0.0, most if most > 0 else 1.0, clip=True)


def _draw_heat_map(
    axes: Axes, shown: list[Curve], ratios: tuple[float, ...], norm: Normalize
) -> None:
    axes.set_xlim(0, len(ratios))
    axes.set_ylim(len(shown), 0)
    for row, curve in enumerate(shown):
        for column, ratio in enumerate(ratios):
            point = curve.at(ratio)
            if point is not None:
                _draw_cell(axes, row, column, point.error, norm)
    axes.set_yticks(np.arange(len(shown)) + 0.5, [_short_name(curve) for curve in shown])
    axes.set_xticks(np.arange(len(ratios)) + 0.5, [_format_percent(ratio) for ratio in ratios])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_frame_on(False)


def _draw_cell(axes: Axes, row: int, column: int, error: float, norm: Normalize) -> None:
    share = float(norm(max(error, _LEAST) if isinstance(norm, LogNorm) else error))
    axes.fill(
        [column, column + 1, column + 1, column],
        [row, row, row + 1, row + 1],
        facecolor=colormaps[_HEAT](share),
        edgecolor="white",
        linewidth=0.8,
    )
    ink = "white" if share > 0.7 else "black"
    place = (column + 0.5, row + 0.53)
    axes.text(*place, _format_error(error), ha="center", va="center", color=ink, fontsize=6.5)


def _draw_depths(axes: Axes, count: int) -> None:
    """Draw the strip that shows the color of the curve of each row."""
    axes.imshow(np.arange(count)[:, None], cmap=_DEPTH, aspect="auto")
    axes.set_axis_off()


def _draw_curves(axes: Axes, shown: list[Curve], ratios: tuple[float, ...], score: bool) -> None:
    """Draw every curve from (0, 0); the most and least sensitive ones are labeled at the end."""
    highest = max((p.error for c in shown for p in c.points), default=0.0)
    top = (highest if score else min(highest, _HIGHEST)) * 1.05 or 1.0
    lowest = min((p.error for c in shown for p in c.points), default=0.0) if score else 0.0
    if score:
        axes.set_ylim(min(0.0, lowest) * 1.05, top)
    else:
        axes.set_yscale("function", functions=(_square_root, np.square))
        axes.set_ylim(0, top)
    axes.set_xlim(0, max(ratios, default=1.0))
    if not score and highest > _HIGHEST:
        text = f"errors above {_HIGHEST:g} are drawn at the edge"
        axes.set_title(text, loc="left", fontsize=_END, color="grey")
    named = _labeled_curves(shown)
    for place, curve in enumerate(shown):
        x = [0.0, *(point.ratio for point in curve.points)]
        y = [0.0, *(min(point.error, top) for point in curve.points)]
        colour = colormaps[_DEPTH](place / max(1, len(shown) - 1))
        strong = place in named
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=1.6 if strong else 0.8,
            alpha=1.0 if strong else 0.5,
            marker="o",
            markersize=3 if strong else 1.5,
            clip_on=False,
        )
    _label_ends(axes, shown, named, top)
    axes.set_xticks([0.0, *ratios], ["0", *map(_format_percent, ratios)])
    axes.set_xlabel("channels of one prune group removed, all others unchanged")
    axes.set_ylabel(_axis_label(score))
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)


def _labeled_curves(shown: list[Curve]) -> set[int]:
    order = sorted(range(len(shown)), key=lambda place: shown[place].mean)
    all_labeled = len(order) <= _ALL_NAMED
    return set(order) if all_labeled else {*order[-_NAMED:], *order[:_NAMED]}


def _label_ends(axes: Axes, shown: list[Curve], named: set[int], top: float) -> None:
    """Write names next to the ends of curves, moved apart where they would overlap."""
    panel_height = _CURVES[1]
    scale = axes.transData.transform
    foot, head = axes.transAxes.transform([(0, 0), (0, 1)])[:, 1]

    def inches(curve: Curve) -> float:
        y = scale((0.0, min(curve.points[-1].error, top)))[1]
        return float((y - foot) / (head - foot)) * panel_height

    order = sorted(named, key=lambda place: (inches(shown[place]), place))
    least = 0.14
    heights = _spread_heights([inches(shown[place]) for place in order], least, panel_height)
    for place, label_height in zip(order, heights, strict=True):
        curve = shown[place]
        axes.annotate(
            _short_name(curve),
            (curve.points[-1].ratio, min(curve.points[-1].error, top)),
            xytext=(1.04, label_height / panel_height),
            textcoords="axes fraction",
            va="center",
            fontsize=_END,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "grey"},
            annotation_clip=False,
        )


def _spread_heights(heights: Sequence[float], least: float, top: float) -> list[float]:
    """Move ascending heights until they are `least` apart, within 0..top, as little as possible."""
    steps = least * np.arange(len(heights))
    moved = fit_monotone((np.array(heights) - steps).tolist())
    spread: list[float] = (np.clip(moved, 0, top - steps[-1]) + steps).tolist()
    return spread


def _square_root(values: Any) -> Any:
    return np.sqrt(np.maximum(values, 0.0))


def _short_name(curve: Curve) -> str:
    return f"{_shorten(curve.family)} ({curve.width})"


def _shorten(name: str) -> str:
    """Shorten a long name in the middle."""
    return (
        name if len(name) <= _NAME else f"{name[: _NAME // 3]}…{name[-(_NAME - _NAME // 3 - 1) :]}"
    )


def _format_percent(ratio: float) -> str:
    return f"{100 * ratio:g} %"


def _format_error(error: float) -> str:
    if 0 < abs(error) < 0.001:
        return f"{error:.0e}".replace("e-0", "e-")
    return f"{error:.3f}" if abs(error) < 1 else f"{error:.3g}"


def _axis_label(score: bool) -> str:
    return "loss of the score" if score else "relative squared error of the outputs"
