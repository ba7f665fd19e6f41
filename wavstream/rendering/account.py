"""What a fold says of the file that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wavstream.model.recording import Gap, Integrity, LegReceipt, Pause, Receipt, TakeOver
from wavstream.rendering.timeline.clock import us_of
from wavstream.rendering.timeline.render_stats import MAX_GAPS, MAX_PAUSES
from wavstream.rendering.timeline.spans import away_us, drift_ppm, reconnect_gaps, track_receipts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wavstream.rendering.inspection.inspector import Inspector
    from wavstream.rendering.output import Output
    from wavstream.rendering.timeline.render_stats import RenderStats
    from wavstream.rendering.timeline.spans import TrackReceipt
    from wavstream.rendering.timeline.timeline import Timeline

_WITHHELD_GAP_US = 100_000
"""Less is the frame in hand, and jitter: each pause has that."""


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
        """Return the receipt of the file whose bytes after the header have this hash."""
        return Receipt(
            sample_rate=self.sample_rate,
            channels=self.channels,
            samples=self.samples,
            audio_sha256=audio_sha256,
            size_bytes=size_bytes,
            legs=self.legs,
            integrity=self.integrity,
        )


def file_account(
    output: Output, timeline: Timeline, inspector: Inspector, stats: RenderStats, *, has_pause_in_journal: bool
) -> FileAccount:
    """Return what those who make the file have to say of it so far."""
    # Times of a receipt count from the beginning of the file.
    begin_ms = us_of(output.begin, output.sample_rate_hz) // 1000
    withheld = _withheld_gaps(stats, output)
    gaps = sorted([*stats.gaps, *reconnect_gaps(timeline.streams), *withheld], key=lambda gap: gap.start_ms)
    integrity = Integrity(
        samples=output.samples * output.channels,
        lost_ms=stats.lost_us // 1000,
        late_frames=stats.late_frames,
        late_ms=stats.late_us // 1000,
        duplicate_frames=stats.duplicate_frames,
        reordered_frames=stats.reordered_frames,
        clock_restarts=stats.clock_restarts,
        redundant_frames=stats.redundant_frames,
        redundant_ms=stats.redundant_us // 1000,
        paused_ms=stats.paused_us // 1000,
        after_limit_ms=stats.after_limit_us // 1000,
        clipped_samples=stats.clipped_samples,
        gaps=tuple(replace(gap, start_ms=gap.start_ms - begin_ms) for gap in gaps[:MAX_GAPS]),
        gaps_omitted=stats.gaps_omitted + len(gaps[MAX_GAPS:]),
        pauses=tuple(
            Pause(start // 1000 - begin_ms, (end - start) // 1000, behavior)
            for start, end, behavior in output.pauses.told(MAX_PAUSES)
        ),
        pauses_omitted=max(0, len(output.pauses.spans) - MAX_PAUSES),
        facts_omitted=stats.facts_omitted,
        events_omitted=stats.events_omitted,
        drift_ppm=drift_ppm(timeline.streams),
        trimmed_ms=output.trimmed,
        paused_audio_in_journal=has_pause_in_journal,
        take_overs=tuple(_take_overs(stats, timeline, begin_ms)),
    )
    tracks = track_receipts(timeline.streams, output.written_us)
    return FileAccount(
        sample_rate=output.sample_rate_hz,
        channels=output.channels,
        samples=output.samples,
        legs=tuple(_leg_receipt(track, output, inspector, begin_ms) for track in tracks),
        integrity=integrity,
        before_start_ms=stats.before_us // 1000,
    )


def _withheld_gaps(stats: RenderStats, output: Output) -> list[Gap]:
    """Return what was said in no pause, and was withheld since it came in one: a backlog of the peer, or ours."""
    begin_us, written_us = us_of(output.begin, output.sample_rate_hz), output.written_us
    return [
        Gap(leg, track, part_us // 1000, (over_us - part_us) // 1000, "pause")
        for (leg, track), spans in stats.withheld_us.items()
        for start_us, end_us in spans
        for part_us, over_us in output.pauses.outside(max(start_us, begin_us), min(end_us, written_us))
        if over_us - part_us >= _WITHHELD_GAP_US
    ]


def _take_overs(stats: RenderStats, timeline: Timeline, begin_ms: int) -> Iterator[TakeOver]:
    for at_us, event in stats.take_overs[:MAX_GAPS]:
        yield TakeOver(
            at_ms=at_us // 1000 - begin_ms,
            from_node=event.from_node,
            to_node=event.to_node,
            replicated_through_ms=max(0, (at_us - event.behind_us) // 1000 - begin_ms),
            missing_ms={leg: missing_us // 1000 for leg, missing_us in away_us(timeline.streams, at_us).items()},
        )


def _leg_receipt(track: TrackReceipt, output: Output, inspector: Inspector, begin_ms: int) -> LegReceipt:
    facts = track.first
    return LegReceipt(
        leg=facts.leg,
        track=track.track,
        # A track of which nothing is in the file is on no channel.
        channel=output.channel((facts.leg, track.track)) if track.has_audio else None,
        dialect=facts.dialect,
        codec=facts.format.codec,
        rate=facts.format.rate_hz,
        joined_ms=max(0, track.joined_us // 1000 - begin_ms),
        left_ms=max(0, track.left_us // 1000 - begin_ms),
        pace=inspector.pace(facts.leg, track.track),
        suspicions=inspector.suspicions(facts.leg, track.track),
    )
