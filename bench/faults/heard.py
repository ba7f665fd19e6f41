"""Listens to a finished file: which frames of a leg are in it, and where.

1. All legs say known noise (``wavstream.simulator.signal``), each from a place of its own in one ring, and those of a
   call each with a turn of its own. So a frame is known by any four samples of it, and every frame that was said is
   looked for by itself, whatever was lost beside it.
2. A frame is there when all of its samples are, unchanged; or, where a track was bent to follow a clock, when the best
   match near its neighbours is plainly it. Of a track that is known to be bent it may be further away: it has moved.
3. A frame is at its place when it is as far from the others as it was said from them: against the middle of all the
   frames of the call, so that it does not matter when the file begins.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.faults.sender import Spoken
from wavstream.simulator.signal import FRAME_SAMPLES, RATE_HZ, RING_FRAMES, Ring

MOVED_S = 0.35
"""How far from its place a frame may be: a machine that is busy reads late by that much."""
_WORD = 4
_NEAR, _FAR = 1_600, 16_000
"""Samples around its neighbours in which a bent frame is looked for."""
_SEEDS_APART = 50
"""Frames, of which one is looked for in the whole file where a leg is bent from its beginning."""
_ALIKE = 0.5


@dataclass(slots=True)
class Heard:
    """What a file has of a leg."""

    at: NDArray[np.int64]
    """The sample at which each frame of the leg begins; -1: it is not there."""
    shift_s: NDArray[np.float64]
    """How far each is from its place; NaN where it is not there."""

    @property
    def there(self) -> NDArray[np.bool_]:
        there: NDArray[np.bool_] = self.at >= 0
        return there


def listen(
    file: bytes, legs: Mapping[str, Spoken], ring: Ring, sought: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Heard]:
    """Return what a WAV file of 8 kHz has of each leg, each in the channel that has most of it.

    ``sought``: of each leg, the frames that are to be looked for by all means (rule 2), which takes milliseconds each.
    """
    samples, rate_hz = soundfile.read(io.BytesIO(file), dtype="int16", always_2d=True)
    if rate_hz != RATE_HZ:
        raise ValueError(f"the file has {rate_hz} Hz")
    words = [_words(np.ascontiguousarray(samples[:, channel])) for channel in range(samples.shape[1])]
    found: dict[str, NDArray[np.int64]] = {}
    free = set(range(samples.shape[1]))
    for name, spoken in legs.items():
        frames = said_by(spoken, ring)
        at = {channel: _exact(samples[:, channel], words[channel], frames) for channel in free}
        if not at:
            found[name] = np.full(len(frames), -1, np.int64)
            continue
        if not any((each >= 0).any() for each in at.values()):
            at = {channel: _first_bent(samples[:, channel], frames, at[channel]) for channel in at}
        best = max(sorted(at), key=lambda channel: int((at[channel] >= 0).sum()))
        if (at[best] >= 0).any():
            free.discard(best)
        found[name] = _bent(samples[:, best], frames, at[best], sought[name])
    return _placed(found, legs)


def said_by(spoken: Spoken, ring: Ring) -> Ring:
    """Return every frame that a leg said, (frames, samples)."""
    frames = ring[(spoken.place + np.arange(len(spoken.sent_s))) % RING_FRAMES]
    return np.roll(frames, spoken.voice, axis=1)


def _placed(found: Mapping[str, NDArray[np.int64]], legs: Mapping[str, Spoken]) -> dict[str, Heard]:
    starts = {name: found[name] / RATE_HZ - legs[name].said_s for name in found}
    known: Sequence[NDArray[np.float64]] = [starts[name][found[name] >= 0] for name in found]
    together = np.concatenate(known) if known else np.zeros(0)
    middle_s = float(np.median(together)) if len(together) else 0.0
    return {name: Heard(found[name], np.where(found[name] >= 0, starts[name] - middle_s, np.nan)) for name in found}


def _words(channel: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the four samples from each place on as one number, sorted, and their places."""
    count = max(len(channel) - _WORD + 1, 0)
    words = np.zeros(count, np.int64)
    for first in range(min(_WORD, count)):
        whole = (len(channel) - first) // _WORD * _WORD
        part = np.frombuffer(channel[first : first + whole].tobytes(), "<i8")
        words[first::_WORD] = part[: len(words[first::_WORD])]
    order = np.argsort(words, kind="stable")
    return words[order], order


def _exact(
    channel: NDArray[np.int16], words: tuple[NDArray[np.int64], NDArray[np.int64]], frames: Ring
) -> NDArray[np.int64]:
    ordered, places = words
    at = np.full(len(frames), -1, np.int64)
    if not len(ordered) or not len(frames):
        return at
    asked = np.frombuffer(np.ascontiguousarray(frames[:, :_WORD]).tobytes(), "<i8")
    index = np.searchsorted(ordered, asked)
    hit = (index < len(ordered)) & (ordered[np.minimum(index, len(ordered) - 1)] == asked)
    for number in np.flatnonzero(hit):
        place = int(places[index[number]])
        if np.array_equal(channel[place : place + FRAME_SAMPLES], frames[number]):
            at[number] = place
    return at


def _first_bent(channel: NDArray[np.int16], frames: Ring, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find one frame, wherever it is, of a leg that is bent from its beginning: its neighbours are found from there."""
    found = at.copy()
    for number in range(0, len(frames), _SEEDS_APART):
        place = _most_alike(channel.astype(np.float64), frames[number].astype(np.float64))
        if place is not None:
            found[number] = place
            break
    return found


def _most_alike(window: NDArray[np.float64], frame: NDArray[np.float64]) -> int | None:
    """Return where in the window the frame is, nearly unchanged; None: nowhere."""
    if len(window) < FRAME_SAMPLES or not window.any():
        return None
    size = 1 << int(np.ceil(np.log2(len(window) + FRAME_SAMPLES)))
    product = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(frame, size)), size)
    product = product[: len(window) - FRAME_SAMPLES + 1]
    power = np.concatenate(([0.0], np.cumsum(window**2)))
    power = power[FRAME_SAMPLES:] - power[:-FRAME_SAMPLES]
    alike = product / np.sqrt(np.maximum(power * (frame**2).sum(), 1.0))
    best = int(np.argmax(alike))
    return best if alike[best] > _ALIKE else None


def _bent(
    channel: NDArray[np.int16], frames: Ring, at: NDArray[np.int64], sought: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Find what is there but not unchanged, near its neighbours (rule 2)."""
    known = np.flatnonzero(at >= 0)
    if not len(known):
        return at
    found, is_bent = at.copy(), False
    for number in np.flatnonzero((at < 0) & sought):
        neighbour = int(known[np.argmin(np.abs(known - number))])
        if found[number - 1] >= 0 and number:
            neighbour = int(number) - 1
        expected = int(found[neighbour]) + (int(number) - neighbour) * FRAME_SAMPLES
        for reach in (_NEAR, _FAR) if is_bent else (_NEAR,):
            first = max(expected - reach, 0)
            window = channel[first : expected + reach + FRAME_SAMPLES].astype(np.float64)
            place = _most_alike(window, frames[number].astype(np.float64))
            if place is not None:
                found[number], is_bent = first + place, True
                break
    return found
