"""The pauses of one recording: when they were, and what each leaves in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.rendering.timeline.clock import samples_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wavstream.model.options import PauseBehavior


class Pauses:
    """The pauses of one recording, in microseconds from its start; exact to the sample of the file's rate."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        """Those that are over, as (start, end)."""
        self.since_us: int | None = None
        """When the one that lasts began."""
        self._behaviors: list[PauseBehavior] = []
        """What each leaves in the file, the one that lasts last."""
        self._first = 0
        """The first span that may lie ahead of the point of writing."""

    def copy(self) -> Pauses:
        """Return the same pauses, to be split independently."""
        same = Pauses()
        same.spans, same.since_us, same._behaviors = [*self.spans], self.since_us, [*self._behaviors]
        same._first = self._first
        return same

    @property
    def lie_ahead(self) -> bool:
        """Whether one lasts, or lies ahead of the point of writing."""
        return bool(self._behaviors[self._first :])

    def begin(self, at_us: int, behavior: PauseBehavior) -> None:
        """Begin a pause, unless one lasts already."""
        if self.since_us is None:
            self.since_us = max(at_us, self.spans[-1][1] if self.spans else 0)
            self._behaviors.append(behavior)

    def end(self, at_us: int) -> None:
        """End the pause that lasts, if any; one without length never was."""
        if self.since_us is not None:
            if at_us > self.since_us:
                self.spans.append((self.since_us, at_us))
            else:
                self._behaviors.pop()
        self.since_us = None

    def told(self, most: int) -> list[tuple[int, int, PauseBehavior]]:
        """Return the first of those that are over, as (start, end, what it left in the file)."""
        return [(*span, behavior) for span, behavior in zip(self.spans[:most], self._behaviors, strict=False)]

    def outside(self, start_us: int, end_us: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of a stretch that lie in no pause, as (start, end)."""
        lasting = [] if self.since_us is None else [(self.since_us, end_us)]
        for begin_us, over_us in (*self.spans, *lasting):
            if begin_us >= end_us:
                break
            if begin_us > start_us:
                yield start_us, begin_us
            start_us = max(start_us, over_us)
        if start_us < end_us:
            yield start_us, end_us

    def split(self, start: int, end: int, rate_hz: int) -> Iterator[tuple[int, PauseBehavior | None]]:
        """Yield ``start`` to ``end`` as consecutive (end of the part, what its pause leaves in the file), in samples.

        None: the part is not paused. Whoever calls again starts where the last call ended.
        """
        at = start
        for begin_us, end_us, behavior in self._ahead():
            begin = samples_at(begin_us, rate_hz)
            if begin >= end:
                break
            if begin > at:
                yield begin, None
                at = begin
            over = end if end_us is None else min(end, samples_at(end_us, rate_hz))
            if over > at:
                yield over, behavior
                at = over
            if end_us is not None and over < end:
                self._first += 1
        if at < end:
            yield end, None

    def _ahead(self) -> list[tuple[int, int | None, PauseBehavior]]:
        spans: list[tuple[int, int | None]] = [*self.spans[self._first :]]
        if self.since_us is not None:
            spans.append((self.since_us, None))
        return [(*span, behavior) for span, behavior in zip(spans, self._behaviors[self._first :], strict=True)]
