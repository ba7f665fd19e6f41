"""Ears for tests and bench: tone bursts (beeps) of a known pitch and cadence, and the places where a file has them.

``find_beeps`` correlates with the pitch and with nothing else, so each leg of a call can have its own and be found on
any channel, also under another leg's. An onset is found to about a millisecond.

``loudest_shift`` finds any other sound, to the sample, also where an encoder has altered it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WINDOW_S = 0.01
_QUIETEST = 100
"""Amplitude below which a file has no beep at all."""


def beeps(
    length_s: float,
    *,
    rate_hz: int,
    frequency_hz: float,
    every_s: float = 1.0,
    beep_s: float = 0.1,
    offset_s: float = 0.0,
    amplitude: int = 8000,
) -> NDArray[np.int16]:
    """Return a beep at ``offset_s`` and then one each ``every_s``, silence between, (samples,)."""
    time = np.arange(round(length_s * rate_hz)) / rate_hz
    since = np.mod(time - offset_s, every_s)
    on = (since < beep_s - 0.5 / rate_hz) & (time >= offset_s)
    tone: NDArray[np.int16] = np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * since) * on).astype(np.int16)
    return tone


def find_beeps(samples: NDArray[np.int16], rate_hz: int, frequency_hz: float) -> list[float]:
    """Return the seconds at which beeps of a pitch start, in samples (n,); a beep lasts 20 ms at least."""
    window = round(_WINDOW_S * rate_hz)
    if len(samples) < 2 * window:
        return []
    turning = np.exp(-2j * np.pi * frequency_hz * np.arange(len(samples)) / rate_hz) * samples
    running = np.concatenate((np.zeros(1, complex), np.cumsum(turning)))
    # Level of the pitch in the window that starts at each sample; it has half its full value half a window early.
    level = 2 * np.abs(running[window:] - running[:-window]) / window
    loudest = level.max()
    if loudest < _QUIETEST:
        return []
    on = level > loudest / 2
    edges = np.diff(on.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [
        (start + window // 2) / rate_hz if start else 0.0
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if end - start >= window
    ]


def loudest_shift(heard: NDArray[np.int16], said: NDArray[np.int16]) -> int:
    """Where in a file a sound is, by cross-correlation, in samples; both (n,)."""
    size = 1 << (len(heard) + len(said)).bit_length()
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    return int(np.argmax(match[: len(heard)]))
