"""How soon one thing may be done again; pure, ``now_us`` is a parameter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from wavstream.errors import TooSoon


class Cooldown:
    """A time after something was done in which it is not done again, for each key."""

    def __init__(self, length_us: int) -> None:
        self._length_us = length_us
        self._ends_us: OrderedDict[Hashable, int] = OrderedDict()
        """Those that end first come first: all are equally long."""

    def __len__(self) -> int:
        return len(self._ends_us)

    def check(self, key: Hashable, now_us: int) -> None:
        """Raise TooSoon while the cooldown of this key lasts."""
        left_us = self._ends_us.get(key, now_us) - now_us
        if left_us > 0:
            raise TooSoon("Command cooldown", retry_after_s=-(-left_us // 1_000_000))

    def begin(self, key: Hashable, now_us: int) -> None:
        """It was done: the cooldown of this key begins. Those that are over are forgotten."""
        while self._ends_us and next(iter(self._ends_us.values())) <= now_us:
            self._ends_us.popitem(last=False)
        self._ends_us[key] = now_us + self._length_us
        self._ends_us.move_to_end(key)
