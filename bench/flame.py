"""A flame graph as a small SVG, from folded stacks ("thread;outer;inner 12" a line); and its widest frames. No IO."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape

_WIDTH, _ROW, _TOP = 1_000, 17, 44
_PER_CHARACTER = 6.6
_STYLE = """
  text { font: 11px ui-monospace, monospace; fill: #1f2328; } .title { font: 13px system-ui, sans-serif; }
  rect { stroke: #ffffff; stroke-width: .6; }
  @media (prefers-color-scheme: dark) { .title { fill: #e6edf3; } rect { stroke: #0d1117; } }
"""
_OURS, _OTHERS = ("#9ec5fe", "#7fb2f5", "#b6d4fe"), ("#ffc078", "#ffb15c", "#ffd8a8")


@dataclass(slots=True)
class Frame:
    """A place in the stacks, and what was seen in it."""

    name: str
    samples: int = 0
    below: dict[str, Frame] = field(default_factory=dict)


def tree(folded: Iterable[str]) -> Frame:
    """Return the stacks as a tree."""
    root = Frame("all")
    for line in folded:
        stack, _, count = line.rpartition(" ")
        if not stack or not count.strip().isdecimal():
            continue
        root.samples += int(count)
        at = root
        for name in stack.split(";"):
            at = at.below.setdefault(name, Frame(name))
            at.samples += int(count)
    return root


def widest(root: Frame, count: int, *, is_ours: Callable[[str], bool]) -> list[tuple[str, float, float]]:
    """Return our frames in which most time passes of their own: name, share with what they call, own share.

    A frame that is in a stack twice counts once. To the own share belongs what a frame calls that is not ours: system
    calls, the interpreter, libraries.
    """
    total: dict[str, int] = {}
    own: dict[str, int] = {}

    def walk(frame: Frame, above: frozenset[str], nearest: str) -> None:
        is_named = is_ours(frame.name)
        if is_named and frame.name not in above:
            total[frame.name] = total.get(frame.name, 0) + frame.samples
            above |= {frame.name}
        nearest = frame.name if is_named else nearest
        left = frame.samples - sum(below.samples for below in frame.below.values())
        own[nearest] = own.get(nearest, 0) + left
        for below in frame.below.values():
            walk(below, above, nearest)

    walk(root, frozenset(), "")
    ordered = sorted(total, key=lambda name: -own.get(name, 0))[:count]
    samples = max(root.samples, 1)
    return [(name, total[name] / samples, own.get(name, 0) / samples) for name in ordered]


def flame_graph(root: Frame, title: str, *, least_share: float = 0.004) -> str:
    """Return the SVG: the outermost frame on top, each as wide as its share; narrower ones than asked for left out."""
    rows: list[str] = []
    deepest = _draw(root, 0.0, 0, least_share * root.samples, _WIDTH / max(root.samples, 1), rows)
    height = _TOP + (deepest + 1) * _ROW + 10
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
            f' aria-label="{escape(title)}">',
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="6" y="18">{escape(title)}</text>',
            f'<text class="title" x="6" y="35">{root.samples:,} samples; blue: wavstream; orange: libraries</text>',
            *rows,
            "</svg>",
            "",
        ]
    )


def _draw(frame: Frame, left: float, depth: int, least: float, per_sample: float, rows: list[str]) -> int:
    width, y = frame.samples * per_sample, _TOP + depth * _ROW
    shades = _OURS if "(wavstream/" in frame.name else _OTHERS
    shade = shades[zlib.crc32(frame.name.encode()) % len(shades)]
    share = frame.samples * per_sample / _WIDTH
    rows.append(
        f'<g><title>{escape(frame.name)} {share:.1%}</title><rect x="{left:.1f}" y="{y}" width="{width:.1f}"'
        f' height="{_ROW}" fill="{shade}"/>{_label(frame.name, left, y, width)}</g>'
    )
    deepest, at = depth, left
    for below in sorted(frame.below.values(), key=lambda each: each.name):
        if below.samples >= least:
            deepest = max(deepest, _draw(below, at, depth + 1, least, per_sample, rows))
        at += below.samples * per_sample
    return deepest


def _label(name: str, left: float, y: int, width: float) -> str:
    room = int((width - 6) / _PER_CHARACTER)
    if room < 4:
        return ""
    text = name if len(name) <= room else name[: room - 1] + "…"
    return f'<text x="{left + 3:.1f}" y="{y + 12}">{escape(text)}</text>'
