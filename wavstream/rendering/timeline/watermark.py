"""How far the file may be written.

It is written as far as every open stream is known: a stream that is behind is waited for, but for no longer than the
hold. It is not written past the last clock record, so that a pause or a stop that comes next still finds its place in
front of the pen. Only a sender that is faster than real time by more than the lead is written sooner, or what it
sends would pile up in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STALL_WAIT_US = 3_000_000
_LEAD_US = 2_000_000


def watermark(covered_us: Iterable[int], *, now_us: int, written_us: int, stall_wait_us: int = STALL_WAIT_US) -> int:
    """The time that may be written up to, given up to when each track of the open streams is known (at least one)."""
    known_us = min(covered_us)
    known_us = min(known_us, max(now_us, known_us - _LEAD_US))
    return max(written_us, known_us, now_us - stall_wait_us)
