"""Whether there is room for more streams, by how late the server is with those that it has.

Beyond what a machine can do every stream suffers, also those that were let in before. So new ones are refused while
there is still headroom, and whoever has a second server sends them there. What a stream costs differs by a factor of
twenty, and machines by more; so nothing is counted, and what is measured is the delay:

1. A second is *bad* if in it the loop came late to its ticks by ``loop_delay_s`` on average, or half of the journal's
   queue was full. It is bad for one app whose live recordings have waited longer than ``fold_delay_s`` for their turn:
   turns are fair, so that an app with more than can be folded is late alone, and others need not be refused for it.
2. Three bad seconds in a row are *overload*; it ends with three in a row that are not bad. One stall (a process that
   was stopped) is no lack of power.
3. Streams of a session that is live are let in: its call has begun, and a leg that comes back must find it.
4. Its *ratio* is how near the server is to that: each delay of a second as a share of its limit, of those the largest;
   and of the last three seconds the smallest. So it is 1 or more while the door is closed, or that of an app is.
5. A server that *drains* lets in no new session, by a stream or a request, however much room there is; rule 3 holds.

Pure; ``now_us`` never goes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from wavstream.errors import LimitReached

_SECOND_US = 1_000_000
_IN_A_ROW = 3
_RETRY_AFTER_S = 5
_DRAINS = "the server is being drained and takes nothing new: send this call to another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """How late the server may be before it takes in no more."""

    loop_delay_s: float = 0.1
    """Of the event loop, on average over a second; 0: any."""
    fold_delay_s: float = 5.0
    """Of a live recording that is due; 0: any."""
    queue_bytes: int = 32 * 1024 * 1024
    """Of the journal, on their way to the disk."""


class Door:
    """Whether streams of new calls are let in: judged once a second (rule 2)."""

    __slots__ = ("_bad_seconds", "_good_seconds", "closed_by")

    def __init__(self) -> None:
        self.closed_by: str | None = None
        """What is too late, and by how much, with its setting; None: there is room."""
        self._bad_seconds = 0
        self._good_seconds = 0

    def judge(self, reason: str | None) -> bool:
        """Take in what made the last second bad, if anything did; return whether the door was opened or closed."""
        self._bad_seconds = self._bad_seconds + 1 if reason else 0
        self._good_seconds = 0 if reason else self._good_seconds + 1
        before = self.closed_by
        if self._bad_seconds >= _IN_A_ROW:
            self.closed_by = reason
        elif self._good_seconds >= _IN_A_ROW:
            self.closed_by = None
        return (before is None) is not (self.closed_by is None)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known of it that a new one would not say."""
        return self.closed_by is None and not self._bad_seconds


class Load:
    """Measures the server's delay, and tells whether more may come. Lives on the event loop."""

    def __init__(self, headroom: Headroom) -> None:
        self.door = Door()
        """Of everybody."""
        self.doors: dict[str, Door] = {}
        """Of apps that are late, or were lately."""
        self.refused = 0
        """Streams that were refused."""
        self.is_draining = False
        """Nothing new is let in; what there is goes on to its end (rule 5)."""
        self._ratios: deque[float] = deque([0.0] * _IN_A_ROW, maxlen=_IN_A_ROW)
        """Of the last seconds."""
        self._headroom = headroom
        self._began_us: int | None = None
        self._ticks = 0
        self._late_us = 0

    def tick(self, now_us: int, *, late_us: int) -> bool:
        """Count a tick of the loop that came so late; return whether a second is over, and ``look`` is to be called."""
        if self._began_us is None:
            self._began_us = now_us
        self._ticks += 1
        self._late_us += late_us
        return now_us - self._began_us >= _SECOND_US

    def look(
        self, now_us: int, *, fold_delays_s: Mapping[str, float], queued_bytes: int
    ) -> list[tuple[str | None, str | None]]:
        """Judge the second that is over; return what was opened or closed, as (app, None: of all; why it is closed)."""
        late_us = self._late_us // max(1, self._ticks)
        self._began_us, self._ticks, self._late_us = now_us, 0, 0
        self._ratios.append(self._share(late_us, queued_bytes, max(fold_delays_s.values(), default=0.0)))
        changed: list[tuple[str | None, str | None]] = []
        if self.door.judge(self._too_late(late_us, queued_bytes)):
            changed.append((None, self.door.closed_by))
        for app_id in {*fold_delays_s, *self.doors}:
            door = self.doors.setdefault(app_id, Door())
            if door.judge(self._too_late_of_app(fold_delays_s.get(app_id, 0.0))):
                changed.append((app_id, door.closed_by))
        self.doors = {app_id: door for app_id, door in self.doors.items() if not door.is_idle}
        return changed

    @property
    def ratio(self) -> float:
        """How much of what the server can do is in use, from 0; 1 or more: it is too late (rule 4)."""
        ratio = min(self._ratios)
        return ratio if self.door.closed_by is None else max(1.0, ratio)

    @property
    def refuses_all(self) -> bool:
        """Whether nothing new is let in, whoever asks."""
        return self.is_draining or self.door.closed_by is not None

    def closed_by(self, app_id: str) -> str | None:
        """Return why the app gets no stream of a new call; None: it does."""
        own = self.doors.get(app_id)
        return self.door.closed_by or (None if own is None else own.closed_by)

    def check_new(self) -> None:
        """Raise LimitReached if no new session is let in (rule 5)."""
        if self.is_draining:
            raise LimitReached(_DRAINS, retry_after_s=_RETRY_AFTER_S)

    def check(self, app_id: str) -> None:
        """Raise LimitReached if no more may come of the app."""
        reason = self.closed_by(app_id)
        if reason is not None:
            self.refused += 1
            raise LimitReached(
                f"the server is too late with the streams that it has ({reason}): send this one to another, or try "
                "again",
                retry_after_s=_RETRY_AFTER_S,
            )

    def _share(self, late_us: int, queued_bytes: int, fold_delay_s: float) -> float:
        room = self._headroom
        loop = late_us / (room.loop_delay_s * 1e6) if room.loop_delay_s else 0.0
        fold = fold_delay_s / room.fold_delay_s if room.fold_delay_s else 0.0
        return max(loop, fold, queued_bytes / room.queue_bytes)

    def _too_late(self, late_us: int, queued_bytes: int) -> str | None:
        """Return what makes a second bad for everybody (rule 1)."""
        room = self._headroom
        if room.loop_delay_s and late_us >= room.loop_delay_s * 1e6:
            return f"its event loop by {late_us // 1000} ms; limits.loop_delay_s is {room.loop_delay_s:g}"
        if queued_bytes >= room.queue_bytes:
            return f"{queued_bytes} bytes wait for the disk; half of journal.queue_bytes is {room.queue_bytes}"
        return None

    def _too_late_of_app(self, fold_delay_s: float) -> str | None:
        """Return what makes a second bad for an app (rule 1)."""
        limit_s = self._headroom.fold_delay_s
        if limit_s and fold_delay_s >= limit_s:
            return f"recordings of the app by {fold_delay_s:.1f} s; limits.fold_delay_s is {limit_s:g}"
        return None
