"""A series of audits as a picture, drawn by Matplotlib (the extra `plot`)."""

from __future__ import annotations

import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veritas_peewee.cli.text import one_line
from veritas_peewee.errors import StoreError
from veritas_peewee.files.durable import appearing_stream
from veritas_peewee.files.platform import os_error
from veritas_peewee.queries.trends import Trend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
_BANDS = ((0, "#b3261e"), (20, "#e57368"), (40, "#f2c14e"), (70, "#9ccc65"), (90, "#43a047"))
_SEVERITIES = (
    ("critical", "#7f1d1d"),
    ("high", "#dc2626"),
    ("medium", "#f59e0b"),
    ("low", "#38bdf8"),
)
_OTHER = "#9ca3af"
_TITLE = 90
"""Characters of a title for which the picture is wide enough."""


def check_installed() -> None:
    """Raise StoreError, which says what to install, if Matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise StoreError("--plot needs Matplotlib: install the extra `veritas-peewee[plot]`")


def write(found: Trend, path: Path) -> None:
    """Draw a series into a .png or .svg file; StoreError if it cannot be written.

    Also if its times are too near to the first or last year that Matplotlib can draw.
    """
    # Without pyplot nothing is global, and any thread may draw.
    import matplotlib
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    scores, findings = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
    dated = [point for point in found.points if point.time is not None]
    title = one_line(found.url or found.host)
    title = title if len(title) <= _TITLE else f"{title[: _TITLE - 3]}..."
    figure.suptitle(title, parse_math=False)
    _draw_scores(scores, dated)
    _draw_findings(findings, dated)
    if any(axes.get_legend_handles_labels()[0] for axes in (scores, findings)):
        figure.legend(loc="outside lower center", fontsize="small", ncols=6)
    # Shows the date even if all audits are of one day.
    ticks = AutoDateLocator()
    findings.xaxis.set_major_locator(ticks)
    findings.xaxis.set_major_formatter(ConciseDateFormatter(ticks))
    picture = io.BytesIO()
    # Warnings are about letters that no font has (drawn as a box). With a fixed salt, the same
    # series gives the same file.
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "veritas"}):
        warnings.simplefilter("ignore")
        kind = path.suffix.lower()[1:]
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        try:
            figure.savefig(picture, format=kind, dpi=120, metadata=metadata)
        except (ValueError, OverflowError) as error:
            times = [point.time for point in dated if point.time is not None]
            if all(2 < time.year < 9000 for time in times):
                raise
            first, last = min(times), max(times)
            raise StoreError(f"--plot cannot draw the years {first.year} to {last.year}") from error
    try:
        with appearing_stream(path, replace=True) as file:
            file.write(picture.getvalue())
    except OSError as error:
        raise os_error(error, path, "written") from error


def _draw_scores(axes: Axes, points: list[Any]) -> None:
    for number, (low, colour) in enumerate(_BANDS):
        high = _BANDS[number + 1][0] if number + 1 < len(_BANDS) else 100
        axes.axhspan(low, high, color=colour, alpha=0.12, linewidth=0)
    times = [point.time for point in points]
    # NaN is a gap in the line.
    known = [float("nan") if p.trust_score is None else p.trust_score for p in points]
    axes.plot(times, known, color="#1f2937", marker="o", markersize=4, linewidth=1.5, clip_on=False)
    gaps = [point.time for point in points if point.trust_score is None]
    if gaps:
        axes.plot(gaps, [2] * len(gaps), "x", color="#6b7280", label="no score")
    axes.set_ylim(0, 100)
    axes.set_ylabel("trust score")


def _draw_findings(axes: Axes, points: list[Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    counted = [point for point in points if point.findings is not None]
    axes.set_ylabel("findings")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if not counted:
        return
    times = [point.time for point in counted]
    # In days: so wide that evenly spaced bars do not touch, but at least two pixels, for a thinner
    # bar can fall between two pixels and vanish.
    span = (times[-1] - times[0]).total_seconds() / 86400 or 1.0
    width = span / min(max(2 * len(times), 60), 400)
    below = [0] * len(times)
    named = {severity for severity, _ in _SEVERITIES}
    for severity, colour in (*_SEVERITIES, ("other", _OTHER)):
        if severity in named:
            numbers = [point.findings.get(severity, 0) for point in counted]
        else:  # severities that another program stored
            counts = [point.findings.items() for point in counted]
            numbers = [sum(n for name, n in items if name not in named) for items in counts]
            if not any(numbers):
                continue
        axes.bar(times, numbers, width, bottom=below, color=colour, label=severity)
        below = [one + other for one, other in zip(below, numbers, strict=True)]
    axes.set_ylim(bottom=0, top=None if any(below) else 1)
