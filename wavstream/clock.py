"""The clocks of the server, and the rule between them.

There are two. The *journal's clock* (``UnixClock``) stamps audio, journals and sessions, and what is shown of a call:
``created_at``, ``started_at``, ``ended_at``. It never jumps. The *server's time* (``Clocks.now``) follows the wall
clock of the machine, which is put right, or wrong, while the server runs or between two runs.

1. What is kept until a moment, is due at one, or ends at one (retention, webhooks, links, keys, tokens, idempotency)
   goes by the server's time. A wait within a session goes by the journal's clock, one within this process by the
   monotonic clock.
2. An instant is compared with its own clock alone. Where retention begins at a moment that the journal's clock has
   stamped, ``Clocks.on_wall`` says when that was by the server's time.
3. The server's time counts from the start of the machine, sleep included, and has no jump of its own. It follows a jump
   of the wall clock in the moment in which what was made by it since the machine was started is moved by as much
   (``service/clock_watch.py``). So at any moment all that is kept, and all that is compared with it, go by one time; a
   correction that cannot be written yet is only late.
4. The catalog has how the clocks were set (``BootClocks``), changed in the transaction that moves the rows. A start of
   the server on a machine that was not started again goes on from there: it finds the jump that was not corrected for,
   and the one that came while no server ran. What another start of the machine knew is of no use.
5. Recordings that go on over a restart were away for as long as the machine says, not the wall clock: then the
   journal's clock goes on too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from wavstream.model.times import unix_us, utc

AGREE_US = 1_000_000
"""Clocks that differ by less agree: a stop that takes a while to be counted moves nothing."""
_READ_AT_ONCE_US = 50_000
_READS = 10


class UnixClock:
    """Unix time that never goes back: the wall clock is read once, and the monotonic clock counts from there."""

    def __init__(self, unix_us: int | None = None) -> None:
        """Start at ``unix_us``; None: at the time of the wall clock."""
        now_ns = time.time_ns() if unix_us is None else unix_us * 1000
        self._offset_ns = now_ns - time.monotonic_ns()

    def set(self, unix_us: int) -> None:
        """Go on from ``unix_us``, before anything was stamped."""
        self._offset_ns += (unix_us - self.now_us()) * 1000

    def not_before(self, unix_us: int) -> None:
        """Go on from ``unix_us`` if that is later: the clock that wrote an earlier journal may have been ahead."""
        self._offset_ns += max(0, unix_us - self.now_us()) * 1000

    def now_us(self) -> int:
        """Return the Unix time in microseconds."""
        return (time.monotonic_ns() + self._offset_ns) // 1000


def uptime_us() -> int:
    """Return for how long the machine has been up, in microseconds; where the system tells it, with its sleep."""
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(which) // 1000


def boot_id() -> str | None:
    """Return what this start of the machine is called, another at each; None: the system does not tell it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None  # random(4)
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class BootClocks:
    """How the clocks are set: what each says of the moment at which the machine was started."""

    boot_id: str
    wall_us: int
    """The server's time, Unix time in microseconds."""
    journal_us: int
    """The journal's clock."""

    def agrees(self, other: BootClocks | None) -> bool:
        """Return whether it is the same start of the machine, and the same setting within what a reading takes."""
        return (
            other is not None
            and other.boot_id == self.boot_id
            and other.wall_us == self.wall_us
            and abs(other.journal_us - self.journal_us) < AGREE_US
        )


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock was moved, and the server's time does not follow yet."""

    by: timedelta
    """Less than 0: back."""
    since: datetime
    """The start of the machine, by the server's time until now."""
    until: datetime
    """Now, by the server's time until now."""


