"""Whether there is room for more streams, by how late the server is with those that it has.

Beyond what a machine can do every stream suffers, also those that were let in before. So new ones are refused while
there is still headroom, and whoever has a second server sends them there. What a stream costs differs by a factor of
twenty, and machines by more; so nothing is counted, and what is measured is the delay:

1. A second is *bad* if in it the loop came late to its ticks by ``loop_delay_s`` on average, or a live recording has
   waited longer than ``fold_delay_s`` for its turn, or half of the journal's queue was full.
2. Three bad seconds in a row are *overload*; it ends with three in a row that are not bad. One stall (a process that
   was stopped) is no lack of power.
3. Streams of a session that is live are let in: its call has begun, and a leg that comes back must find it.

Pure; ``now_us`` never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass

from wavstream.errors import LimitReached

_SECOND_US = 1_000_000
_IN_A_ROW = 3
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """How late the server may be before it takes in no more."""

    loop_delay_s: float = 0.1
    """Of the event loop, on average over a second; 0: any."""
    fold_delay_s: float = 5.0
    """Of a live recording that is due; 0: any."""
    queue_bytes: int = 32 * 1024 * 1024
    """Of the journal, on their way to the disk."""


class Load:
    """Measures the server's delay, and tells whether more may come. Lives on the event loop."""

    def __init__(self, headroom: Headroom) -> None:
        self.overloaded_by: str | None = None
        """What is too late, and by how much, with its setting; None: there is room."""
        self.refused = 0
        """Streams that were refused for it."""
        self._headroom = headroom
        self._began_us: int | None = None
        self._ticks = 0
        self._late_us = 0
        self._bad_seconds = 0
        self._good_seconds = 0

    def tick(self, now_us: int, *, late_us: int) -> bool:
        """Count a tick of the loop that came so late; return whether a second is over, and ``look`` is to be called."""
        if self._began_us is None:
            self._began_us = now_us
        self._ticks += 1
        self._late_us += late_us
        return now_us - self._began_us >= _SECOND_US

    def look(self, now_us: int, *, fold_delay_us: int, queued_bytes: int) -> bool:
        """Judge the second that is over; return whether that has changed what is let in."""
        late_us = self._late_us // max(1, self._ticks)
        self._began_us, self._ticks, self._late_us = now_us, 0, 0
        reason = self._too_late(late_us, fold_delay_us, queued_bytes)
        self._bad_seconds = self._bad_seconds + 1 if reason else 0
        self._good_seconds = 0 if reason else self._good_seconds + 1
        before = self.overloaded_by
        if self._bad_seconds >= _IN_A_ROW:
            self.overloaded_by = reason
        elif self._good_seconds >= _IN_A_ROW:
            self.overloaded_by = None
        return (before is None) is not (self.overloaded_by is None)

    def check(self) -> None:
        """Raise LimitReached if no more may come."""
        if self.overloaded_by is not None:
            self.refused += 1
            raise LimitReached(
                f"the server is too late with the streams that it has ({self.overloaded_by}): "
                "send this one to another, or try again",
                retry_after_s=_RETRY_AFTER_S,
            )

    def _too_late(self, late_us: int, fold_delay_us: int, queued_bytes: int) -> str | None:
        """Return what makes a second bad (rule 1)."""
        room = self._headroom
        if room.loop_delay_s and late_us >= room.loop_delay_s * 1e6:
            return f"its event loop by {late_us // 1000} ms; limits.loop_delay_s is {room.loop_delay_s:g}"
        if room.fold_delay_s and fold_delay_us >= room.fold_delay_s * 1e6:
            return f"recordings by {fold_delay_us / 1e6:.1f} s; limits.fold_delay_s is {room.fold_delay_s:g}"
        if queued_bytes >= room.queue_bytes:
            return f"{queued_bytes} bytes wait for the disk; half of journal.queue_bytes is {room.queue_bytes}"
        return None
