"""When rings of objects that nobody has any more are looked for: seldom, since a look stops all that the process does.

Python looks through what is young after each 700 objects, and through everything whenever that has grown by a quarter.
With caches that audio has filled, a look takes up to 0.8 us an object, and a leg has 180 of them: while 1,000 legs
began, looks of 80 and 140 ms stopped the loop, and one of 8 to 15 ms each second after that. So here:

1. What is over lets go of what it had, and is gone at once: calls and connections that end leave no ring behind
   (``tests/acceptance/test_rings.py``). Python's own looks are off (decision 33).
2. What a library leaves, or an exception that somebody keeps, is looked for once there may be much of it: ``MOST``
   objects beside those that legs have.
3. While nobody streams a look is short and stops nobody: then ``LEAST`` are enough.

Start-up's own objects are in no look: they stay as long as the process.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

import structlog

LOOK_S = 10.0
"""From one question whether there may be much to the next."""
LEAST = 20_000
MOST = 500_000
"""With what they hold about 100 MB."""
OBJECTS_A_LEG = 500
"""More than a leg has with its share of session, recording and fold."""

log = structlog.get_logger(__name__)


def is_due(grown: int, legs: int) -> bool:
    """Return whether to look for rings (rules 2 and 3); ``grown``: objects more than after the last look."""
    return grown > (MOST + OBJECTS_A_LEG * legs if legs else LEAST)


class Garbage:
    """The looks of one process."""

    def __init__(self, legs: Callable[[], int]) -> None:
        """``legs`` says how many are open."""
        self._legs = legs

    def __enter__(self) -> None:
        """Take the place of Python's own looks."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._arm()

    def __exit__(self, *_: object) -> None:
        """Let Python look by itself again."""
        self._timer.cancel()
        gc.enable()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._arm()
        # Of the young, where all are young: made and not freed since the last look.
        if not is_due(gc.get_count()[0], self._legs()):
            return
        began_s = time.perf_counter()
        objects = gc.collect()
        if objects:
            log.info("garbage_collected", objects=objects, took_ms=round((time.perf_counter() - began_s) * 1000))
