"""What a media server says on a stream of its own: samples in frames of 20 ms, at once or in real time.

All streams are mono L16 of 8 kHz, or of as many channels as the samples have.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

RATE_HZ = 8000
FRAME = 160
"""Samples of 20 ms."""


async def say(socket: ClientConnection, *sounds: NDArray[np.int16]) -> None:
    """Send sounds, (n,) or (n, channels), one after another, at once: faster than real time is no other call."""
    samples = np.concatenate(sounds)
    for start in range(0, len(samples), FRAME):
        await socket.send(samples[start : start + FRAME].tobytes())


class Sends(Protocol):
    """A socket, or what stands before one."""

    async def send(self, message: bytes, /) -> None:
        """Send a message."""


async def speak(socket: Sends, samples: NDArray[np.int16], *, start_s: float | None = None) -> None:
    """Send each frame when it has been said, from ``start_s`` of the loop's clock on; default: now."""
    loop = asyncio.get_running_loop()
    start_s = loop.time() if start_s is None else start_s
    for end in range(FRAME, len(samples) + 1, FRAME):
        await asyncio.sleep(start_s + end / RATE_HZ - loop.time())
        await socket.send(samples[end - FRAME : end].tobytes())
