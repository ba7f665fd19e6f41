"""What each leg of a load sends: known noise, so that whoever reads a recording can name every sample.

All legs read one ring of pseudo-random samples, each from a place of its own, as far from the others as the ring
allows (21 minutes divided by the legs). At any one time no two legs send the same, and a loss, a swap between legs, a
repeat or a shift shows as the first sample that is not the expected one. The ring keeps memory the same for any number
of legs, and its frames can be made before the first is sent. No sample is 0: a 0 in a recording is silence that was put
there.
"""

from __future__ import annotations

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
_PEAK = 20_000

Signal = npt.NDArray[np.int16]
"""Shape ``(samples,)``."""
Ring = npt.NDArray[np.int16]
"""Shape ``(RING_FRAMES, FRAME_SAMPLES)``."""


def make_ring(codec: Codec = Codec.L16) -> Ring:
    """The same samples in every process, those that the codec can carry: takes about 0.1 s."""
    noise = np.random.default_rng(_SEED).integers(-_PEAK, _PEAK, (RING_FRAMES, FRAME_SAMPLES), dtype=np.int16)
    if codec is not Codec.L16:
        payload = np.frombuffer(encode(noise, codec), np.uint8)
        noise = decode(codec, FRAME_SAMPLES, payload).copy()
    noise[noise == 0] = noise.max()
    return noise


def first_frame(leg: int, *, legs: int) -> int:
    """The place in the ring of the first frame of leg number ``leg`` of ``legs``."""
    return leg * (RING_FRAMES // legs)


def sent_by(leg: int, *, legs: int, frames: int, ring: Ring) -> Signal:
    """Every sample that the leg sends in its first ``frames`` frames."""
    places = (first_frame(leg, legs=legs) + np.arange(frames)) % RING_FRAMES
    return ring[places].reshape(-1)
