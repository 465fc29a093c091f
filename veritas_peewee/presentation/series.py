"""A site's audits over time as a picture: scores in their bands, and findings by severity."""

from __future__ import annotations

from collections.abc import Sequence

from veritas_peewee.presentation.page import safe
from veritas_peewee.presentation.parts import BANDS, SEVERITIES, score_text, when
from veritas_peewee.queries.trends import TrendPoint

_LEFT, _RIGHT, _TOP, _HEIGHT, _BARS, _WIDTH = 30, 10, 8, 160, 60, 800
_BASE = _TOP + _HEIGHT + 20 + _BARS
"""Where the bars of findings stand."""


def series_svg(points: Sequence[TrendPoint]) -> str:
    """The series as SVG. Where an audit has no score the line has a gap, with a mark below."""
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(points) - 1)
    places = [_LEFT + step * number for number in range(len(points))]
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_BASE + 8}" role="img" '
        f'aria-label="{_told(points)}">',
        *_grounds(),
        *_line(points, places),
        *_bars(points, places, min(step * 0.7, 14)),
        "</svg>",
    ]
    return "".join(parts)


def _told(points: Sequence[TrendPoint]) -> str:
    scores = [point.trust_score for point in points if point.trust_score is not None]
    if not scores:
        return safe(f"{len(points)} audits, none of them with a score")
    span = f"from {when(points[0].time)} to {when(points[-1].time)}"
    return safe(
        f"{len(points)} audits {span}: trust scores from {score_text(scores[0])} to "
        f"{score_text(scores[-1])}, lowest {score_text(min(scores))}, highest "
        f"{score_text(max(scores))}, {len(points) - len(scores)} without a score"
    )


def _y(score: float) -> float:
    return _TOP + _HEIGHT * (1 - max(0.0, min(score, 100.0)) / 100)


def _grounds() -> list[str]:
    parts, top = [], 100.0
    for low, name, _ in BANDS:
        y = _y(top)
        parts.append(
            f'<rect class="ground-{name}" x="{_LEFT}" y="{y:g}" '
            f'width="{_WIDTH - _LEFT - _RIGHT}" height="{_y(low) - y:g}"/>'
            f'<text class="axis" x="{_LEFT - 5}" y="{_y(low) + 4:g}">{low}</text>'
        )
        top = low
    return parts


def _line(points: Sequence[TrendPoint], places: Sequence[float]) -> list[str]:
    path, dots, begun = "", "", False
    gaps = ""
    for point, x in zip(points, places, strict=True):
        if point.trust_score is None:
            gaps += f"M{x:.1f} {_TOP + _HEIGHT + 4}v8"
            begun = False
            continue
        y = _y(point.trust_score)
        path += f"{'L' if begun else 'M'}{x:.1f} {y:.1f}"
        dots += f"M{x:.1f} {y:.1f}h0"
        begun = True
    return [
        f'<path class="{name}" d="{drawn}"/>'
        for name, drawn in (("line", path), ("dots", dots), ("gaps", gaps))
        if drawn
    ]


def _bars(points: Sequence[TrendPoint], places: Sequence[float], width: float) -> list[str]:
    most = max((sum((point.findings or {}).values()) for point in points), default=0)
    if not most:
        return []
    drawn = dict.fromkeys(SEVERITIES, "")
    for point, x in zip(points, places, strict=True):
        y = float(_BASE)
        for severity in SEVERITIES:
            height = (point.findings or {}).get(severity, 0) * _BARS / most
            if height:
                y -= height
                drawn[severity] += (
                    f"M{x - width / 2:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"
                )
    return [f'<path class="bar {name}" d="{path}"/>' for name, path in drawn.items() if path]
