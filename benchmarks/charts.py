"""The picture: throughput by concurrency, latency by the size of the history."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import peers
from benchmarks.cases import CASES
from benchmarks.model import Outcomes

_PAGE = "status common · first"


def draw(outcomes: Outcomes, path: Path) -> str | None:
    """Draw the outcomes; returns None, or a text that says why it could not."""
    if find_spec("matplotlib") is None:
        return "matplotlib is not installed"
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(22, 4.8))
    drawn = _lines(left, outcomes, "MIX", "per_s")
    left.set(xlabel="audits at once", ylabel="events per second",
             title="MIX: whole audits as the engine sends them")  # fmt: skip
    drawn += _lines(middle, outcomes, "W1", "per_s")
    middle.set(xlabel="tasks at once", ylabel="writes per second",
               title="W1: one log entry a write")  # fmt: skip
    drawn += _lines(right, outcomes, "R2", _PAGE)
    right.set(xlabel="audits in the history", ylabel="p50, ms",
              title="R2: first page by status")  # fmt: skip
    if not drawn:
        return "MIX, W1 and R2 were not measured"
    for axes in (left, middle, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    return None


def _lines(axes: Any, outcomes: Outcomes, case: str, metric: str) -> int:
    drawn = 0
    for name, entry in peers.PEERS.items():
        points = [
            (int(param), median(one[metric] for one in found.rounds))
            for param in CASES[case].params
            if (found := outcomes.get((case, name, param, False))) and found.rounds
        ]
        if not points:
            continue
        drawn += 1
        limit = name in peers.LIMITS
        width = 2.8 if name == peers.OURS else 1.2
        style = ":" if limit else "-"
        if len(points) == 1:  # the parameter makes no difference to it
            axes.axhline(points[0][1], linestyle=":", color="gray", label=entry.title)
            continue
        marker = "." if limit else "o"
        axes.plot(
            *zip(*points, strict=True), style, marker=marker, linewidth=width, label=entry.title
        )
    return drawn
