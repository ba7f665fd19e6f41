"""How far another node's clock is from ours: a warning and nothing else (rule 4 of ``node_life``)."""

from __future__ import annotations

from collections import deque

CLOCKS_DIFFER_US = 1_000_000
_CLOCKS_AGREE_US = 500_000
_CLOCK_BEATS = 4


class NodeClock:
    """How another node's clock differs from ours (rule 4)."""

    def __init__(self) -> None:
        self._behind_us: deque[int] = deque(maxlen=_CLOCK_BEATS)
        self._differs = False

    def saw(self, behind_us: int) -> int | None:
        """Take in by how much its clock was behind ours in an entry; return by how much it is, where that is news."""
        self._behind_us.append(behind_us)
        if len(self._behind_us) < _CLOCK_BEATS:
            return None
        least_us = min(self._behind_us)
        if self._differs:
            self._differs = abs(least_us) > _CLOCKS_AGREE_US
            return None
        self._differs = abs(least_us) > CLOCKS_DIFFER_US
        return least_us if self._differs else None
