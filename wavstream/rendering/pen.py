"""The pen: what lies before the point of writing is mixed, encoded and never touched again.

Three times are counted here, all in samples of the file's rate. *Call time* runs from the start of the recording and
never stops. *Recorded time* leaves out the pauses that the file skips: limits, timeouts and the beep count in it.
*File time* leaves out the silence that is trimmed from the beginning, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import MIN_RATE_HZ
from wavstream.model.options import FileFormat, PauseBehavior, RecordingOptions, Trim
from wavstream.model.recording import Trimmed
from wavstream.rendering.encoders.formats import file_rate_hz, new_encoder
from wavstream.rendering.mixer.beep import BEEP_HZ, beep
from wavstream.rendering.mixer.sum import Voice, add, mix
from wavstream.rendering.speech.endpointer import Endpointer, needed
from wavstream.rendering.timeline.pauses import Pauses
from wavstream.rendering.timeline.units import us_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from wavstream.model.recording import EndReason
    from wavstream.rendering.encoders.base import Encoder
    from wavstream.rendering.encoders.tap import Tap
    from wavstream.rendering.timeline.lane import Lane
    from wavstream.rendering.timeline.tally import Tally


class Pen:
    """The writing end of one recording."""

    def __init__(self, options: RecordingOptions, tally: Tally, tap: Tap) -> None:
        self.pauses = Pauses()
        self.channels = options.file_channels
        self.sample_rate_hz = file_rate_hz(options.format, options.sample_rate or MIN_RATE_HZ)
        """Of the file; only a guess until ``open``."""
        self.is_open = False
        self.written = 0
        """The point of writing, in call time."""
        self.ended: EndReason | None = None
        """Why the recording ended by itself, at the point of writing; nothing more is written then."""
        self._options = options
        self._tally = tally
        self._tap = tap
        self._encoder: Encoder = new_encoder(options.format, sample_rate_hz=self.sample_rate_hz, channels=self.channels)
        self._endpointer: Endpointer | None = None
        self._beep: NDArray[np.int16] = np.empty(0, np.int16)
        self._beep_columns: tuple[int, ...] = ()
        self._recorded = 0
        self._encoded = 0
        self._was_heard = False
        self._said: list[tuple[int, int]] = []

    @property
    def written_us(self) -> int:
        """The point of writing in microseconds from the start of the recording."""
        return us_of(self.written, self.sample_rate_hz)

    @property
    def samples(self) -> int:
        """Of each channel in the file, were the recording to end now."""
        kept = self._endpointer.kept if self._endpointer is not None else None
        return self._encoded if kept is None else min(kept, self._encoded)

    @property
    def has_audio(self) -> bool:
        """Whether anything that was said is in the file; where silence is trimmed, whether anybody spoke."""
        if self._endpointer is not None and self._options.trim is Trim.SILENCE:
            return self._endpointer.has_speech
        return self._was_heard

    @property
    def trimmed(self) -> Trimmed:
        """The silence that was cut away; final once the pen has finished."""
        if self._endpointer is None or self._options.trim is not Trim.SILENCE:
            return Trimmed()
        start, end = self._endpointer.trimmed_start, self._endpointer.trimmed_end
        return Trimmed(*(us_of(samples, self.sample_rate_hz) // 1000 for samples in (start, end)))

    @property
    def kept_bytes(self) -> int | None:
        """Audio bytes of the file were the recording to end now, also ahead of what is written; None: all of them."""
        kept = self._endpointer.kept if self._endpointer is not None else None
        return None if kept is None else self._encoder.audio_bytes(kept)

    def open(self, wanted_hz: int, *, beep_elsewhere: Collection[int] = ()) -> None:
        """The file's rate is decided: the nearest that its format has. ``beep_elsewhere``: columns that get it so."""
        options, channels = self._options, self.channels
        self.sample_rate_hz = rate_hz = file_rate_hz(options.format, wanted_hz)
        self.is_open = True
        self._encoder = new_encoder(options.format, sample_rate_hz=rate_hz, channels=channels)
        self._tap.open(sample_rate_hz=rate_hz, channels=channels, is_held_back=options.format is FileFormat.MP3)
        if needed(options):
            tone_hz = BEEP_HZ if options.beep else None
            self._endpointer = Endpointer(options, rate_hz=rate_hz, channels=channels, tone_hz=tone_hz)
        if options.beep:
            self._beep = beep(rate_hz)
            self._beep_columns = tuple(column for column in range(channels) if column not in beep_elsewhere)

    def write(self, upto: int, lanes: Sequence[tuple[int, Lane]]) -> bytes:
        """The file bytes of the call up to a sample, from (column, lane); it may end before."""
        written = []
        for end, is_paused in self.pauses.split(self.written, upto, self.sample_rate_hz):
            length = end - self.written
            voices = [Voice(column, lane.take(end)) for column, lane in lanes]
            self.written = end
            if is_paused:
                self._tally.paused_us += us_of(_samples_of(voices), self.sample_rate_hz)
                if self._options.pause_behavior is PauseBehavior.SKIP:
                    continue
                voices = []
            block, clipped = mix(voices, samples=length, channels=self.channels)
            self._tally.clipped_samples += clipped
            self._was_heard = self._was_heard or any(voice.pieces for voice in voices)
            written.append(self._record(block, voices))
            if self.ended is not None:
                break
        return b"".join(written)

    def finish(self) -> bytes:
        """The bytes that end the file."""
        rest = self._endpointer.finish() if self._endpointer is not None else []
        return b"".join([*(self._encode(start, block) for start, block in rest), self._encoder.finish()])

    def header(self) -> bytes:
        """The header that is right for what was written so far."""
        return self._encoder.header(self.samples)

    def _record(self, block: NDArray[np.int16], voices: Sequence[Voice]) -> bytes:
        start, endpointer = self._recorded, self._endpointer
        self._recorded += len(block)
        if endpointer is None:
            return self._encode(start, block)
        # What is not judged yet is held back, so the end may lie before this block.
        reach = start - self.sample_rate_hz // 10
        self._said = [said for said in self._said if said[1] > reach]
        self._said += [(start + row, start + row + len(s)) for voice in voices for row, s in voice.pieces]
        ready = endpointer.take(block)
        if endpointer.ended is not None:
            self.ended, end = endpointer.ended
            self.written -= self._recorded - end
            beyond = sum(max(0, over - max(begin, end)) for begin, over in self._said)
            self._tally.after_limit_us += us_of(beyond, self.sample_rate_hz)
        return b"".join(self._encode(at, samples) for at, samples in ready)

    def _encode(self, start: int, block: NDArray[np.int16]) -> bytes:
        """``start``: in recorded time."""
        self._encoded += len(block)
        if start < len(self._beep):
            block, clipped = add(block, self._beep[start : start + len(block)], self._beep_columns)
            self._tally.clipped_samples += clipped
        self._tap.pass_on(block)
        return self._encoder.encode(block)


def _samples_of(voices: Sequence[Voice]) -> int:
    return sum(len(samples) for voice in voices for _, samples in voice.pieces)
