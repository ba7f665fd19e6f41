"""How many wrong keys an address may send; pure, ``now`` is a parameter.

A fixed window an address: it opens with the first wrong key and closes ``window_s`` later.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from wavstream.errors import LimitReached


@dataclass(slots=True)
class _Window:
    ends: float
    failures: int


class FailureLimit:
    """Counts failures by address and refuses an address that had too many."""

    def __init__(self, *, failures: int = 20, window_s: float = 60.0, addresses: int = 10_000) -> None:
        self._failures = failures
        self._window_s = window_s
        self._addresses = addresses
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Raise LimitReached if the address had too many failures; ``now`` in monotonic seconds."""
        window = self._windows.get(address)
        if window is not None and now < window.ends and window.failures >= self._failures:
            raise LimitReached(
                "too many wrong keys came from this address: try again later, with a valid one",
                retry_after_s=max(1, math.ceil(window.ends - now)),
            )

    def failed(self, address: str, now: float) -> None:
        """Count one failure. Of more addresses than are kept, those that opened a window first are forgotten."""
        window = self._windows.get(address)
        if window is not None and now < window.ends:
            window.failures += 1
            return
        self._windows[address] = _Window(now + self._window_s, 1)
        self._windows.move_to_end(address)
        if len(self._windows) > self._addresses:
            self._windows.popitem(last=False)
