"""What a leg hears, where another leg says it: the same sound is in the file once.

The outbound track of a leg is what it hears: what the other legs say, and what the media server plays. Where the legs
that are heard have streams of their own, most of it is in the file already. That such a stream is open says nothing: it
may send nothing, or silence while music is played. So:

1. A block of 20 ms of an outbound track is *redundant* where an inbound track of another leg has sound: at that moment,
   or up to 0.5 s before. What is heard comes later than it was said, and its last syllable later still.
2. Sound is what is at least a quarter as loud. A microphone that is open while music is played covers nothing; two legs
   whose gains differ by 12 dB are still one voice.
3. So is the recording's beep, which the file has at its start: a leg that joins later is played it too, and may bring
   it back. A block is taken for it of which half the power is that tone, in the first 5 s of such a leg.
4. Everything else that an outbound track brings is mixed.

Blocks count in samples of the file from the start of the recording, so they do not depend on how far it is written.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import Track
from wavstream.rendering.timeline.clock import us_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    TrackKey = tuple[str, Track]
    Pieces = Sequence[tuple[int, NDArray[np.int16]]]

_BLOCKS_PER_S = 50
_LASTS_BLOCKS = 25
_AS_LOUD_ONE_IN = 4
_BEEPS_US = 5_000_000


class Cover:
    """What was said lately on the inbound tracks of each leg."""

    def __init__(self, file_hz: int, *, beep_hz: int | None = None, beeps_us: Mapping[str, int] | None = None) -> None:
        """Begin with nothing said. ``beeps_us``: when each leg joined that is played a beep of ``beep_hz`` then."""
        self._file_hz = file_hz
        self._beep_hz = beep_hz
        self._beeps_us = beeps_us or {}
        self._block = file_hz // _BLOCKS_PER_S
        self._recent: dict[str, NDArray[np.int32]] = {}
        """The peaks of the last blocks of each leg, up to the one in which the last call has ended."""

    def copy(self) -> Cover:
        """Return one that has heard the same, to go on independently."""
        same = Cover(self._file_hz, beep_hz=self._beep_hz, beeps_us=self._beeps_us)
        same._recent = {**self._recent}  # its arrays are never written to again
        return same

    def uncovered(self, written: int, upto: int, tracks: Sequence[tuple[TrackKey, Pieces]]) -> list[tuple[Pieces, int]]:
        """Return for each track what is to be mixed of it, and how many samples are redundant.

        Pieces are (samples after ``written``, samples). Each call begins where the last one has ended.
        """
        said = self._said(written, upto, tracks)
        found = []
        for (leg, track), pieces in tracks:
            others = [peaks for other, peaks in said.items() if other != leg]
            beeps = self._may_beep(leg, written)
            if track is Track.INBOUND or not pieces or not (others or beeps):
                found.append((pieces, 0))
                continue
            heard = self._peaks(written, upto, pieces)
            is_redundant = np.zeros(len(heard), bool)
            if others:
                loudest: NDArray[np.int32] = np.maximum.reduce(others)
                is_redundant |= (loudest > 0) & (heard <= loudest * _AS_LOUD_ONE_IN)  # rule 2
            if beeps:
                is_redundant |= self._beep(written, len(heard), pieces)  # rule 3
            found.append(self._without(pieces, is_redundant, written))
        return found

    def _said(self, written: int, upto: int, tracks: Sequence[tuple[TrackKey, Pieces]]) -> dict[str, NDArray[np.int32]]:
        """Return for each leg the loudest of each block and the 0.5 s before it; 0: it said nothing (rule 1)."""
        pieces_of: dict[str, list[tuple[int, NDArray[np.int16]]]] = defaultdict(list)
        for (leg, track), pieces in tracks:
            if track is Track.INBOUND:
                pieces_of[leg] += pieces
        said = {}
        for leg in {**self._recent, **pieces_of}:
            peaks = self._peaks(written, upto, pieces_of[leg])
            before = self._recent.get(leg)
            if before is None:
                before = np.zeros(_LASTS_BLOCKS + 1, np.int32)
            # The block in which the last call has ended may go on.
            goes_on = int(written % self._block != 0)
            if goes_on:
                peaks[0] = max(peaks[0], before[-1])
            known = np.concatenate((before[: len(before) - goes_on], peaks))
            # The loudest of 26 blocks, by halves: 16 times faster than a window that slides.
            loudest = np.concatenate((np.zeros(_LASTS_BLOCKS, np.int32), known))
            for step in (1, 2, 4, 8, _LASTS_BLOCKS - 15):
                loudest = np.maximum(loudest[step:], loudest[:-step])
            said[leg] = loudest[-len(peaks) :]
            self._recent[leg] = known[-_LASTS_BLOCKS - 1 :].copy()
            if not self._recent[leg].any():
                del self._recent[leg]
        return said

    def _peaks(self, written: int, upto: int, pieces: Pieces) -> NDArray[np.int32]:
        """Return the peak of each block between two moments of writing; the first and the last may be cut."""
        first, last = written // self._block, -(-upto // self._block)
        peaks = np.zeros(last - first, np.int32)
        for row, samples in pieces:
            start, end = written + row, written + row + len(samples)
            low = start // self._block - first
            borders = np.arange(start // self._block + 1, -(-end // self._block)) * self._block - start
            # In 16 bits abs leaves -32768 as it is; without a sign the same bits are 32768.
            loud = np.maximum.reduceat(np.abs(samples).view(np.uint16), np.concatenate(([0], borders)))
            of_piece = peaks[low : low + len(loud)]
            np.maximum(of_piece, loud, out=of_piece)
        return peaks

    def _may_beep(self, leg: str, written: int) -> bool:
        """Return whether the beep may come back to this leg from here on."""
        joined_us = self._beeps_us.get(leg)
        return joined_us is not None and us_of(written, self._file_hz) < joined_us + _BEEPS_US

    def _beep(self, written: int, blocks: int, pieces: Pieces) -> NDArray[np.bool_]:
        """Return which blocks are the beep (rule 3)."""
        assert self._beep_hz is not None
        sound = np.zeros(blocks * self._block)
        for row, samples in pieces:
            start = written % self._block + row
            sound[start : start + len(samples)] = samples
        # By quarters, of whole periods: a block may begin or end in the middle of the beep.
        quarter = self._block // 4
        parts = sound.reshape(blocks, self._block)[:, : 4 * quarter].reshape(blocks, 4, quarter)
        turning = np.exp(-2j * np.pi * self._beep_hz / self._file_hz * np.arange(quarter))
        of_beep = (np.abs(parts @ turning) ** 2).sum(axis=1) * 2 / quarter
        whole = (parts**2).sum(axis=(1, 2))
        is_beep: NDArray[np.bool_] = (whole > 0) & (2 * of_beep >= whole)
        return is_beep

    def _without(self, pieces: Pieces, is_redundant: NDArray[np.bool_], written: int) -> tuple[Pieces, int]:
        """Return the pieces without the blocks that are redundant, and how many samples that leaves out."""
        if not is_redundant.any():
            return pieces, 0
        first = written // self._block
        kept, dropped = [], 0
        for row, samples in pieces:
            start = written + row
            low, high = start // self._block - first, -(-(start + len(samples)) // self._block) - first
            fate = is_redundant[low:high]
            turns = (np.flatnonzero(fate[1:] != fate[:-1]) + 1 + low + first) * self._block - start
            is_dropped = bool(fate[0])
            for begin, end in zip([0, *turns.tolist()], [*turns.tolist(), len(samples)], strict=True):
                if is_dropped:
                    dropped += end - begin
                else:
                    kept.append((row + begin, samples[begin:end]))
                is_dropped = not is_dropped
        return kept, dropped
