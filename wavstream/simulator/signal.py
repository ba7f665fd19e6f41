"""The signal of a load: each leg sends known noise, so that every sample of its recording can be checked.

1. All legs read one ring of pseudo-random samples, each from a place of its own, as far from the others as the ring
   allows (21 minutes divided by the legs). So no two legs send the same at any one time, and a loss, a swap between
   legs, a repeat or a shift shows at the first sample that is not the expected one. The ring takes the same memory for
   any number of legs, and its frames are made before the first is sent.
2. No sample of the signal is 0: a 0 in a recording is silence that the recorder put there.
3. A check walks through channel and signal side by side. Where they differ it looks for the next run of the channel in
   the signal: further on, and the samples between were lost; further back, and the run is a repeat; nowhere, and it is
   foreign. Silence is skipped and counted. A run of 16 samples of noise occurs once, for all practical purposes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode
from wavstream.rendering.codecs.encode import encode

RATE_HZ = 8_000
PTIME_S = 0.02
FRAME_SAMPLES = 160
RING_FRAMES = 65_536
_SEED = 20
_PEAK = 2_000
"""As loud as speech (-29 dBFS). Noise of full scale may be samples in the wrong byte order, which is looked into."""
_RUN = 16
_FOREIGN_RUNS_UNTIL_HOPELESS = 20
"""A channel with so many foreign runs is another leg's, or noise: its rest is counted as foreign without a search."""

Signal = npt.NDArray[np.int16]
"""Shape ``(samples,)``."""
Ring = npt.NDArray[np.int16]
"""Shape ``(RING_FRAMES, FRAME_SAMPLES)``."""


def make_ring(codec: Codec = Codec.L16) -> Ring:
    """Return the ring, the same in every process, with samples that the codec can carry; takes about 0.1 s."""
    noise = np.random.default_rng(_SEED).integers(-_PEAK, _PEAK, (RING_FRAMES, FRAME_SAMPLES), dtype=np.int16)
    if codec is not Codec.L16:
        payload = np.frombuffer(encode(noise, codec), np.uint8)
        noise = decode(codec, FRAME_SAMPLES, payload).copy()
    noise[noise == 0] = noise.max()  # rule 2
    return noise


def first_frame(leg: int, *, legs: int) -> int:
    """Return the place in the ring of the first frame of leg number ``leg`` of ``legs`` (rule 1)."""
    return leg * (RING_FRAMES // legs)


def sent_by(leg: int, *, legs: int, frames: int, ring: Ring) -> Signal:
    """Return every sample that the leg sends in its first ``frames`` frames."""
    places = (first_frame(leg, legs=legs) + np.arange(frames)) % RING_FRAMES
    return ring[places].reshape(-1)


@dataclass(frozen=True, slots=True)
class ChannelCheck:
    """The differences between one channel of a recording and the signal that was sent; all in samples."""

    offset: int
    """Silence before the signal: from the start of the recording to the first sample of the leg."""
    matched: int
    lost: int
    """Samples that were sent and are not in the file."""
    extra: int
    """Samples in the file that were not sent there: repeated, or of another leg."""
    holes: int
    """Samples of silence within the signal."""

    @property
    def is_exact(self) -> bool:
        """Whether the file has everything that was sent, without a gap or an addition."""
        return not (self.lost or self.extra or self.holes)


def check_channel(channel: Signal, signal: Signal, *, required: int | None = None) -> ChannelCheck:
    """Compare a channel with its signal (rule 3); a stopped recording needs only the first ``required`` samples."""
    sounding = np.flatnonzero(channel)
    end = int(sounding[-1]) + 1 if len(sounding) else 0
    here = int(sounding[0]) if len(sounding) else 0
    offset, there = here, 0
    matched = lost = extra = holes = foreign_runs = 0
    while here < end:
        same = _same(channel[here:end], signal[there:])
        matched, here, there = matched + same, here + same, there + same
        if here == end:
            break
        if channel[here] == 0:
            silence = int(np.argmax(channel[here:end] != 0))
            holes, here = holes + silence, here + silence
            continue
        run = channel[here : min(here + _RUN, end)]
        place = _find(run, signal, there)
        if place is not None and place >= there:
            lost, there = lost + place - there, place
        elif place is not None:
            repeated = min(_same(channel[here:end], signal[place:]), there - place)
            extra, here = extra + repeated, here + repeated
        else:
            foreign_runs += 1
            step = end - here if foreign_runs > _FOREIGN_RUNS_UNTIL_HOPELESS else _foreign(channel[here:end], signal)
            extra, here = extra + step, here + step
    lost += max((len(signal) if required is None else required) - there, 0)
    return ChannelCheck(offset, matched, lost, extra, holes)


def _same(one: Signal, other: Signal) -> int:
    """Return how many samples from the start are equal."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(np.argmax(differs)) if differs.any() else length


def _find(run: Signal, signal: Signal, near: int) -> int | None:
    """Return the place of the run in the signal: the first from ``near`` on, else the last before it."""
    places = np.flatnonzero(signal[: len(signal) - len(run) + 1] == run[0])
    places = places[(signal[places[:, np.newaxis] + np.arange(len(run))] == run).all(axis=1)]
    if not len(places):
        return None
    following = places[places >= near]
    return int(following[0] if len(following) else places[-1])


def _foreign(channel: Signal, signal: Signal) -> int:
    """Return how many samples pass until a run of the channel is in the signal, or silent; at most 200."""
    for step in range(1, min(len(channel), 200)):
        if channel[step] == 0 or _find(channel[step : step + _RUN], signal, 0) is not None:
            return step
    return min(len(channel), 200)
