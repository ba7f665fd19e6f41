"""The stretches of speech that an engine is given, of one channel: silence costs nothing.

1. Frames of speech (20 ms, as ``rendering.speech`` tells them) that are less than ``JOIN_FRAMES`` apart are one
   stretch: people pause between words.
2. A stretch has ``MARGIN_FRAMES`` more at both ends, as far as the file goes and the next stretch does not begin
   there: the first and the last sound of a word are quiet.
3. No stretch is longer than ``LONGEST_FRAMES``: an engine's work, and what is lost when it fails, stay bounded. It is
   cut in the middle of the longest pause of its second half, or where there is none, where it is full.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FRAMES_PER_S = 50
FRAME_MS = 1000 // FRAMES_PER_S
JOIN_FRAMES = 30
MARGIN_FRAMES = 10
LONGEST_FRAMES = 30 * FRAMES_PER_S


class Span(NamedTuple):
    """A stretch of frames."""

    start: int
    end: int
    """Of the last frame, plus one."""

    @property
    def start_ms(self) -> int:
        """Where it begins in the file."""
        return self.start * FRAME_MS

    @property
    def end_ms(self) -> int:
        """Where it ends in the file."""
        return self.end * FRAME_MS


def speech_spans(is_speech: NDArray[np.bool_]) -> list[Span]:
    """Return the stretches to be transcribed, of the verdicts on all frames of a channel."""
    pieces = [piece for run in _joined(_runs(is_speech)) for piece in _cut(run)]
    return _with_margins(pieces, len(is_speech))


def _runs(is_speech: NDArray[np.bool_]) -> list[Span]:
    """Return the runs of frames that are speech."""
    steps = np.diff(np.concatenate(([False], is_speech, [False])).astype(np.int8))
    starts, ends = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
    return [Span(start, end) for start, end in zip(starts, ends, strict=True)]


def _joined(runs: list[Span]) -> Iterator[list[Span]]:
    """Yield the runs that make one stretch each (rule 1)."""
    group: list[Span] = []
    for run in runs:
        if group and run.start - group[-1].end >= JOIN_FRAMES:
            yield group
            group = []
        group.append(run)
    if group:
        yield group


def _cut(runs: list[Span]) -> Iterator[Span]:
    """Yield a stretch in pieces that are short enough (rule 3), of the runs that it is of."""
    longest = LONGEST_FRAMES - 2 * MARGIN_FRAMES
    start, end = runs[0].start, runs[-1].end
    while end - start > longest:
        pauses = [
            (later.start - earlier.end, (earlier.end + later.start) // 2)
            for earlier, later in pairwise(runs)
            if start + longest // 2 <= earlier.end and later.start <= start + longest
        ]
        at = max(pauses)[1] if pauses else start + longest
        yield Span(start, at)
        start = at
    yield Span(start, end)


def _with_margins(pieces: list[Span], frames: int) -> list[Span]:
    """Return the pieces with more at their ends (rule 2)."""
    spans = []
    for number, piece in enumerate(pieces):
        earliest = pieces[number - 1].end if number else 0
        latest = pieces[number + 1].start if number + 1 < len(pieces) else frames
        # Between two pieces each has half of what lies there at most.
        before = min(MARGIN_FRAMES, piece.start if not number else (piece.start - earliest) // 2)
        after = min(MARGIN_FRAMES, frames - piece.end if latest == frames else (latest - piece.end) // 2)
        spans.append(Span(piece.start - before, piece.end + after))
    return spans