class Clocks:
    """Both clocks of one run of the server."""

    def __init__(
        self,
        journal: UnixClock,
        wall: Callable[[], datetime],
        *,
        steady_us: Callable[[], int] | None = None,
        boot_id: str | None = None,
    ) -> None:
        """Look for jumps of ``wall`` beside ``steady_us``; None: whatever ``wall`` says, so much time has passed."""
        self._journal = journal
        self._wall = wall
        self._steady_us = steady_us
        self._boot_id = boot_id
        self._wall_us = self._read_wall_us() or unix_us(wall()) - self._up_us()
        """When the machine was started, by the server's time."""
        self._begin()

    def _begin(self) -> None:
        self._run_since_us = self._journal.now_us()
        self._run_since = self.now()
        self._run_up_us = self._up_us()

    def go_on(self, known: BootClocks | None, *, is_recording: bool) -> timedelta:
        """Take up, before anything is stamped, how the clocks were set by an earlier run (rules 4 and 5).

        ``is_recording``: some of its recordings may go on. Return by how much the journal's clock was set otherwise
        than the wall clock for it.
        """
        by_us = 0
        if known is not None and known.boot_id == self._boot_id:
            self._wall_us = known.wall_us
            if is_recording:
                by_us = known.journal_us + self._up_us() - self._journal.now_us()
                self._journal.set(known.journal_us + self._up_us())
        self._begin()
        return timedelta(microseconds=by_us if abs(by_us) >= AGREE_US else 0)

    def now(self) -> datetime:
        """Return the server's time, aware, UTC (rule 3)."""
        return self._wall() if self._steady_us is None else utc(self._wall_us + self._steady_us())

    def journal_now_us(self) -> int:
        """Return the Unix time of the journal's clock in microseconds."""
        return self._journal.now_us()

    def on_wall(self, stamped: datetime) -> datetime:
        """Return when it was by the server's time what the journal's clock has stamped (rule 2).

        What an earlier run has stamped is now: nobody knows how its clock was set, nor could what it left be fetched.
        """
        now = self.now()
        if unix_us(stamped) < self._run_since_us:
            return now
        ahead = now - utc(self.journal_now_us())
        if abs(ahead) < timedelta(microseconds=AGREE_US):
            return stamped
        if self._steady_us is None:
            return stamped + ahead
        # Not before the run: its clock may have been put behind an earlier journal since (``UnixClock.not_before``).
        return max(stamped + ahead, now - timedelta(microseconds=self._up_us() - self._run_up_us))

    def setting(self) -> BootClocks | None:
        """Return how the clocks are set; None: this start of the machine has no name, and nobody can go on from it."""
        if self._boot_id is None:
            return None
        return BootClocks(self._boot_id, wall_us=self._wall_us, journal_us=self.journal_now_us() - self._up_us())

    def jump(self) -> ClockJump | None:
        """Return the jump of the wall clock that the server's time does not follow yet, if there is one."""
        found_us = self._read_wall_us()
        if found_us is None or abs(found_us - self._wall_us) < AGREE_US:
            return None
        return ClockJump(timedelta(microseconds=found_us - self._wall_us), since=utc(self._wall_us), until=self.now())

    def behind(self, known: BootClocks | None) -> ClockJump | None:
        """Return the jump that another process of this server has followed, and this one has not."""
        if known is None or known.boot_id != self._boot_id or known.wall_us == self._wall_us:
            return None
        by = timedelta(microseconds=known.wall_us - self._wall_us)
        return ClockJump(by, since=utc(self._wall_us), until=self.now())

    def follow(self, jump: ClockJump) -> None:
        """Follow a jump from now on: what is kept has been moved."""
        self._wall_us += jump.by // timedelta(microseconds=1)

    def _up_us(self) -> int:
        return 0 if self._steady_us is None else self._steady_us()

    def _read_wall_us(self) -> int | None:
        """Return when the machine was started, as the wall clock is set now; None: nothing tells it."""
        for _ in range(0 if self._steady_us is None else _READS):
            before_us, wall_us, up_us = self._up_us(), unix_us(self._wall()), self._up_us()
            if up_us - before_us < _READ_AT_ONCE_US:  # else the process stood still between the two
                return wall_us - up_us
        return None
