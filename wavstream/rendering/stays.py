"""The stays of streams in a recording, and what there is to say of them once they are over.

A leg may stay more than once: its stream is lost and another one comes, or one takes over from one beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wavstream.journal.events import StreamFacts
    from wavstream.model.audio import Track
    from wavstream.model.recording import Gap
    from wavstream.rendering.timeline.lane import Lane
    from wavstream.rendering.timeline.placement import Seat
    from wavstream.rendering.timeline.source import Source


@dataclass(slots=True, eq=False)
class Stay:
    """One stream of a leg, from its opening to its end, as far as it belongs to the recording."""

    facts: StreamFacts
    joined_us: int
    sources: dict[int, Source]
    """By the number that their frames carry."""
    closed_us: int | None = None
    is_lost: bool = False
    """Closed, but not by its own will."""

    def seats(self) -> Iterator[tuple[Seat, Lane, Source]]:
        """The tracks that are part of the recording."""
        for source in self.sources.values():
            for seat in source.seats:
                if seat.lane is not None:
                    yield seat, seat.lane, source


def by_track(stays: Iterable[Stay]) -> dict[tuple[str, Track], list[tuple[Stay, tuple[Seat, Lane, Source]]]]:
    """The stays that brought each track, without those of streams that were only ever beside another."""
    visits: dict[tuple[str, Track], list[tuple[Stay, tuple[Seat, Lane, Source]]]] = {}
    for stay in stays:
        for place in (place for place in stay.seats() if not place[0].is_beside):
            visits.setdefault((place[0].leg, place[0].track), []).append((stay, place))
    return visits


def reconnect_gaps(stays: Iterable[Stay]) -> list[Gap]:
    """The times between a stream that was lost and the next one of its leg."""
    gaps = []
    for visits in by_track(stays).values():
        lost_us: int | None = None
        for stay, (seat, lane, _) in visits:
            if lane.first_us is not None and lost_us is not None and lane.first_us > lost_us:
                gaps.append(seat.gap(lost_us, lane.first_us - lost_us, "reconnect"))
            if stay.closed_us is None or not stay.is_lost:
                lost_us = None
            elif lane.first_us is not None:
                lost_us = lane.last_us
            elif lost_us is None:
                lost_us = stay.closed_us
    return gaps


def drift_ppm(stays: Iterable[Stay]) -> dict[str, int]:
    """How fast the clock of each leg ran, taken from the source that was watched the longest."""
    watched: dict[str, Source] = {}
    for stay in stays:
        for seat, _, source in stay.seats():
            best = watched.get(seat.leg)
            if best is None or source.drift.known_us > best.drift.known_us:
                watched[seat.leg] = source
    return {leg: source.drift.ppm for leg, source in watched.items()}
