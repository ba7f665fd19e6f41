"""Speech in packets, and how well samples are the speech that they were made of.

``caller.awb`` is ``speech.caller(16_000)`` in AMR-WB at 12.65 kbit/s with discontinuous transmission, in the form of a
file (RFC 4867, 5): most machines can decode AMR-WB, few can encode it. ``ffmpeg -c:a libvo_amrwbenc -dtx 1`` makes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wavstream.simulator.packet_encoder import PacketEncoder, amr_wb_payload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wavstream.model.audio import PacketCodec

_SIZES = {2: 32, 9: 5, 14: 0, 15: 0}
_LATEST = 1_000


def amr_wb_frames() -> list[bytes]:
    """Return the caller's frames: of speech, comfort noise and no data."""
    data = Path(__file__).with_name("caller.awb").read_bytes().removeprefix(b"#!AMR-WB\n")
    frames: list[bytes] = []
    while data:
        size = 1 + _SIZES[data[0] >> 3]
        frames.append(data[:size])
        data = data[size:]
    return frames


def amr_wb_packets(*, octet_aligned: bool, together: int = 1) -> list[bytes]:
    """Return the caller's RTP payloads, with so many frames in each."""
    frames = amr_wb_frames()
    return [
        amr_wb_payload(frames[first : first + together], octet_aligned=octet_aligned)
        for first in range(0, len(frames), together)
    ]


def packets(codec: PacketCodec, samples: NDArray[np.int16]) -> list[bytes]:
    """Return samples, (n,) at the codec's rate, in packets of 20 ms."""
    return PacketEncoder(codec).encode(samples)


def likeness(said: NDArray[np.int16], decoded: Sequence[bytes]) -> tuple[int, float]:
    """Return by how many samples little-endian L16 is behind what was said, and how alike it is then (1: the same)."""
    heard = np.frombuffer(b"".join(decoded), "<i2").astype(np.float64)
    size = min(len(said), len(heard)) - _LATEST
    first = said[:size].astype(np.float64)
    products = np.correlate(heard[: size + _LATEST], first, "valid")
    delay = int(products.argmax())
    then = heard[delay : delay + size]
    return delay, float(products[delay] / np.linalg.norm(first) / np.linalg.norm(then))
