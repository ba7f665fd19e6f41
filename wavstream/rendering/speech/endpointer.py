"""Where a recording begins and ends by itself.

Recorded time is what would be in the file if nothing were trimmed: paused stretches that are skipped are not in it.

1. All limits are samples of recorded time, and the first one that is reached ends the recording, however late that is
   found out. At the same sample a silence is named rather than the length.
2. Speech that begins in a frame that starts before a limit is in time: it disarms ``initial_timeout_s``, and it moves
   the end of ``end_silence_timeout_s``.
3. So samples are held back until the verdict on their frame is settled (up to 100 ms), and what is given out is final.
4. A stop settles the rest: nothing of it is speech.
5. Where silence is trimmed, the file begins 200 ms before the first speech and ends 200 ms after the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.options import RecordingOptions, Trim
from wavstream.model.recording import EndReason
from wavstream.rendering.speech.detector import Detector, frame_start

if TYPE_CHECKING:
    from numpy.typing import NDArray

Piece = tuple[int, "NDArray[np.int16]"]
"""(sample of the recorded time, samples (n, channels))."""

_MARGIN_S = 0.2


def needs_endpointer(options: RecordingOptions) -> bool:
    """Return whether a recording with these options may end by itself, or is trimmed."""
    return options.max_length_s > 0 or listens(options)


def listens(options: RecordingOptions) -> bool:
    """Return whether what is said decides where such a recording begins or ends."""
    timeouts = options.initial_timeout_s > 0 or options.end_silence_timeout_s > 0
    return timeouts or options.trim is Trim.SILENCE


class Endpointer:
    """Decides what of the recorded time goes into the file."""

    def __init__(self, options: RecordingOptions, *, rate_hz: int, channels: int, tone_hz: int | None = None) -> None:
        """Begin with nothing heard; a tone of ``tone_hz`` is no speech."""
        self.ended: tuple[EndReason, int] | None = None
        """Why, and at which sample of the recorded time, the recording ended by itself."""
        self.trimmed_start = 0
        """Samples of recorded time in front of the file; valid after ``finish``."""
        self.trimmed_end = 0
        """Samples of recorded time that were given out and do not stay; valid after ``finish``."""
        self._rate_hz = rate_hz
        # At least one sample: none would be no limit.
        self._max_length = max(1, round(options.max_length_s * rate_hz)) if options.max_length_s else 0
        self._initial_timeout = round(options.initial_timeout_s * rate_hz)
        self._end_silence = round(options.end_silence_timeout_s * rate_hz)
        self._trims = options.trim is Trim.SILENCE
        self._margin = round(_MARGIN_S * rate_hz)
        self._detector: Detector | None = None
        if listens(options):
            self._detector = Detector(rate_hz, channels, options.sensitivity, tone_hz=tone_hz)
        self._frames = 0
        """Whose verdict is settled."""
        self._speech: tuple[int, int] | None = None
        """The start of the first speech and the end of the last."""
        self._recorded = 0
        self._given = 0
        """What lies before this sample is given out, or trimmed."""
        self._held: list[Piece] = []
        self._excused: list[tuple[int, int]] = []
        """Stretches of recorded time, (start, end), whose silence is nobody's."""

    def excuse(self, start: int, end: int) -> None:
        """Count the silence between two samples of the recorded time, which are still to be taken in, for nobody."""
        self._excused.append((start, end))

    @property
    def has_speech(self) -> bool:
        """Whether speech was heard so far; never without an option that needs the detector."""
        return self._speech is not None

    @property
    def kept(self) -> int | None:
        """Samples of the file that stay if the recording ended now; None: all.

        It never decreases. It may lie ahead of what was given out, and of the end.
        """
        if not self._trims:
            return None
        return self._speech[1] + self._margin - self._start(self._speech) if self._speech else 0

    def take(self, block: NDArray[np.int16]) -> list[Piece]:
        """Take in a block, (n, channels), and return what goes to the encoder now: consecutive pieces."""
        if self.ended:
            return []
        self._held.append((self._recorded, block))
        self._recorded += len(block)
        if self._detector is None:
            return self._give(self._recorded)
        self._follow(self._detector.hear(block))
        return self._give(frame_start(self._frames, self._rate_hz))  # rule 3

    def finish(self) -> list[Piece]:
        """End, and return what of the held samples goes to the encoder. Once, also after an end by itself."""
        pieces = self._give(self._recorded)  # rule 4
        length = self.ended[1] if self.ended else self._recorded
        if self._trims:
            self.trimmed_start = self._start(self._speech) if self._speech else length
            self.trimmed_end = max(0, length - self.trimmed_start - (self.kept or 0))
        return pieces

    def _follow(self, verdicts: NDArray[np.bool_]) -> None:
        """Take in speech up to the limit that ends the recording, if any."""
        limit = self._limit()
        for frame in (np.flatnonzero(verdicts) + self._frames).tolist():
            start, end = frame_start(frame, self._rate_hz), frame_start(frame + 1, self._rate_hz)
            if limit is not None and start >= limit[0]:  # rule 2
                break
            self._speech = (self._speech[0] if self._speech else start, end)
            limit = self._limit()
        self._frames += len(verdicts)

    def _limit(self) -> tuple[int, EndReason] | None:
        """Return where, and why, the recording ends if nobody says any more (rule 1)."""
        limits = []
        if self._speech and self._end_silence:
            limits.append((self._after(self._speech[1], self._end_silence), EndReason.SILENCE))
        if not self._speech and self._initial_timeout:
            limits.append((self._after(0, self._initial_timeout), EndReason.NO_INPUT))
        if self._max_length:
            limits.append((self._max_length, EndReason.MAX_LENGTH))
        # Of two at the same sample min() gives the one that comes first in the list, so the length is last.
        return min(limits, key=lambda limit: limit[0], default=None)

    def _after(self, start: int, silence: int) -> int:
        """Return where so much silence from ``start`` on ends."""
        end = start + silence
        for begin, over in self._excused:
            if over > start and begin < end:
                end += over - max(begin, start)
        return end

    def _give(self, upto: int) -> list[Piece]:
        """Return the held samples that are in the file, up to where everything is known."""
        limit = self._limit()
        if limit is not None and limit[0] <= upto:
            self.ended = (limit[1], limit[0])
            upto = limit[0]
        if self._trims:  # rule 5: until somebody speaks, only the newest 200 ms may still be in the file
            begin = self._start(self._speech) if self._speech else max(0, upto - self._margin)
            self._given = max(self._given, begin)
        pieces = _cut(self._held, self._given, upto) if self._speech or not self._trims else []
        if pieces:
            self._given = upto
        self._held = [] if self.ended else _cut(self._held, self._given, self._recorded)
        return pieces

    def _start(self, speech: tuple[int, int]) -> int:
        return max(0, speech[0] - self._margin)


def _cut(pieces: list[Piece], start: int, end: int) -> list[Piece]:
    """Return what of consecutive pieces lies in [start, end)."""
    return [
        (max(at, start), samples[max(0, start - at) : end - at])
        for at, samples in pieces
        if at < end and at + len(samples) > start
    ]
