"""How many wrong keys an address may send, and how many requests a caller; pure, ``now`` is a parameter.

Wrong keys are counted so that guessing is seen to fail and costs nothing. The limit changes the answer to a wrong key
and nothing else: a right one is never refused for what else came from its address, which may be a proxy's. An attempt
counts when it begins, or those that are made at once would all be below the limit.

A fixed window for each: it opens with the first wrong key or request and closes ``window_s`` later.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from wavstream.access.origin import counted_as
from wavstream.errors import LimitReached


@dataclass(slots=True)
class _Window:
    ends: float
    failures: int


class FailureLimit:
    """The failures of each address, IPv6 by /64."""

    def __init__(self, *, failures: int = 20, window_s: float = 60.0, addresses: int = 10_000) -> None:
        self._failures = failures
        self._window_s = window_s
        self._addresses = addresses
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def begin(self, address: str, now: float) -> LimitReached | None:
        """Count an attempt, at ``now`` in monotonic seconds; return what to raise if it fails and is one too many.

        Of more addresses than are kept, those that opened a window first are forgotten.
        """
        counted = counted_as(address)
        window = self._windows.get(counted)
        if window is None or now >= window.ends:
            window = self._windows[counted] = _Window(now + self._window_s, 0)
            self._windows.move_to_end(counted)
            if len(self._windows) > self._addresses:
                self._windows.popitem(last=False)
        window.failures += 1
        if window.failures <= self._failures:
            return None
        return LimitReached(
            f"too many wrong keys came from this address, {self._failures} in {self._window_s:g} s: try again later, "
            "with a valid one",
            retry_after_s=max(1, math.ceil(window.ends - now)),
        )

    def forgive(self, address: str) -> None:
        """Take back an attempt that did not fail."""
        window = self._windows.get(counted_as(address))
        if window is not None and window.failures:
            window.failures -= 1


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left, after the request that asked for it."""

    limit: int
    remaining: int
    reset_s: int
    """Seconds until all of it is there again, rounded up."""
    exceeded: bool
    """Whether this request is one too many."""


@dataclass(slots=True)
class _Requests:
    ends: float
    count: int


class RequestLimit:
    """The requests of each caller, who has a limit of its own; all windows are of one length."""

    def __init__(self, *, window_s: float, callers: int = 10_000) -> None:
        self._window_s = window_s
        self._callers = callers
        self._windows: OrderedDict[Hashable, _Requests] = OrderedDict()

    def take(self, caller: Hashable, limit: int, now: float) -> Allowance:
        """Count one request, at ``now`` in monotonic seconds, and return what is left of the limit.

        Of more callers than are kept, the oldest are forgotten.
        """
        window = self._windows.get(caller)
        if window is None or now >= window.ends:
            window = self._windows[caller] = _Requests(now + self._window_s, 0)
            self._windows.move_to_end(caller)
            if len(self._windows) > self._callers:
                self._windows.popitem(last=False)
        exceeded = window.count >= limit
        window.count += not exceeded
        left_s = min(self._window_s, window.ends - now)  # a sum of floats may be a bit more than its parts
        return Allowance(limit, max(0, limit - window.count), max(1, math.ceil(left_s)), exceeded)

    def give_back(self, caller: Hashable) -> None:
        """Take back a request that counts elsewhere."""
        window = self._windows.get(caller)
        if window is not None and window.count:
            window.count -= 1
