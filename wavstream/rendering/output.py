"""The output: what lies before the point of writing is mixed, encoded and never touched again.

Three times are counted here, all in samples of the file's rate:

1. *Call time* runs from the start of the recording and never stops. The file may begin before it, with what was said
   while a stream connected.
2. *Recorded time* leaves out the pauses that the file skips: limits, timeouts and the beep count in it.
3. *File time* leaves out the silence that is trimmed from the beginning, too.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from wavstream.model.audio import MIN_RATE_HZ, Channel
from wavstream.model.options import FileFormat, PauseBehavior, RecordingOptions, Trim
from wavstream.model.recording import Trimmed
from wavstream.rendering.encoders.encoder import file_rate_hz, new_encoder
from wavstream.rendering.encoders.wav import WavEncoder
from wavstream.rendering.mixer.mix import BEEP_HZ, StereoLayout, Voice, add, beep, mix
from wavstream.rendering.pauses import Pauses
from wavstream.rendering.speech.endpointer import Endpointer, listens, needs_endpointer
from wavstream.rendering.timeline.clock import samples_at, us_of
from wavstream.rendering.timeline.render_stats import RenderStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from wavstream.model.recording import EndReason
    from wavstream.rendering.encoders.encoder import Encoder
    from wavstream.rendering.tap import Tap
    from wavstream.rendering.timeline.render_stats import RenderStats
    from wavstream.rendering.timeline.timeline import Pieces, TrackKey

BLOCK_SAMPLES = 1 << 18
"""The longest part that is mixed and encoded in one go. A live call writes 2 s, which is less at any rate; the minutes
of a sender that is ahead of the clock would be in memory as samples of all channels, and as bytes beside that."""


class Output:
    """The writing end of one recording."""

    def __init__(self, options: RecordingOptions, leg_order: Iterable[str], *, stats: RenderStats, tap: Tap) -> None:
        self.pauses = Pauses()
        self.layout = StereoLayout(leg_order)
        """Which leg is on which channel, were the file stereo."""
        self.channels = options.file_channels
        self.sample_rate_hz = file_rate_hz(options.format, options.sample_rate or MIN_RATE_HZ)
        """Of the file; only a guess until ``open``."""
        self.is_open = False
        self.begin = 0
        """The first sample of the file (time 1)."""
        self.written = 0
        """The point of writing (time 1)."""
        self.ended: EndReason | None = None
        """Why the recording ended by itself, at the point of writing; nothing more is written then."""
        self._is_ahead = False
        """Whether what is written is only heard."""
        self._options = options
        self._stats = stats
        self._tap = tap
        self._encoder: Encoder = new_encoder(options.format, sample_rate_hz=self.sample_rate_hz, channels=self.channels)
        self._endpointer: Endpointer | None = None
        """None: no option may end or trim the recording."""
        self._beep: NDArray[np.int16] = np.empty(0, np.int16)
        self._beep_columns: tuple[int, ...] = ()
        self._columns: dict[TrackKey, int] = {}
        self._recorded = 0
        """The point of writing (time 2)."""
        self._encoded = 0
        """Samples that went to the encoder (time 3)."""
        self._was_heard = False
        self._said: list[tuple[int, int]] = []
        """(start, end) of what was said lately (time 2)."""
        self._away_us: list[tuple[int, int | None]] = []
        """When the server itself was away, (from, to) in time 1; None: it still misses those whom it has lost."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Output:
        """Return an output that writes to no file: what it would write is only heard, and the encoder stays here."""
        memo[id(self._encoder)] = WavEncoder(sample_rate_hz=self.sample_rate_hz, channels=self.channels)
        memo[id(self._tap)] = self._tap
        twin = Output.__new__(Output)
        memo[id(self)] = twin
        twin.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        twin._is_ahead = True
        return twin

    @property
    def listens(self) -> bool:
        """Whether the end or the beginning of the file depends on what is said."""
        return listens(self._options)

    @property
    def may_time_out(self) -> bool:
        """Whether silence may end the recording."""
        return self._options.initial_timeout_s > 0 or self._options.end_silence_timeout_s > 0

    def may_end_by(self, now_us: int) -> bool:
        """Return whether an option may have ended the recording by then."""
        if not self._options.max_length_s:
            return self.may_time_out
        # Time 2: a file that begins before the recording is longer by then, one whose pauses are skipped is shorter.
        recorded_us = us_of(self._recorded, self.sample_rate_hz) + now_us - self.written_us
        return self.may_time_out or self._options.max_length_s * 1_000_000 <= recorded_us

    def reach(self, upto: int) -> int:
        """Return how far the file can be written before it has its greatest length, if that is before this sample."""
        if not self._options.max_length_s:
            return upto
        room = round(self._options.max_length_s * self.sample_rate_hz) - self._recorded
        return min(upto, self.written + max(0, room))

    def preview(self, *, is_whole: bool) -> Output:
        """Return an output that goes on from here and writes to no file: what it would write is only heard.

        ``is_whole``: it goes on where this one has ended, although that was heard already.
        """
        seen = Output.__new__(Output)
        seen.__dict__.update(self.__dict__)
        seen.pauses, seen.layout, seen._columns = self.pauses.copy(), self.layout.copy(), {**self._columns}
        seen._stats, seen._endpointer, seen._is_ahead = RenderStats(), None, True
        # Nothing is trimmed from a file that is previewed, so recorded time is file time.
        seen._encoded = self._recorded
        if not is_whole and not seen.pauses.lie_ahead:
            heard = max(0, self._tap.samples - self._recorded)
            seen.written, seen._recorded, seen._encoded = (
                n + heard for n in (seen.written, seen._recorded, seen._encoded)
            )
        return seen

    def let_hear(self, upto: int, said: Callable[[int, int], list[tuple[TrackKey, Pieces]]]) -> None:
        """Let a part of the call be heard up to a sample; ``said`` returns what is said between two."""
        for end, pause in self.parts(self.reach(upto)):
            self.write(end, said(self.written, end), pause=pause)

    @property
    def is_plain(self) -> bool:
        """Whether nobody looks at what is written, and nothing but a stop ends it."""
        if self._endpointer is not None or self._options.max_length_s or self._tap.is_on or self._is_ahead:
            return False
        return self.is_open and not self.pauses.lie_ahead

    @property
    def file_format(self) -> FileFormat:
        """Of the file."""
        return self._options.format

    @property
    def written_us(self) -> int:
        """The point of writing in microseconds from the start of the recording."""
        return us_of(self.written, self.sample_rate_hz)

    @property
    def samples(self) -> int:
        """Samples of each channel in the file, were the recording to end now."""
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
        """The silence that was cut away; final once the output has finished."""
        if self._endpointer is None or self._options.trim is not Trim.SILENCE:
            return Trimmed()
        start, end = self._endpointer.trimmed_start, self._endpointer.trimmed_end
        return Trimmed(*(us_of(samples, self.sample_rate_hz) // 1000 for samples in (start, end)))

    @property
    def kept_bytes(self) -> int | None:
        """Audio bytes of the file were the recording to end now, also ahead of what is written; None: all of them."""
        kept = self._endpointer.kept if self._endpointer is not None else None
        return None if kept is None else self._encoder.audio_bytes(kept)

    def channel(self, track: TrackKey) -> Channel | None:
        """Return where a track is in the file; None: the file is mono."""
        return self.layout.channel(*track) if self.channels > 1 else None

    def column(self, track: TrackKey) -> int:
        """Return the column of the file on which a track is mixed; it never changes."""
        column = self._columns.get(track)
        if column is None:
            column = self._columns[track] = 1 if self.channel(track) is Channel.RIGHT else 0
        return column

    def open(self, wanted_hz: int, *, begin_us: int = 0, returned: Iterable[TrackKey] = ()) -> None:
        """Decide the file's rate: the nearest that its format has. It begins at ``begin_us``, at 0 or before.

        ``returned``: tracks that bring the beep back because their streams are sent it.
        """
        options, channels = self._options, self.channels
        self.sample_rate_hz = rate_hz = file_rate_hz(options.format, wanted_hz)
        self.is_open = True
        self.begin = self.written = samples_at(begin_us, rate_hz)
        if not self._is_ahead:
            self._encoder = new_encoder(options.format, sample_rate_hz=rate_hz, channels=channels)
        # LAME holds samples back, so who listens needs some that are not in the file yet.
        self._tap.open(sample_rate_hz=rate_hz, channels=channels, is_held_back=options.format is FileFormat.MP3)
        beep_is_in = {self.column(track) for track in returned}
        if needs_endpointer(options):
            tone_hz = BEEP_HZ if options.beep else None
            self._endpointer = Endpointer(options, rate_hz=rate_hz, channels=channels, tone_hz=tone_hz)
        if options.beep:
            self._beep = beep(rate_hz)
            self._beep_columns = tuple(column for column in range(channels) if column not in beep_is_in)

    def miss(self, from_us: int) -> None:
        """Note that the server was away from then on: until ``find`` nobody's silence counts for a timeout."""
        if not self._away_us or self._away_us[-1][1] is not None:
            self._away_us.append((from_us, None))

    def find(self, at_us: int) -> None:
        """Note that somebody is there again."""
        if self._away_us and self._away_us[-1][1] is None:
            self._away_us[-1] = (self._away_us[-1][0], at_us)

    def assign_columns(self, tracks: Iterable[TrackKey]) -> None:
        """Give each of these tracks a column, if it has none."""
        for track in tracks:
            self.column(track)

    def parts(self, upto: int) -> Iterator[tuple[int, PauseBehavior | None]]:
        """Yield the parts of the call up to a sample that are to be written: (end, what its pause leaves in the file).

        Each is to be written before the next one is asked for.
        """
        for end, pause in self.pauses.split(self.written, upto, self.sample_rate_hz):
            while end - self.written > BLOCK_SAMPLES:
                yield self.written + BLOCK_SAMPLES, pause
            yield end, pause

    def write(self, end: int, tracks: Iterable[tuple[TrackKey, Pieces]], *, pause: PauseBehavior | None) -> bytes:
        """Write a part of the call up to a sample, and return its file bytes; the recording may end before.

        ``pause``: what the pause that it lies in leaves in the file; None: it lies in none.
        """
        length = end - self.written
        voices = [Voice(self.column(track), pieces) for track, pieces in tracks]
        self.written = end
        if pause is not None:
            self._stats.paused_us += us_of(_samples_of(voices), self.sample_rate_hz)
            if pause is PauseBehavior.SKIP:
                return b""
            voices = []
        block, clipped = mix(voices, samples=length, channels=self.channels)
        self._stats.clipped_samples += clipped
        self._was_heard = self._was_heard or any(voice.pieces for voice in voices)
        return self._record(block, voices)

    def finish(self) -> bytes:
        """Return the bytes that end the file."""
        rest = self._endpointer.finish() if self._endpointer is not None else []
        return b"".join([*(self._encode(start, block) for start, block in rest), self._encoder.finish()])

    def header(self) -> bytes:
        """Return the header that is right for what was written so far."""
        return self._encoder.header(self.samples)

    def _record(self, block: NDArray[np.int16], voices: Sequence[Voice]) -> bytes:
        start, endpointer = self._recorded, self._endpointer
        self._recorded += len(block)
        if endpointer is None:
            return self._encode(start, block)
        # What is not judged yet is held back for up to 100 ms, so the end may lie before this block.
        reach = start - self.sample_rate_hz // 10
        self._said = [said for said in self._said if said[1] > reach]
        self._said += [(start + row, start + row + len(s)) for voice in voices for row, s in voice.pieces]
        begun = self.written - len(block)
        for from_us, to_us in self._away_us:
            away = max(begun, samples_at(from_us, self.sample_rate_hz))
            back = self.written if to_us is None else min(self.written, samples_at(to_us, self.sample_rate_hz))
            if away < back:
                endpointer.excuse(start + away - begun, start + back - begun)
        ready = endpointer.take(block)
        if not self._is_ahead and (kept := endpointer.kept) is not None:
            self._tap.waveform.keep(kept)
        if endpointer.ended is not None:
            self.ended, end = endpointer.ended
            # The end is given in recorded time (2); the point of writing goes back as far in call time (1).
            self.written -= self._recorded - end
            beyond = sum(max(0, over - max(begin, end)) for begin, over in self._said)
            self._stats.after_limit_us += us_of(beyond, self.sample_rate_hz)
        return b"".join(self._encode(at, samples) for at, samples in ready)

    def _encode(self, start: int, block: NDArray[np.int16]) -> bytes:
        """Encode a block that starts at a sample of the recorded time."""
        at, self._encoded = self._encoded, self._encoded + len(block)
        if start < len(self._beep):  # time 2: a beginning that is trimmed takes its part of the beep along
            block, clipped = add(block, self._beep[start : start + len(block)], self._beep_columns)
            self._stats.clipped_samples += clipped
        self._tap.pass_on(at, block, is_ahead=self._is_ahead)
        return b"" if self._is_ahead else self._encoder.encode(block)


def _samples_of(voices: Sequence[Voice]) -> int:
    return sum(len(samples) for voice in voices for _, samples in voice.pieces)
