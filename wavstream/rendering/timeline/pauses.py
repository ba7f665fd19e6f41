"""The stretches of the call that are not in the file, exact to the sample of the file's rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.rendering.timeline.units import samples_at

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pauses:
    """The pauses of one recording, in microseconds from its start."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        """Those that are over, as (start, end)."""
        self.since_us: int | None = None
        """When the one that lasts began."""
        self._first = 0

    def begin(self, at_us: int) -> None:
        """A pause begins, unless one lasts already."""
        if self.since_us is None:
            self.since_us = max(at_us, self.spans[-1][1] if self.spans else 0)

    def end(self, at_us: int) -> None:
        """The pause that lasts, if any, is over; one without length never was."""
        if self.since_us is not None and at_us > self.since_us:
            self.spans.append((self.since_us, at_us))
        self.since_us = None

    def split(self, start: int, end: int, rate_hz: int) -> Iterator[tuple[int, bool]]:
        """``start`` to ``end`` as consecutive (end of the part, whether it is paused), all in samples.

        Whoever calls again starts where the last call ended.
        """
        at = start
        for begin_us, end_us in self._ahead():
            begin = samples_at(begin_us, rate_hz)
            if begin >= end:
                break
            if begin > at:
                yield begin, False
                at = begin
            over = end if end_us is None else min(end, samples_at(end_us, rate_hz))
            if over > at:
                yield over, True
                at = over
            if end_us is not None and over < end:
                self._first += 1
        if at < end:
            yield end, False

    def _ahead(self) -> list[tuple[int, int | None]]:
        spans: list[tuple[int, int | None]] = [*self.spans[self._first :]]
        if self.since_us is not None:
            spans.append((self.since_us, None))
        return spans
