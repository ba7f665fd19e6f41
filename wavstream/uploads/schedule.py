"""Which file is tried next, at which store, and how long one that failed waits. No IO, no clock.

1. A file that failed waits for twice as long as before, from ``Pace.first_s`` to ``Pace.last_s``, less up to half of it
   by chance: what failed together is not tried together again.
2. A store has a door. It is closed by ``FAILURES`` tries in a row that failed, or by one after which waiting alone will
   not help. Behind a closed door one try at a time is a probe, ever more seldom; all other files stay due, and wait.
   A probe that succeeds opens the door. One that was under way when the door was closed says nothing new.
3. What was not stored within ``backup_after`` is for the backup too: after the first store where that is open or is
   probed with this file, else at once. Without a backup all waits for the first.
4. A file that the disk does not give, or a database that fails, says nothing of a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from wavstream.catalog.uploads import Upload

FAILURES = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How long what failed waits, in seconds."""

    first_s: float = 1.0
    last_s: float = 300.0
    """Between two tries of one file."""
    last_probe_s: float = 60.0
    """Between two probes of a store."""


def wait_s(failed: int, *, first_s: float, last_s: float, chance: float) -> float:
    """Return how long to wait after so many failures (rule 1); ``chance`` is from 0 to 1."""
    longest_s = min(last_s, first_s * 2.0 ** min(failed - 1, 30))
    return longest_s * (1 - chance / 2)


class Door:
    """One store's (rule 2). Its seconds are those of any clock that only goes forth."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._in_a_row = 0
        self._probes = 0
        self._probe_at_s: float | None = None
        self._trying = 0

    @property
    def is_open(self) -> bool:
        """Whether files go to the store as they come."""
        return self._probe_at_s is None

    def may_try(self, now_s: float) -> bool:
        """Return whether a try may begin now."""
        return self._probe_at_s is None or (self._trying == 0 and now_s >= self._probe_at_s)

    def wait_s(self, now_s: float) -> float | None:
        """Return how long there is no probe; None: it is open, or is being probed, and whoever tries will tell."""
        return None if self._probe_at_s is None or self._trying else max(self._probe_at_s - now_s, 0.0)

    def begin(self) -> None:
        """Count a try that has begun."""
        self._trying += 1

    def end(self) -> None:
        """Count it no more, however it ended."""
        self._trying -= 1

    def succeeded(self) -> bool:
        """Note that the store has taken a file; return whether that has opened the door."""
        was_closed = not self.is_open
        self._in_a_row = self._probes = 0
        self._probe_at_s = None
        return was_closed

    def failed(self, now_s: float, *, is_lasting: bool, chance: float) -> bool:
        """Note that the store has not taken a file; return whether that has closed the door."""
        if self._probe_at_s is not None and now_s < self._probe_at_s:
            return False
        was_open = self.is_open
        self._in_a_row += 1
        if was_open and self._in_a_row < FAILURES and not is_lasting:
            return False
        self._probes += 1
        first_s, last_s = self._pace.first_s, self._pace.last_probe_s
        self._probe_at_s = now_s + wait_s(self._probes, first_s=first_s, last_s=last_s, chance=chance)
        return was_open


class Schedule:
    """The doors of the stores, by their URLs, and which of them a file goes to."""

    def __init__(
        self, first: str, backup: str | None = None, *, backup_after: timedelta, pace: Pace | None = None
    ) -> None:
        """Take the first store, and the second if there is one (rule 3)."""
        self._first = first
        self._backup = backup
        self._backup_after = backup_after
        self.pace = pace or Pace()
        self.doors = {url: Door(self.pace) for url in (first, backup) if url is not None}

    def stores_for(self, upload: Upload, now: datetime, now_s: float) -> tuple[str, ...]:
        """Return the stores to try now, in order; none: it has to wait (rules 2 and 3)."""
        plan = [self._first] if self.doors[self._first].may_try(now_s) else []
        if self._backup is not None and now - upload.since >= self._backup_after:
            is_first_tried = upload.attempts > 0 or not self.doors[self._first].is_open
            if is_first_tried and self.doors[self._backup].may_try(now_s):
                plan.append(self._backup)
        return tuple(plan)

    def next_at(self, upload: Upload, now: datetime, chance: float) -> datetime:
        """Return when a file that has failed once more is tried again (rule 1)."""
        failed = upload.attempts + 1
        seconds = wait_s(failed, first_s=self.pace.first_s, last_s=self.pace.last_s, chance=chance)
        return now + timedelta(seconds=seconds)

    def probe_wait_s(self, now_s: float) -> float | None:
        """Return how long it is until the next probe of a store; None: none waits for one."""
        return min((each for door in self.doors.values() if (each := door.wait_s(now_s)) is not None), default=None)
