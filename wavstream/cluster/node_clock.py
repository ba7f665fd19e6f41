"""How far another node's clock is from ours: a warning and nothing else (rule 4 of ``node_life``)."""

from __future__ import annotations

from collections import deque

CLOCKS_DIFFER_US = 1_000_000
_CLOCKS_AGREE_US = 500_000
_CLOCK_BEATS = 4


class OwnWay:
    """How long an entry of ours takes to NATS and back, by one clock: of what we hear of others it is no less late."""

    def __init__(self) -> None:
        self._took_us: deque[int] = deque(maxlen=_CLOCK_BEATS)

    def saw(self, took_us: int) -> None:
        """Take in how long one took."""
        self._took_us.append(max(0, took_us))

    @property
    def least_us(self) -> int:
        """The shortest of a few; 0: none was seen yet."""
        return min(self._took_us, default=0)


class NodeClock:
    """How another node's clock differs from ours (rule 4)."""

    def __init__(self) -> None:
        self._behind_us: deque[int] = deque(maxlen=_CLOCK_BEATS)
        self._differs = False

    def saw(self, behind_us: int, *, on_the_way_us: int = 0) -> int | None:
        """Take in by how much its clock was behind ours in an entry; return by how much it is, where that is news.

        ``on_the_way_us``: how long the entry may have been on its way; by so much less it may be behind.
        """
        self._behind_us.append(behind_us)
        if len(self._behind_us) < _CLOCK_BEATS:
            return None
        most_us = min(self._behind_us)
        least_us = min(most_us, max(0, most_us - on_the_way_us))  # what is sure; an entry is never early
        if self._differs:
            self._differs = abs(least_us) > _CLOCKS_AGREE_US
            return None
        self._differs = abs(least_us) > CLOCKS_DIFFER_US
        return least_us if self._differs else None
