"""The fold: a session's journal in, one recording's file bytes and facts out.

Nothing is decided between two *canonical points*: a clock record 0.8 s or more after the last one that was one, or
the recording's stop. Records are only collected until one of them comes, so that the file does not depend on how the
journal was cut on its way here, and so that the work is a fixed number of array operations for each stretch between
them, not one for each frame. What happens in between (a stream opens, a pause begins) cuts the collected frames where
it happened.

At a canonical point the sources place what their clocks let them place, the watermark says how far the call is known,
and everything up to there is mixed, encoded and never touched again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.journal.events import (
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    ServerStarted,
    StreamClosed,
    StreamOpened,
)
from wavstream.journal.records import Clock, Run
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Integrity, Pause
from wavstream.rendering.account import FileAccount
from wavstream.rendering.pen import Pen
from wavstream.rendering.roster import Roster
from wavstream.rendering.timeline.frames import gather
from wavstream.rendering.timeline.tally import Tally
from wavstream.rendering.timeline.units import samples_at
from wavstream.rendering.timeline.watermark import HOLD_US, watermark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wavstream.journal.events import Event
    from wavstream.journal.records import Item
    from wavstream.model.recording import Recording


TICK_US = 800_000
"""Clock records that follow a canonical point sooner than this are no such point: array operations cost the same for
40 frames as for 20, so twice the stretch is half the work."""


class Fold:
    """One recording, folded from its session's journal."""

    def __init__(self, recording_id: str, *, hold_us: int = HOLD_US) -> None:
        self.started: Recording | None = None
        """The recording as its start record has it; None: that record was not fed yet."""
        self.ended: RecordingStopped | None = None
        """The stop record, once it was folded; the feed that folded it returned the last bytes."""
        self._recording_id = recording_id
        self._hold_us = hold_us
        self._origin_us = 0
        self._ticked_us = 0
        self._runs: list[Run] = []
        self._tally = Tally()
        self._has_pause_in_journal = False
        self._begin(RecordingOptions(), ())

    @property
    def has_audio(self) -> bool:
        """Whether anything that was said is in the file."""
        return self._pen.has_audio

    def feed(self, items: Iterable[Item]) -> bytes:
        """The file bytes, to be appended after the header, that these items complete.

        Items before the recording's start are skipped. Those after its stop do not change the file; what frames they
        bring is counted.
        """
        out: list[bytes] = []
        for item in items:
            if self.ended is not None:
                if isinstance(item, Run):
                    self._count_after_stop(item)
            elif self.started is None:
                self._await_start(item)
            elif isinstance(item, Run):
                self._runs.append(item)
            elif isinstance(item, Clock):
                now_us = item.arrival_us - self._origin_us
                if now_us - self._ticked_us >= TICK_US:
                    self._ticked_us = now_us
                    out.append(self._tick(now_us))
            else:
                out.append(self._happened(item.event, item.arrival_us - self._origin_us))
        return b"".join(out)

    def header(self) -> bytes:
        """The header that is right for what was returned so far; its size never changes once there is audio."""
        return self._pen.header()

    def account(self) -> FileAccount:
        """What there is to say of the file so far; final once the recording has ended."""
        pen, roster, tally = self._pen, self._roster, self._tally
        spans = pen.pauses.spans
        gaps = sorted([*tally.gaps, *roster.reconnect_gaps()], key=lambda gap: gap.start_ms)
        integrity = Integrity(
            samples=pen.samples * pen.channels,
            lost_ms=tally.lost_us // 1000,
            late_frames=tally.late_frames,
            late_ms=tally.late_us // 1000,
            redundant_frames=tally.redundant_frames,
            redundant_ms=tally.redundant_us // 1000,
            paused_ms=tally.paused_us // 1000,
            after_stop_ms=tally.after_stop_us // 1000,
            clipped_samples=tally.clipped_samples,
            gaps=tuple(gaps),
            gaps_omitted=tally.gaps_omitted,
            pauses=tuple(Pause(start // 1000, (end - start) // 1000) for start, end in spans),
            drift_ppm=roster.drift_ppm(),
            paused_audio_in_journal=self._has_pause_in_journal,
        )
        return FileAccount(
            sample_rate=pen.sample_rate_hz,
            channels=pen.channels,
            samples=pen.samples,
            legs=roster.legs(pen.written_us),
            integrity=integrity,
            before_start_ms=tally.before_us // 1000,
        )

    # ---- what the journal tells; times count from the start of the recording, in microseconds ----------------------

    def _await_start(self, item: Item) -> None:
        if isinstance(item, Run | Clock) or not isinstance(item.event, RecordingStarted):
            return
        start = item.event
        if start.recording.id != self._recording_id:
            return
        self.started = start.recording
        self._origin_us = item.arrival_us
        self._begin(start.recording.options, start.leg_order)
        for stream in start.streams:
            floor_us = stream.floor_us
            self._roster.join(
                stream.facts,
                joined_us=stream.joined_us - self._origin_us,
                position=stream.position,
                reference_us=None if floor_us is None else floor_us - self._origin_us,
            )

    def _begin(self, options: RecordingOptions, leg_order: Iterable[str]) -> None:
        self._pen = Pen(options, self._tally)
        self._roster = Roster(options, leg_order, self._tally)

    def _happened(self, event: Event, now_us: int) -> bytes:
        roster, pauses = self._roster, self._pen.pauses
        if isinstance(event, StreamOpened):
            self._deliver()
            roster.join(event.facts, joined_us=now_us)
        elif isinstance(event, StreamClosed):
            self._deliver()
            self._leave(event.stream, now_us, is_lost=not event.clean)
        elif isinstance(event, ServerStarted):
            self._deliver()
            for stream in [*roster.open]:
                self._leave(stream, now_us, is_lost=True)
        elif isinstance(event, RecordingPaused) and event.recording_id == self._recording_id:
            # With a sender ahead of real time the file is ahead of the clock: a pause lasts from pen to pen.
            pauses.begin(max(now_us, self._pen.written_us))
            self._has_pause_in_journal |= event.journaled
        elif isinstance(event, RecordingResumed) and event.recording_id == self._recording_id:
            pauses.end(max(now_us, self._pen.written_us))
        elif isinstance(event, RecordingStopped) and event.recording_id == self._recording_id:
            return self._stop(event, now_us)
        return b""

    def _leave(self, stream: int, now_us: int, *, is_lost: bool) -> None:
        self._roster.leave(stream, now_us=now_us, written_us=self._pen.written_us, is_lost=is_lost)

    def _deliver(self) -> None:
        """Hand the collected frames to their sources."""
        if self._runs:
            runs, self._runs = self._runs, []
            self._roster.receive(gather(runs, self._roster.step_bytes, origin_us=self._origin_us))

    def _count_after_stop(self, run: Run) -> None:
        self._roster.count_after_stop(gather([run], self._roster.step_bytes, origin_us=self._origin_us))

    # ---- canonical points --------------------------------------------------------------------------------------------

    def _tick(self, now_us: int) -> bytes:
        self._deliver()
        pen, roster = self._pen, self._roster
        written_us = pen.written_us
        roster.advance(now_us=now_us, written_us=written_us)
        covered_us = roster.covered_us(now_us)
        if not covered_us:
            # Nobody streams. Whether silence follows or the end is not known: a stop may lie before this moment.
            return self._write_all(0)
        upto_us = watermark(covered_us, now_us=now_us, written_us=written_us, hold_us=self._hold_us)
        if upto_us <= written_us or not self._open():
            return b""
        upto, latest = (samples_at(us, pen.sample_rate_hz) for us in (upto_us, now_us - self._hold_us))
        return self._write(max(latest, min([upto, *roster.held_at()])))

    def _stop(self, event: RecordingStopped, now_us: int) -> bytes:
        self._deliver()
        self._roster.advance(now_us=now_us, written_us=self._pen.written_us, final=True)
        end_us = event.end_us - self._origin_us
        out = self._write_all(end_us)
        self._pen.pauses.end(max(end_us, self._pen.written_us))
        self.ended = event
        return out + self._pen.finish()

    def _open(self) -> bool:
        """Decide the file's rate, if that is due and possible."""
        pen, roster = self._pen, self._roster
        if not pen.is_open:
            rate_hz = roster.sample_rate()
            if rate_hz is None:
                return False
            pen.open(rate_hz)
            roster.freeze(rate_hz)
        return True

    def _write_all(self, end_us: int) -> bytes:
        """Write everything that is placed, and silence up to ``end_us``."""
        if not self._open():
            return b""
        lanes = [lane for _, lane in self._roster.lanes()]
        for lane in lanes:
            lane.flush()
            lane.settle_late()
        return self._write(max(samples_at(end_us, self._pen.sample_rate_hz), *(lane.end for lane in lanes), 0))

    def _write(self, upto: int) -> bytes:
        pen, roster = self._pen, self._roster
        if upto <= pen.written:
            return b""
        lanes = roster.lanes()
        for _, lane in lanes:
            lane.settle_late()
        out = pen.write(upto, lanes)
        roster.wrote(pen.written)
        return out
