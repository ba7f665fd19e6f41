"""What is counted while a file is made: everything accepted that is not in it, and silence that was added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wavstream.journal.events import TakenOver

if TYPE_CHECKING:
    from wavstream.journal.events import LeftOut
    from wavstream.model.audio import Track
    from wavstream.model.recording import Gap

MAX_GAPS = 1_000
MAX_PAUSES = 1_000
"""Pauses in a receipt."""
_ADJOINS_US = 1_000
"""Drift bends what is placed by less."""


@dataclass(slots=True)
class RenderStats:
    """The counts of one recording."""

    lost_us: int = 0
    """Media time that positions passed over."""
    late_frames: int = 0
    """Their place was written already, and there was no silence to put them in."""
    late_us: int = 0
    duplicate_frames: int = 0
    """Had the timestamp and the payload of a recent one."""
    reordered_frames: int = 0
    """Were overtaken, and came out in place."""
    clock_restarts: int = 0
    """Timestamps that could not be true."""
    redundant_frames: int = 0
    """Another stream, or another leg, says the same."""
    redundant_us: int = 0
    paused_us: int = 0
    """Audio of all tracks that fell in pauses."""
    withheld_us: dict[tuple[str, Track], list[tuple[int, int]]] = field(default_factory=dict)
    """By leg and track: where the audio lay that a pause kept off the disk, as (start, end) in the recording."""
    before_us: int = 0
    """Arrived after the start of the recording, but was said before it."""
    after_limit_us: int = 0
    """Came, or was placed, after the recording had ended by itself."""
    clipped_samples: int = 0
    """The sum of the voices of a channel was louder than 16 bits."""
    gaps: list[Gap] = field(default_factory=list)
    gaps_omitted: int = 0
    """Gaps beyond the first thousand."""
    damage_us: list[tuple[int, int]] = field(default_factory=list)
    """Arrivals, from the start of the recording, before and after each place where the journal is damaged."""
    facts_omitted: int = 0
    """Facts of the call that it had no room for."""
    events_omitted: int = 0
    """Digits and marks that came too fast."""
    take_overs: list[tuple[int, TakenOver]] = field(default_factory=list)
    """When another node went on with the call, from the start of the recording, and from what."""
    remarks: list[str] = field(default_factory=list)
    """What is worth a line in the log, a sentence each."""
    _remarked_streams: set[int] = field(default_factory=set)

    def add_gap(self, gap: Gap) -> None:
        """Note a gap, or only count it where there are too many to tell."""
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append(gap)
        else:
            self.gaps_omitted += 1

    def withhold(self, leg: str, track: Track, start_us: int, end_us: int) -> None:
        """Note where withheld audio lay; beyond as many stretches as pauses are listed, nothing more."""
        spans = self.withheld_us.setdefault((leg, track), [])
        if spans and abs(start_us - spans[-1][1]) <= _ADJOINS_US:
            spans[-1] = (spans[-1][0], max(end_us, spans[-1][1]))
        elif len(spans) < MAX_PAUSES:
            spans.append((start_us, end_us))

    def is_damage(self, before_us: int, after_us: int) -> bool:
        """Return whether what lacks between two frames that came then was in a part of the journal that is damaged."""
        return any(before_us <= start_us and end_us <= after_us for start_us, end_us in self.damage_us)

    def note(self, event: LeftOut | TakenOver, now_us: int) -> None:
        """Note what the call had no room for, or that another node went on with it, at this time of the recording.

        A restart counts anew what is left out: what was before it stays said.
        """
        if isinstance(event, TakenOver):
            self.take_overs.append((now_us, event))
            return
        self.facts_omitted = max(self.facts_omitted, event.facts)
        self.events_omitted = max(self.events_omitted, event.events)

    def add_remark(self, stream: int, remark: str) -> None:
        """Note a stream's first oddity; the counts tell of the others."""
        if stream not in self._remarked_streams:
            self._remarked_streams.add(stream)
            self.remarks.append(remark)
