"""A chart of the errors of the timeline by sender model, as an SVG that is readable on light and dark pages.

One row a model, the error on a logarithmic axis: the darker a cell, the more of the pieces lie there; marks at the
median, at 99.9 % and at the worst piece.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_LEAST_MS, _MOST_MS = 0.1, 100_000.0
_CELLS = 96
_LEFT, _TOP, _WIDTH, _ROW = 190, 64, 640, 34
_BOUNDS_MS = (20.0, 150.0)
_TICKS = {0.1: "≤ 0.1 ms", 1.0: "1 ms", 10.0: "10 ms", 100.0: "0.1 s", 1_000.0: "1 s", 10_000.0: "10 s", 1e5: "100 s"}
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .small { font-size: 11px; fill: #57606a; }
  .axis { stroke: #d0d7de; } .bound { stroke: #9a6700; stroke-dasharray: 4 3; }
  .cell { fill: #0969da; } .median { stroke: #24292f; stroke-width: 2; } .most { stroke: #cf222e; stroke-width: 2; }
  .max { fill: none; stroke: #cf222e; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .axis { stroke: #3d444d; } .bound { stroke: #d29922; }
    .cell { fill: #4493f8; } .median { stroke: #f0f6fc; } .most, .max { stroke: #ff7b72; }
  }
"""


def chart(errors_ms: Mapping[str, NDArray[np.float32]], *, calls: int) -> str:
    """Return the SVG of the absolute errors of pieces, by model."""
    height = _TOP + _ROW * len(errors_ms) + 58
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 60} {height}" role="img"'
        ' aria-label="Error of each 0.1 s by sender model">',
        f"<style>{_STYLE}</style>",
        f'<text x="12" y="22">Distance of each 0.1 s of {calls:,} seeded calls from where it was said</text>',
        '<text class="small" x="12" y="40">shade: share of the pieces; black: median; red: 99.9 %; circle: the worst'
        " piece; dashed: 20 and 150 ms</text>",
    ]
    bottom = _TOP + _ROW * len(errors_ms)
    for tick_ms, label in _TICKS.items():
        parts.append(_line("axis", tick_ms, _TOP, bottom))
        parts.append(f'<text class="small" x="{_x(tick_ms):.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    parts += [_line("bound", bound_ms, _TOP - 6, bottom + 4) for bound_ms in _BOUNDS_MS]
    for row, (name, errors) in enumerate(errors_ms.items()):
        parts += _row(name, errors, _TOP + row * _ROW)
    return "\n".join([*parts, "</svg>", ""])


def _row(name: str, errors_ms: NDArray[np.float32], top: int) -> list[str]:
    middle = top + _ROW // 2
    parts = [f'<text x="{_LEFT - 14}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>']
    if not len(errors_ms):
        return parts
    cell = ((_x_of(errors_ms) - _LEFT) / _WIDTH * _CELLS).astype(np.int64).clip(0, _CELLS - 1)
    share = np.bincount(cell, minlength=_CELLS) / len(errors_ms)
    for at in np.flatnonzero(share).tolist():
        # From one in a million to all of them, in six steps of ten.
        opacity = min(1.0, max(0.08, 1 + np.log10(share[at]) / 6))
        left = _LEFT + at * _WIDTH / _CELLS
        parts.append(
            f'<rect class="cell" x="{left:.1f}" y="{top + 6}" width="{_WIDTH / _CELLS:.2f}" height="{_ROW - 12}"'
            f' opacity="{opacity:.2f}"/>'
        )
    median_ms, most_ms = (float(value) for value in np.percentile(errors_ms, (50, 99.9)))
    parts.append(_line("median", median_ms, top + 3, top + _ROW - 3))
    parts.append(_line("most", most_ms, top + 3, top + _ROW - 3))
    parts.append(f'<circle class="max" cx="{_x(float(errors_ms.max())):.1f}" cy="{middle}" r="5"/>')
    return parts


def _line(kind: str, at_ms: float, top: int, bottom: int) -> str:
    x = _x(at_ms)
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _x(error_ms: float) -> float:
    return float(_x_of(np.array([error_ms]))[0])


def _x_of(errors_ms: NDArray[np.floating]) -> NDArray[np.floating]:
    clipped = np.clip(errors_ms, _LEAST_MS, _MOST_MS)
    x: NDArray[np.floating] = _LEFT + np.log10(clipped / _LEAST_MS) / np.log10(_MOST_MS / _LEAST_MS) * _WIDTH
    return x
