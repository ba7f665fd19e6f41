"""What a kill may take of a call, and what of it is in the file."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from tests.support.recorder import Recorder
from tests.support.talking import FRAME, RATE_HZ

LOST_S = 0.25
"""The bound on what a kill may take."""


class Noted:
    """A socket that notes when each frame was sent."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sent_s: list[float] = []

    async def send(self, frame: bytes) -> None:
        await self._socket.send(frame)
        self._sent_s.append(asyncio.get_running_loop().time())

    def samples(self, before_s: float) -> int:
        """Return how many had been sent by then."""
        return FRAME * sum(sent_s <= before_s for sent_s in self._sent_s)


class Watch:
    """What the server says that it has received of a call, asked for over and over, and how long it takes to say so."""

    def __init__(self, client: Recorder, session_id: str) -> None:
        self._client = client
        self._session_id = session_id
        self._answers: list[tuple[float, dict[str, int]]] = []
        self._slowest_s = 0.0
        self._asking = asyncio.create_task(self._ask())

    def safe(self, killed_s: float, sent: dict[str, Noted]) -> dict[str, int]:
        """Return samples of each leg that a kill may not take, even if writing was as slow as the slowest answer: what
        was received so long before it, and what was sent then, which may wait to be received.
        """
        before_s = killed_s - LOST_S - self._slowest_s
        received = max((answer for answer in self._answers if answer[0] <= before_s), key=lambda answer: answer[0])[1]
        return {leg: max(samples, sent[leg].samples(before_s)) for leg, samples in received.items()}

    async def stop(self) -> None:
        self._asking.cancel()
        await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked_s = loop.time()
            answer = await self._client.http.get(f"/v1/sessions/{self._session_id}")
            self._slowest_s = max(self._slowest_s, loop.time() - asked_s)
            streams = answer.json()["streams"] if answer.status_code == 200 else []
            received = {each["leg"]: each["received_ms"] * RATE_HZ // 1000 for each in streams}
            self._answers.append((loop.time(), received))
            await asyncio.sleep(0.02)


def heard_of(samples: NDArray[np.int16], voice: NDArray[np.int16]) -> int:
    """How many samples of the voice are in the channel, unchanged from its first on, whatever silence is in between."""
    start = int(np.argmax(samples == voice[0]))
    while not np.array_equal(samples[start : start + 50], voice[:50]):
        start += 1 + int(np.argmax(samples[start + 1 :] == voice[0]))
    heard = samples[start:]
    heard, said = heard[heard != 0], np.flatnonzero(voice)
    length = min(len(said), len(heard))
    same = heard[:length] == voice[said[:length]]
    count = length if same.all() else int(np.argmin(same))
    return len(voice) if count == len(said) else int(said[count])
