"""The pen: what lies before the point of writing is mixed, encoded and never touched again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.model.audio import MIN_RATE_HZ
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.rendering.encoders.wav import WavEncoder
from wavstream.rendering.mixer.sum import Voice, mix
from wavstream.rendering.timeline.pauses import Pauses
from wavstream.rendering.timeline.units import us_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wavstream.rendering.encoders.base import Encoder
    from wavstream.rendering.timeline.lane import Lane
    from wavstream.rendering.timeline.tally import Tally


class Pen:
    """The writing end of one recording."""

    def __init__(self, options: RecordingOptions, tally: Tally) -> None:
        self.pauses = Pauses()
        self.channels = options.file_channels
        self.sample_rate_hz = options.sample_rate or MIN_RATE_HZ
        """Of the file; only a guess until ``open``."""
        self.is_open = False
        self.written = 0
        """Samples from the start of the recording to the point of writing; pauses count."""
        self.samples = 0
        """Of each channel in the file."""
        self.has_audio = False
        """Whether anything that was said is in the file."""
        self._skips = options.pause_behavior is PauseBehavior.SKIP
        self._tally = tally
        self._encoder: Encoder = self._new_encoder()

    @property
    def written_us(self) -> int:
        """The point of writing in microseconds from the start of the recording."""
        return us_of(self.written, self.sample_rate_hz)

    def open(self, sample_rate_hz: int) -> None:
        """The file's rate is decided."""
        self.sample_rate_hz = sample_rate_hz
        self.is_open = True
        self._encoder = self._new_encoder()

    def write(self, upto: int, lanes: Sequence[tuple[int, Lane]]) -> bytes:
        """The file bytes of the call up to a sample, from (column, lane)."""
        written = []
        for end, is_paused in self.pauses.split(self.written, upto, self.sample_rate_hz):
            length = end - self.written
            voices = [Voice(column, lane.take(end)) for column, lane in lanes]
            self.written = end
            if is_paused:
                taken = sum(len(samples) for voice in voices for _, samples in voice.pieces)
                self._tally.paused_us += us_of(taken, self.sample_rate_hz)
                if self._skips:
                    continue
                voices = []
            block, clipped = mix(voices, samples=length, channels=self.channels)
            self._tally.clipped_samples += clipped
            self.has_audio = self.has_audio or any(voice.pieces for voice in voices)
            self.samples += length
            written.append(self._encoder.encode(block))
        return b"".join(written)

    def finish(self) -> bytes:
        """The bytes that end the file."""
        return self._encoder.finish()

    def header(self) -> bytes:
        """The header that is right for what was written so far."""
        return self._encoder.header(self.samples)

    def _new_encoder(self) -> Encoder:
        return WavEncoder(sample_rate_hz=self.sample_rate_hz, channels=self.channels)
