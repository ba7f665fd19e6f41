"""How loud the tracks of live streams are, while somebody looks: of many streams at once, since each alone costs more.

Nothing here is done once a frame, and nothing at all while nobody looks. At each look the newest message of each track
that has a new one is decoded, all messages of one form in one go.

A track is heard to say a *word* when its newest message is louder than ``WORD_DBFS``, and is silent while all that were
looked at are quieter than ``SILENCE_DBFS``. That tells speech from noise as well as a meter does, which is enough here:
what decides anything listens to all of it (``rendering.speech``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from wavstream.rendering.codecs.decode import decode

if TYPE_CHECKING:
    from wavstream.dialects.events import Frame
    from wavstream.model.audio import MediaFormat
    from wavstream.sessions.stream import Stream

WORD_DBFS = -45
SILENCE_DBFS = -70
FLOOR_DBFS = -100
STALLED_US = 1_000_000
RATE_US = 2_000_000
"""Over so long it is told how much comes."""


class Ear:
    """One track of one stream."""

    __slots__ = (
        "_frames", "_looked_us", "_position", "_rate", "_seen", "_written_of", "index", "last_word_us", "meter", "pace",
        "peak", "per_s", "quiet_since_us", "rms", "row", "stream",
    )  # fmt: skip

    def __init__(self, stream: Stream, index: int, meter: int, now_us: int) -> None:
        """Listen to a track, by its index in the stream; ``meter`` is its number for whoever looks."""
        self.stream = stream
        self.index = index
        self.meter = meter
        self.rms: int | None = None
        self.peak: int | None = None
        self.pace: float | None = None
        """Seconds of audio in a second, of late."""
        self.per_s: int | None = None
        """Messages in a second, of late."""
        self.last_word_us: int | None = None
        self.quiet_since_us: int | None = None
        """Since when it was heard to be silent; None: it is not, or nothing comes."""
        self.row = ""
        self._rate = "null,null,0.0"
        self._written_of: tuple[object, ...] = ()
        self._seen: Frame | None = None
        self._looked_us = now_us
        self._position, self._frames = stream.position, stream.frames

    def newest(self, now_us: int) -> Frame | None:
        """Return the newest frame, if it is one that was not looked at; note how much comes."""
        stream = self.stream
        passed_us = now_us - self._looked_us
        if passed_us >= RATE_US:
            said_s = (stream.position - self._position) / stream.facts.format.rate_hz
            self.pace = round(said_s * 1e6 / passed_us, 2)
            self.per_s = round((stream.frames - self._frames) * 1e6 / passed_us)
            self._rate = f"{self.pace},{self.per_s},{stream.position / stream.facts.format.rate_hz:.1f}"
            self._looked_us, self._position, self._frames = now_us, stream.position, stream.frames
        frame = stream.latest[self.index if stream.facts.format.channels == 1 else 0]
        if not stream.frames or now_us - stream.last_arrival_us > STALLED_US:
            self.rms = self.peak = self.quiet_since_us = None
            return None
        if frame is None or frame is self._seen or not frame.samples:
            return None
        self._seen = frame
        return frame

    def heard(self, rms: int, peak: int, now_us: int) -> None:
        """Take in how loud the newest message is."""
        self.rms, self.peak = rms, peak
        if rms > WORD_DBFS:
            self.last_word_us = self.stream.last_arrival_us
        if rms > SILENCE_DBFS:
            self.quiet_since_us = None
        elif self.quiet_since_us is None:
            self.quiet_since_us = now_us

    def write(self) -> bool:
        """Write its row anew; return whether that has changed."""
        word = "null" if self.last_word_us is None else self.last_word_us // 1_000_000
        written_of = (self.rms, self.peak, word, self._rate)
        if written_of == self._written_of:
            return False
        self._written_of = written_of
        rms = "null" if self.rms is None else self.rms
        peak = "null" if self.peak is None else self.peak
        self.row = f"[{self.meter},{rms},{peak},{self._rate},{word}]"
        return True


def listen(ears: Iterable[Ear], now_us: int) -> None:
    """Look at the newest of all these tracks."""
    groups: dict[tuple[MediaFormat, int], tuple[list[Ear], list[bytes]]] = {}
    for ear in ears:
        frame = ear.newest(now_us)
        if frame is None:
            continue
        payload = frame.payload
        if frame.messages > 1:
            payload = payload[-(len(payload) // frame.messages) :]
        found = groups.get(key := (ear.stream.facts.format, len(payload)))
        if found is None:
            found = groups[key] = ([], [])
        found[0].append(ear)
        found[1].append(payload)
    for (form, _), (group, payloads) in groups.items():
        octets = np.frombuffer(b"".join(payloads), np.uint8)
        samples = decode(form.codec, form.channels, octets).reshape(len(group), -1, form.channels)
        floats = samples.astype(np.float32)
        roots = np.sqrt(np.square(floats).mean(axis=1))
        rms, peaks = _dbfs(roots), _dbfs(np.abs(floats).max(axis=1))
        for ear, of_rms, of_peaks in zip(group, rms, peaks, strict=True):
            column = ear.index if form.channels > 1 else 0
            ear.heard(of_rms[column], of_peaks[column], now_us)


def _dbfs(magnitudes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[list[int]]:
    floor = 32_768 * 10 ** (FLOOR_DBFS / 20)
    found: list[list[int]] = np.rint(20 * np.log10(np.maximum(magnitudes, floor) / 32_768)).astype(int).tolist()
    return found
