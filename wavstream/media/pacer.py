"""Audio to peers, paced: one timer for all streams that have something to play.

A stream gets what its peer's playout buffer takes in one write, one message where the peer plays what comes, each time
that has been played. Four rules:

1. Turns of 5 ms are counted from a start, and a stream's next turn from the one it was due in, whenever that was
   served. So nothing drifts, and a stream whose messages change their length does so when all that it was sent has been
   played.
2. Who joins takes the emptiest of the turns to come, so that a thousand do not write in one.
3. After a stall of the loop a stream gets what it is owed, but at most 100 ms or one write: more would only fill the
   peer's buffer.
4. The timer runs only while somebody plays.

What it costs is the writes: 10 to 18 us each, whatever is in them, two thirds of it in the kernel.
"""

from __future__ import annotations

import asyncio

from wavstream.media.audio_sender import STEP_MS, AudioSender

_MAX_OWED_MS = 100


class PacingSchedule:
    """Who writes in which turn. Turns are numbered from 1; it reads no clock, but is told which turn it is."""

    def __init__(self) -> None:
        self._due: dict[int, dict[AudioSender, None]] = {}
        """By turns to come."""
        self._turn_of: dict[AudioSender, int] = {}
        self.served = 0
        """The last turn that was served."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody takes part."""
        return not self._turn_of

    def join(self, sender: AudioSender, now: int) -> None:
        """Let a sender take part after turn ``now``, until it is idle; without effect on one that does already."""
        if sender not in self._turn_of:
            coming = range(now + 1, now + 1 + sender.next_write_ms() // STEP_MS)
            self._place(sender, min(coming, key=lambda turn: len(self._due.get(turn, ()))))  # rule 2

    def leave(self, sender: AudioSender) -> None:
        """Let a sender take part no more; without effect on one that does not."""
        turn = self._turn_of.pop(sender, None)
        if turn is not None:
            del self._due[turn][sender]

    def serve(self, now: int) -> None:
        """Let all write that were due since the last turn that was served, up to turn ``now``."""
        for turn in range(self.served + 1, now + 1):
            for sender in self._due.pop(turn, ()):
                write_ms = sender.next_write_ms()
                writes = 1 + (now - turn) * STEP_MS // write_ms
                sender.send(min(writes, max(1, _MAX_OWED_MS // write_ms)))  # rule 3
                if sender.is_idle:
                    del self._turn_of[sender]
                else:
                    self._place(sender, turn + writes * write_ms // STEP_MS)  # rule 1
        self.served = now

    def _place(self, sender: AudioSender, turn: int) -> None:
        self._due.setdefault(turn, {})[sender] = None
        self._turn_of[sender] = turn


class Pacer:
    """Lets senders send when it is their turn."""

    def __init__(self) -> None:
        self._turns = PacingSchedule()
        self._timer: asyncio.TimerHandle | None = None
        self._start_s = 0.0

    def start(self, sender: AudioSender) -> None:
        """Let a sender send until it is idle or stopped."""
        if self._timer is None:
            self._turns = PacingSchedule()
            self._start_s = asyncio.get_running_loop().time()
            self._schedule()
        self._turns.join(sender, self._turn())

    def stop(self, sender: AudioSender) -> None:
        """Let a sender send no more; without effect on one that plays nothing."""
        self._turns.leave(sender)
        self._rest()

    def _turn(self) -> int:
        elapsed_ms = round((asyncio.get_running_loop().time() - self._start_s) * 1000)
        return elapsed_ms // STEP_MS

    def _schedule(self) -> None:
        next_s = self._start_s + (self._turns.served + 1) * STEP_MS / 1000
        self._timer = asyncio.get_running_loop().call_at(next_s, self._run)

    def _run(self) -> None:
        self._turns.serve(self._turn())
        self._schedule()
        self._rest()

    def _rest(self) -> None:
        if self._timer is not None and self._turns.is_empty:  # rule 4
            self._timer.cancel()
            self._timer = None
