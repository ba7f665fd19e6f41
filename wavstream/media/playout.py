"""Audio to peers, paced: one timer for all streams that have something to play.

A stream gets what its peer's playout buffer takes in one write, 20 ms of audio in one message where the peer plays what
comes, each time that has been played. Streams of one such length are in groups that take turns each 5 ms, so that a
thousand of them do not all write in the same millisecond. Turns are counted from a start and not from each other, so
they never drift; after a stall of the loop a stream gets what it is owed, but at most five messages or one write, for
more would only fill the peer's buffer.

What it costs is the writes: 10 to 18 us each, whatever is in them, two thirds of it in the kernel.
"""

from __future__ import annotations

import asyncio

from wavstream.media.speaker import PTIME_MS, Speaker

_TURN_MS = 5
_MAX_BURST = 5


class Playout:
    """Lets speakers send when it is their turn; runs only while there are any."""

    def __init__(self) -> None:
        self._groups: dict[int, list[dict[Speaker, None]]] = {}
        """By what a peer takes in one write, in turns: as many groups as it has turns."""
        self._timer: asyncio.TimerHandle | None = None
        self._start_s = 0.0
        self._turns = 0

    def start(self, speaker: Speaker) -> None:
        """Let it send until it is idle or stopped."""
        turns = speaker.playout_ms // _TURN_MS
        groups = self._groups.setdefault(turns, [{} for _ in range(turns)])
        if any(speaker in group for group in groups):
            return
        min(groups, key=len)[speaker] = None
        if self._timer is None:
            self._start_s = asyncio.get_running_loop().time()
            self._turns = 0
            self._schedule()

    def stop(self, speaker: Speaker) -> None:
        """Send no more of it; harmless for one that plays nothing."""
        for groups in self._groups.values():
            for group in groups:
                group.pop(speaker, None)
        self._rest()

    def _schedule(self) -> None:
        next_s = self._start_s + (self._turns + 1) * _TURN_MS / 1000
        self._timer = asyncio.get_running_loop().call_at(next_s, self._run)

    def _run(self) -> None:
        elapsed_ms = round((asyncio.get_running_loop().time() - self._start_s) * 1000)
        turns = elapsed_ms // _TURN_MS
        for groups in self._groups.values():
            for group, owed in zip(groups, owed_messages(self._turns, turns, groups=len(groups)), strict=True):
                if owed:
                    for speaker in list(group):
                        speaker.send(owed)
                        if speaker.is_idle:
                            group.pop(speaker, None)
        self._turns = turns
        self._schedule()
        self._rest()

    def _rest(self) -> None:
        """No timer while nobody plays."""
        if self._timer is not None and not any(any(groups) for groups in self._groups.values()):
            self._timer.cancel()
            self._timer = None


def owed_messages(done: int, due: int, *, groups: int) -> list[int]:
    """For each group the messages it is owed when ``due`` turns have passed, of which ``done`` were served."""
    messages = groups * _TURN_MS // PTIME_MS
    most = max(_MAX_BURST, messages)
    writes = [(due + group) // groups - (done + group) // groups for group in range(groups)]
    return [min(most, count * messages) for count in writes]
