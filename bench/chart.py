"""Small line charts as SVG, readable on light and dark pages: one axis of what was varied, one of what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT, _BOTTOM = 70, 64, 560, 240, 130, 52
_LEAST_LABEL_GAP = 15.0
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .small { font-size: 11px; fill: #57606a; }
  .axis { stroke: #d0d7de; } .bound { stroke: #9a6700; stroke-dasharray: 4 3; }
  .line { fill: none; stroke-width: 2; }
  .s0 { stroke: #0969da; } .s1 { stroke: #bc4c00; } .s2 { stroke: #1a7f37; } .s3 { stroke: #8250df; }
  .d0 { fill: #0969da; } .d1 { fill: #bc4c00; } .d2 { fill: #1a7f37; } .d3 { fill: #8250df; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .axis { stroke: #3d444d; } .bound { stroke: #d29922; }
    .s0 { stroke: #4493f8; } .s1 { stroke: #f0883e; } .s2 { stroke: #3fb950; } .s3 { stroke: #ab7df8; }
    .d0 { fill: #4493f8; } .d1 { fill: #f0883e; } .d2 { fill: #3fb950; } .d3 { fill: #ab7df8; }
  }
"""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What the axes say."""

    title: str
    x: str
    y: str
    x_is_log: bool = False
    x_text: Callable[[float], str] = lambda value: f"{value:,.0f}"
    bound: tuple[float, str] | None = None
    """A height that is marked, and what it is."""


def chart(series: Mapping[str, Points], axes: Axes) -> str:
    """Return the SVG of up to four lines, named at their ends; x and y are above 0."""
    xs = sorted({x for points in series.values() for x, _ in points})
    highest = max([y for points in series.values() for _, y in points] + ([axes.bound[0]] if axes.bound else []))
    ticks = nice_ticks(highest)
    across, up = _across(xs, axes.x_is_log), _up(ticks[-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {_TOP + _HEIGHT + _BOTTOM}"'
        f' role="img" aria-label="{escape(axes.title)}">',
        f"<style>{_STYLE}</style>",
        f'<text x="12" y="22">{escape(axes.title)}</text>',
        f'<text class="small" x="12" y="44">{escape(axes.y)}</text>',
    ]
    for tick in ticks:
        parts.append(_flat("axis", up(tick)))
        parts.append(_small(_LEFT - 8, up(tick) + 4, f"{tick:,.10g}", "end"))
    last_x = -math.inf
    for x in xs:
        if across(x) - last_x > 34:
            last_x = across(x)
            parts.append(_small(last_x, _TOP + _HEIGHT + 18, axes.x_text(x), "middle"))
    parts.append(_small(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 40, axes.x, "middle"))
    if axes.bound:
        parts += [_flat("bound", up(axes.bound[0])), _small(_LEFT + 6, up(axes.bound[0]) - 5, axes.bound[1], "start")]
    names = _apart({name: up(points[-1][1]) for name, points in series.items()})
    for place, (name, points) in enumerate(series.items()):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="line s{place % 4}" points="{path}"/>')
        parts += [f'<circle class="d{place % 4}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>' for x, y in points]
        parts.append(_small(across(points[-1][0]) + 9, names[name] + 4, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def nice_ticks(highest: float) -> list[float]:
    """Return four to eight round numbers from 0 to at least ``highest``."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * 0.999)
    return [step * count for count in range(math.ceil(highest / step - 1e-9) + 1)]


def _across(xs: Sequence[float], is_log: bool) -> Callable[[float], float]:
    least, most = (math.log(xs[0]), math.log(xs[-1])) if is_log else (0.0, xs[-1])
    width = (most - least) or 1.0
    return lambda x: _LEFT + ((math.log(x) if is_log else x) - least) / width * _WIDTH


def _up(most: float) -> Callable[[float], float]:
    return lambda y: _TOP + _HEIGHT - y / most * _HEIGHT


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Return the heights of the names, moved down where they would lie on each other."""
    placed, last = {}, -math.inf
    for name, height in sorted(heights.items(), key=lambda each: each[1]):
        last = placed[name] = max(height, last + _LEAST_LABEL_GAP)
    return placed


def _flat(kind: str, y: float) -> str:
    return f'<line class="{kind}" x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _small(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="small" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
