"""How many of something there are, of each app and in all: of this worker, and of the others where there are some.

``take`` counts first and looks then (``workers.shared_counts``, rule 2). ``own`` is always this worker's alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from wavstream.workers.shared_counts import SharedCount, SharedCounts

_ALL = ""
"""In the place of an app's id, which is never empty."""


class Tally:
    """How many of something each app has now."""

    def __init__(self, shared: SharedCount | None = None) -> None:
        self.own = 0
        """Of all apps."""
        self._of: Counter[str] = Counter()
        self._shared = shared

    @property
    def total(self) -> int:
        """How many all have."""
        return self.own if self._shared is None else self.own + self._shared.others(_ALL)

    def of(self, app_id: str) -> int:
        """Return how many the app has."""
        own = self._of[app_id]
        return own if self._shared is None else own + self._shared.others(app_id)

    def take(self, app_id: str, check: Callable[[int, int], None]) -> None:
        """Count one, unless ``check``, which is told how many the app and all had before, raises."""
        self.add(app_id)
        try:
            check(self.of(app_id) - 1, self.total - 1)
        except BaseException:
            self.remove(app_id)
            raise

    def add(self, app_id: str) -> None:
        """Count one."""
        self.own += 1
        self._of[app_id] += 1
        self._tell(app_id)

    def remove(self, app_id: str) -> None:
        """Count one no more."""
        self.own -= 1
        self._of[app_id] -= 1
        self._tell(app_id)
        if not self._of[app_id]:
            del self._of[app_id]

    def _tell(self, app_id: str) -> None:
        if self._shared is not None:
            self._shared.set(app_id, self._of[app_id])
            self._shared.set(_ALL, self.own)


def tally_of(shared: SharedCounts | None, what: str) -> Tally:
    """Return a tally of this: of the machine, where others are counted too."""
    return Tally(None if shared is None else shared.of(what))


class Meter:
    """How much each app takes in a second, in windows of a fixed length."""

    def __init__(
        self, window_s: float, shared: SharedCount | None = None, *, looks_back: bool = True, unit: int = 1
    ) -> None:
        """``looks_back``: the last window counts until this one has more; ``unit``: others are told so many as one."""
        self._current: Counter[str] = Counter()
        """In this window so far."""
        self._last: Counter[str] = Counter()
        self._current_total = self._last_total = 0
        self._window_s = window_s
        self._ends = 0.0
        self._shared = shared
        self._looks_back = looks_back
        self._unit = unit

    def add(self, app_id: str, amount: int, now: float) -> None:
        """Count what the app has taken."""
        self._turn(now)
        self._current[app_id] += amount
        self._current_total += amount
        if self._shared is not None:
            left_s = self._ends - now + (self._window_s if self._looks_back else 0.0)
            self._shared.set(app_id, -(-self._used(app_id) // self._unit), left_s=left_s)
            self._shared.set(_ALL, -(-self._used_by_all() // self._unit), left_s=left_s)

    def rate(self, app_id: str, now: float) -> tuple[int, int]:
        """Return what the app, and what all take in a second: in the last window, or already in this one."""
        self._turn(now)
        used, used_by_all = self._used(app_id), self._used_by_all()
        if self._shared is not None:
            used += self._shared.others(app_id) * self._unit
            used_by_all += self._shared.others(_ALL) * self._unit
        return int(used / self._window_s), int(used_by_all / self._window_s)

    def take(self, app_id: str, now: float, check: Callable[[int, int], None]) -> None:
        """Count one, unless ``check``, which is told the rates of the app and of all before, raises; windows of 1 s."""
        self.add(app_id, 1, now)
        used, used_by_all = self.rate(app_id, now)
        try:
            check(used - 1, used_by_all - 1)
        except BaseException:
            self.take_back(app_id, now)
            raise

    def take_back(self, app_id: str, now: float) -> None:
        """Take back one that was counted, if its window is not over."""
        self._turn(now)
        if self._current[app_id]:
            self.add(app_id, -1, now)

    def _used(self, app_id: str) -> int:
        return max(self._current[app_id], self._last[app_id])

    def _used_by_all(self) -> int:
        return max(self._current_total, self._last_total)

    def _turn(self, now: float) -> None:
        """Begin the next window, if this one is over."""
        if now < self._ends:
            return
        goes_on = self._looks_back and now < self._ends + self._window_s
        self._last, self._last_total = (self._current, self._current_total) if goes_on else (Counter(), 0)
        self._current, self._current_total = Counter(), 0
        self._ends = now + (self._window_s if self._shared is None else self._shared.window_left_s(self._window_s))
