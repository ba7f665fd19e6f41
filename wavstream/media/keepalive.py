"""Silence for peers that drop a stream on which they hear nothing: one timer for all of them.

Every stream gets one frame each 20 ms, in one of four groups that take turns, so that a thousand of them do not all
write in the same millisecond. Turns are counted from a start and not from each other, so they never drift; after a
stall of the loop a stream gets what it is owed, but at most five frames, for more would only fill the peer's buffer.
"""

from __future__ import annotations

import asyncio

from wavstream.media.stream import StreamHandle

PTIME_MS = 20
_TURN_MS = 5
_GROUPS = PTIME_MS // _TURN_MS
_MAX_BURST = 5


class Keepalive:
    """Sends silence to the streams that ask for it; runs only while there are any."""

    def __init__(self) -> None:
        self._groups: list[dict[StreamHandle, bytes]] = [{} for _ in range(_GROUPS)]
        self._timer: asyncio.TimerHandle | None = None
        self._start_s = 0.0
        self._turns = 0

    def start(self, stream: StreamHandle, frame: bytes) -> None:
        """Send ``frame``, a server frame of 20 ms of silence, until ``stop``."""
        if any(stream in group for group in self._groups):
            return
        min(self._groups, key=len)[stream] = frame
        if self._timer is None:
            self._start_s = asyncio.get_running_loop().time()
            self._turns = 0
            self._schedule()

    def stop(self, stream: StreamHandle) -> None:
        """Send no more; harmless for a stream that has none."""
        for group in self._groups:
            group.pop(stream, None)
        if self._timer is not None and not any(self._groups):
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        next_s = self._start_s + (self._turns + 1) * _TURN_MS / 1000
        self._timer = asyncio.get_running_loop().call_at(next_s, self._run)

    def _run(self) -> None:
        elapsed_ms = round((asyncio.get_running_loop().time() - self._start_s) * 1000)
        turns = elapsed_ms // _TURN_MS
        for number, owed in enumerate(owed_frames(self._turns, turns)):
            if owed:
                for stream, frame in list(self._groups[number].items()):
                    stream.send_frames(frame * owed)
        self._turns = turns
        if self._timer is not None:
            self._schedule()


def owed_frames(done: int, due: int) -> list[int]:
    """For each group the frames it is owed when ``due`` turns have passed, of which ``done`` were served."""
    return [min(_MAX_BURST, (due + group) // _GROUPS - (done + group) // _GROUPS) for group in range(_GROUPS)]
