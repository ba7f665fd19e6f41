"""What a fold says of the file that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wavstream.model.recording import Integrity, LegReceipt, Pause, Receipt
from wavstream.rendering.stays import drift_ppm, reconnect_gaps

if TYPE_CHECKING:
    from wavstream.rendering.pen import Pen
    from wavstream.rendering.roster import Roster
    from wavstream.rendering.timeline.tally import Tally


@dataclass(frozen=True, slots=True)
class FileAccount:
    """The facts of a receipt that do not need the file's bytes."""

    sample_rate: int
    """Hertz."""
    channels: int
    samples: int
    """Of each channel."""
    legs: tuple[LegReceipt, ...]
    """In order of arrival."""
    integrity: Integrity
    before_start_ms: int
    """Audio that arrived during the recording but was said before it: neither in the file nor lost."""

    def receipt(self, *, audio_sha256: str, size_bytes: int) -> Receipt:
        """The receipt of the file whose bytes after the header have this hash."""
        return Receipt(
            sample_rate=self.sample_rate,
            channels=self.channels,
            samples=self.samples,
            audio_sha256=audio_sha256,
            size_bytes=size_bytes,
            legs=self.legs,
            integrity=self.integrity,
        )


def file_account(pen: Pen, roster: Roster, tally: Tally, *, has_pause_in_journal: bool) -> FileAccount:
    """What those who make the file have to say of it so far."""
    spans = pen.pauses.spans
    gaps = sorted([*tally.gaps, *reconnect_gaps(roster.stays)], key=lambda gap: gap.start_ms)
    integrity = Integrity(
        samples=pen.samples * pen.channels,
        lost_ms=tally.lost_us // 1000,
        late_frames=tally.late_frames,
        late_ms=tally.late_us // 1000,
        duplicate_frames=tally.duplicate_frames,
        reordered_frames=tally.reordered_frames,
        clock_restarts=tally.clock_restarts,
        redundant_frames=tally.redundant_frames,
        redundant_ms=tally.redundant_us // 1000,
        paused_ms=tally.paused_us // 1000,
        after_limit_ms=tally.after_limit_us // 1000,
        clipped_samples=tally.clipped_samples,
        gaps=tuple(gaps),
        gaps_omitted=tally.gaps_omitted,
        pauses=tuple(Pause(start // 1000, (end - start) // 1000) for start, end in spans),
        drift_ppm=drift_ppm(roster.stays),
        trimmed_ms=pen.trimmed,
        paused_audio_in_journal=has_pause_in_journal,
    )
    return FileAccount(
        sample_rate=pen.sample_rate_hz,
        channels=pen.channels,
        samples=pen.samples,
        legs=roster.legs(pen.written_us),
        integrity=integrity,
        before_start_ms=tally.before_us // 1000,
    )
