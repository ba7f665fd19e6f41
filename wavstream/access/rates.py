"""How many wrong keys an address may send, and how many requests a caller; pure, ``now`` is a parameter.

Wrong keys are counted so that guessing is seen to fail and costs nothing. The limit changes the answer to a wrong key
and nothing else: a right one is never refused for what else came from its address, which may be a proxy's. An attempt
counts when it begins, or those that are made at once would all be below the limit.

A fixed window for each: it opens with the first wrong key or request and closes ``window_s`` later. Where there are
several workers, it opens with the first in any of them, and what counts is what all have counted in it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from wavstream.access.origin import counted_as
from wavstream.errors import LimitReached
from wavstream.workers.shared_counts import SharedCount


@dataclass(slots=True)
class _Window:
    ends: float
    count: int = 0


class _Windows:
    """The windows of those that were seen lately; of more than ``most`` those that opened first are forgotten."""

    def __init__(self, window_s: float, *, most: int, shared: SharedCount | None) -> None:
        self._window_s = window_s
        self._most = most
        self._shared = shared
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def open(self, key: str, now: float) -> _Window:
        """Return the window that is open, opened if none is."""
        window = self._windows.get(key)
        if window is None or now >= window.ends:
            left_s = self._shared.others_and_left_s(key)[1] if self._shared is not None else 0.0
            window = self._windows[key] = _Window(now + (left_s or self._window_s))
            self._windows.move_to_end(key)
            if len(self._windows) > self._most:
                self._windows.popitem(last=False)
        return window

    def add(self, key: str, window: _Window, amount: int, now: float) -> int:
        """Count in an open window, and return how many there are now, those of other workers too."""
        window.count += amount
        if self._shared is None:
            return window.count
        self._shared.set(key, window.count, left_s=window.ends - now)
        return window.count + self._shared.others(key)

    def take_back(self, key: str, now: float) -> None:
        """Take back one of those that were counted."""
        window = self._windows.get(key)
        if window is not None and window.count:
            self.add(key, window, -1, now)


class FailureLimit:
    """The failures of each address, IPv6 by /64."""

    def __init__(
        self,
        *,
        failures: int = 20,
        window_s: float = 60.0,
        addresses: int = 10_000,
        shared: SharedCount | None = None,
    ) -> None:
        self._failures = failures
        self._window_s = window_s
        self._windows = _Windows(window_s, most=addresses, shared=shared)

    def begin(self, address: str, now: float) -> LimitReached | None:
        """Count an attempt, at ``now`` in monotonic seconds; return what to raise if it fails and is one too many.

        Of more addresses than are kept, those that opened a window first are forgotten.
        """
        counted = counted_as(address)
        window = self._windows.open(counted, now)
        if self._windows.add(counted, window, 1, now) <= self._failures:
            return None
        return LimitReached(
            f"too many wrong keys came from this address, {self._failures} in {self._window_s:g} s: try again later, "
            "with a valid one",
            retry_after_s=max(1, math.ceil(window.ends - now)),
        )

    def forgive(self, address: str, now: float) -> None:
        """Take back an attempt that did not fail."""
        self._windows.take_back(counted_as(address), now)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left, after the request that asked for it."""

    limit: int
    remaining: int
    reset_s: int
    """Seconds until all of it is there again, rounded up."""
    exceeded: bool
    """Whether this request is one too many."""


class RequestLimit:
    """The requests of each caller, who has a limit of its own; all windows are of one length."""

    def __init__(self, *, window_s: float, callers: int = 10_000, shared: SharedCount | None = None) -> None:
        self._window_s = window_s
        self._windows = _Windows(window_s, most=callers, shared=shared)

    def take(self, caller: str, limit: int, now: float) -> Allowance:
        """Count one request, at ``now`` in monotonic seconds, and return what is left of the limit.

        Of more callers than are kept, the oldest are forgotten.
        """
        window = self._windows.open(caller, now)
        count = self._windows.add(caller, window, 1, now)
        exceeded = count > limit
        if exceeded:
            self._windows.take_back(caller, now)
            count -= 1
        left_s = min(self._window_s, window.ends - now)  # a sum of floats may be a bit more than its parts
        return Allowance(limit, max(0, limit - count), max(1, math.ceil(left_s)), exceeded)

    def give_back(self, caller: str, now: float) -> None:
        """Take back a request that counts elsewhere."""
        self._windows.take_back(caller, now)
