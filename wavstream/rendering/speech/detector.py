"""Who speaks when: one verdict for each frame of 20 ms.

1. A frame of a channel is *voiced* when webrtcvad finds speech in it and its level is above the gate. The gate is what
   finds the end of a word: webrtcvad alone goes on for up to 160 ms. webrtcvad is asked about every frame, also about
   one that the gate refuses, because it learns the background from them.
2. A frame of which nine tenths are one tone that is known not to be speech, the beep that a stream brings back, is not
   voiced: webrtcvad takes that tone for speech (at -12 and -18 dBFS, at 8 and 16 kHz).
3. Voiced frames are speech from five in a row (100 ms) on, counted from the first of them. Fewer are a click, or noise
   that sets in: webrtcvad takes the first frame of either for speech and, in modes 2 and 3, goes on for three more. A
   word of 150 ms is longer.
4. Behind speech, across a break of less than 160 ms, any voiced frame is speech: the last sound of a word, such as the
   t of "it", is a short one behind a break.
5. A frame is speech when it is speech on any channel.

So a verdict is settled at most 80 ms after the end of its frame.
"""

from __future__ import annotations

import copy
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import webrtcvad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_FRAMES_PER_S = 50
_MIN_RUN = 5
_REACH = 8
_TONE_SHARE = 0.9
_VAD_RATES_HZ = (8_000, 16_000, 32_000, 48_000)
_STEPS_OF_MODE = (30, 70, 90)
_FULL_SCALE = 32_768


def frame_start(frame: int, rate_hz: int) -> int:
    """Return the first sample of a frame, which ends where the next starts; their lengths differ at some rates."""
    return frame * rate_hz // _FRAMES_PER_S


def gate_dbfs(sensitivity: float) -> float:
    """Return the level, RMS against full scale, that a frame must exceed to be speech: -28 at 0, -68 at 100."""
    return -28 - 0.4 * sensitivity


def vad_mode(sensitivity: float) -> int:
    """Return the mode of webrtcvad, which finds the more speech the lower it is: 3 at 0, 0 from 90 on."""
    return sum(sensitivity < step for step in _STEPS_OF_MODE)


class Detector:
    """Listens to one recording, block by block. How the blocks are cut makes no difference to any verdict."""

    def __init__(self, rate_hz: int, channels: int, sensitivity: float, *, tone_hz: int | None = None) -> None:
        """Listen for speech; a tone of ``tone_hz`` is none."""
        self._rate_hz = rate_hz
        self._channels = [_ChannelDetector(rate_hz, sensitivity, tone_hz) for _ in range(channels)]
        self._heard = 0
        """Frames that are complete."""
        self._tail = np.empty((0, channels), np.int16)

    def hear(self, block: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Return whether there is speech, for each frame that this block, (n, channels), settles, in order."""
        samples = np.concatenate((self._tail, block))
        origin = frame_start(self._heard, self._rate_hz)
        first, self._heard = self._heard, _complete_frames(origin + len(samples), self._rate_hz)
        edges = [frame_start(frame, self._rate_hz) - origin for frame in range(first, self._heard + 1)]
        self._tail = samples[edges[-1] :]
        if self._heard > first:
            for detector, channel in zip(self._channels, samples.T, strict=True):
                detector.hear(np.ascontiguousarray(channel[: edges[-1]]), edges)
        settled = min(len(detector.verdicts) for detector in self._channels)
        verdicts = [detector.verdicts[:settled] for detector in self._channels]
        # rule 5; a channel may be further than another, so only what all have settled is told.
        is_speech = [any(frame) for frame in zip(*verdicts, strict=True)]
        for detector in self._channels:
            del detector.verdicts[:settled]
        return np.array(is_speech, np.bool_)


class _ChannelDetector:
    """Listens to one channel."""

    def __init__(self, rate_hz: int, sensitivity: float, tone_hz: int | None) -> None:
        self._mode = vad_mode(sensitivity)
        self._vad = webrtcvad.Vad(self._mode)
        self._lately: deque[bytes] = deque(maxlen=_FRAMES_PER_S)
        """What webrtcvad has heard lately."""
        self._vad_rate_hz = next(rate for rate in _VAD_RATES_HZ if rate >= rate_hz)
        self._is_vad_rate = rate_hz == self._vad_rate_hz
        self._gate = (_FULL_SCALE * 10 ** (gate_dbfs(sensitivity) / 20)) ** 2
        longest = np.arange(-(-rate_hz // _FRAMES_PER_S))
        self._tone = None if tone_hz is None else np.exp(-2j * np.pi * tone_hz / rate_hz * longest)
        self._since_speech = _REACH
        """Frames that were not voiced since then."""
        self._run = 0
        """Voiced frames that are not settled yet."""
        self.verdicts: list[bool] = []
        """Of the frames that are settled, oldest first; whoever takes them removes them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _ChannelDetector:
        """Return a detector that has heard the same; webrtcvad, which cannot be copied, hears the last second again."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        twin._vad = webrtcvad.Vad(self._mode)
        twin._lately, twin.verdicts = self._lately.copy(), self.verdicts.copy()
        for frame in twin._lately:
            twin._vad.is_speech(frame, self._vad_rate_hz)
        return twin

    def hear(self, samples: NDArray[np.int16], edges: list[int]) -> None:
        """Settle what whole frames settle; they start at all edges but the last."""
        squares = np.square(samples, dtype=np.int32)
        power = np.add.reduceat(squares, edges[:-1], dtype=np.int64) / np.diff(edges)
        is_loud = (power > self._gate).tolist()
        for is_speech, loud, (start, end) in zip(self._ask(samples, edges), is_loud, pairwise(edges), strict=True):
            self._settle(is_voiced=is_speech and loud and not self._is_tone(samples[start:end]))  # rules 1 and 2

    def _is_tone(self, frame: NDArray[np.int16]) -> bool:
        if self._tone is None:
            return False
        # The power at one frequency, as a share of the power of all: what a transform gives at that line.
        sound = frame.astype(np.float64)
        share = 2 * np.abs(sound @ self._tone[: len(sound)]) ** 2 / (len(sound) * (sound @ sound))
        return bool(share > _TONE_SHARE)

    def _ask(self, samples: NDArray[np.int16], edges: list[int]) -> list[bool]:
        if self._is_vad_rate:
            data = samples.tobytes()
            frames: Iterator[bytes] = (data[2 * start : 2 * end] for start, end in pairwise(edges))
        else:
            frames = (self._at_vad_rate(samples[start:end]).tobytes() for start, end in pairwise(edges))
        heard = [*frames]
        self._lately.extend(heard)
        return [self._vad.is_speech(frame, self._vad_rate_hz) for frame in heard]

    def _at_vad_rate(self, frame: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the frame at the next higher rate that webrtcvad has.

        By straight lines: no delay, and what they add lies above the band that counts.
        """
        places = np.linspace(0, len(frame) - 1, self._vad_rate_hz // _FRAMES_PER_S)
        return np.interp(places, np.arange(len(frame)), frame).astype(np.int16)

    def _settle(self, *, is_voiced: bool) -> None:
        if not is_voiced:
            self.verdicts += [False] * (self._run + 1)
            self._since_speech += 1
            self._run = 0
            return
        self._run += 1
        if self._run == _MIN_RUN or self._since_speech < _REACH:  # rules 3 and 4
            self.verdicts += [True] * self._run
            self._since_speech = self._run = 0


def _complete_frames(samples: int, rate_hz: int) -> int:
    return ((samples + 1) * _FRAMES_PER_S - 1) // rate_hz
