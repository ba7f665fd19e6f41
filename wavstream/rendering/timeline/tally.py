"""What is counted while samples are placed: everything accepted that is not in the file, and silence that was added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wavstream.model.recording import Gap

MAX_GAPS = 1_000


@dataclass(slots=True)
class Tally:
    """The counts of one recording."""

    lost_us: int = 0
    """Media time that positions passed over."""
    late_frames: int = 0
    late_us: int = 0
    duplicate_frames: int = 0
    reordered_frames: int = 0
    clock_restarts: int = 0
    redundant_frames: int = 0
    redundant_us: int = 0
    paused_us: int = 0
    before_us: int = 0
    """Arrived after the start of the recording, but was said before it."""
    after_limit_us: int = 0
    """Came, or was placed, after the recording had ended by itself."""
    clipped_samples: int = 0
    gaps: list[Gap] = field(default_factory=list)
    gaps_omitted: int = 0
    """Gaps beyond the first thousand."""
    remarks: list[str] = field(default_factory=list)
    """What is worth a line in the log, a sentence each."""

    def add_gap(self, gap: Gap) -> None:
        """Note a gap, or only count it where there are too many to tell."""
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append(gap)
        else:
            self.gaps_omitted += 1
