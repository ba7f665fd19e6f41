"""The fold: a session's journal in, one recording's file bytes and facts out.

Nothing is decided between two *canonical points*: a clock record 0.8 s or more after the last one that was one, or
the recording's stop. Records are only collected until one of them comes, so that the file does not depend on how the
journal was cut on its way here, and so that the work is a fixed number of array operations for each stretch between
them, not one for each frame. What happens in between (a stream opens, a pause begins) cuts the collected frames where
it happened.

At a canonical point the sources place what their clocks let them place, the watermark says how far the call is known,
and everything up to there is mixed, encoded and never touched again.

A recording ends at its stop record, or before by itself: at a limit or a timeout, which the pen finds to the sample, or
where a terminator was pressed. The stop record follows then too, written by whoever was told; what comes until it is
counted. An end that was found wins over a stop that lies later, however late the fold gets there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.journal.events import (
    Digit,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    ServerStarted,
    StreamClosed,
    StreamOpened,
)
from wavstream.journal.records import ClockRecord, EventRecord, FrameRun
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.rendering.account import FileAccount, file_account
from wavstream.rendering.encoders.tap import Tap
from wavstream.rendering.pen import Pen
from wavstream.rendering.roster import Roster
from wavstream.rendering.timeline.frames import gather
from wavstream.rendering.timeline.tally import Tally
from wavstream.rendering.timeline.units import samples_at
from wavstream.rendering.timeline.watermark import STALL_WAIT_US, watermark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wavstream.journal.events import JournalEvent
    from wavstream.journal.records import Item
    from wavstream.model.recording import Recording


TICK_US = 800_000
"""Clock records that follow a canonical point sooner than this are no such point: array operations cost the same for
40 frames as for 20, so twice the stretch is half the work."""


class Fold:
    """One recording, folded from its session's journal."""

    def __init__(self, recording_id: str, *, stall_wait_us: int = STALL_WAIT_US) -> None:
        self.started: Recording | None = None
        """The recording as its start record has it; None: that record was not fed yet."""
        self.ended: RecordingStopped | None = None
        """How the recording ended, once it has: its stop record, or one that says the same of an end that was found.

        The feed that came to the end returned the last bytes."""
        self.complete = False
        """Whether the stop record was read: the account is final."""
        self.remarks: list[str] = []
        """What was noticed, a sentence each, for a log; whoever reads them clears them."""
        self.tap = Tap()
        """Where what goes into the file can be listened to."""
        self._recording_id = recording_id
        self._stall_wait_us = stall_wait_us
        self._origin_us = 0
        self._ticked_us = 0
        self._runs: list[FrameRun] = []
        self._tally = Tally(remarks=self.remarks)
        self._has_pause_in_journal = False
        self._returns_beep: tuple[int, ...] = ()
        self._begin(RecordingOptions(), ())

    @property
    def has_audio(self) -> bool:
        """Whether anything that was said is in the file."""
        return self._pen.has_audio

    @property
    def kept_bytes(self) -> int | None:
        """How much of the audio stays were the recording to end now, which may be more than there is yet; None: all.

        It never shrinks, and never moves in bytes of an earlier ``feed`` but to its end.
        """
        return self._pen.kept_bytes

    @property
    def next_point_us(self) -> int:
        """A clock record of this Unix time in microseconds or later will be the next canonical point."""
        return self._origin_us + self._ticked_us + TICK_US

    def feed(self, items: Iterable[Item]) -> bytes:
        """The file bytes, to be appended after the header, that these items complete.

        Items before the recording's start and after its stop are skipped.
        """
        out: list[bytes] = []
        for item in items:
            if self.complete:
                break
            if self.ended is not None:
                self._take_after_end(item)
            elif self.started is None:
                self._await_start(item)
            elif isinstance(item, FrameRun):
                self._runs.append(item)
            elif isinstance(item, ClockRecord):
                now_us = item.arrival_us - self._origin_us
                if now_us - self._ticked_us >= TICK_US:
                    self._ticked_us = now_us
                    out.append(self._tick(now_us))
            else:
                out.append(self._happened(item.event, item.arrival_us - self._origin_us))
        # What waits for the next point is little, but is a view of all that was read: 60 kB of a call.
        self._runs = [run.owned() for run in self._runs]
        return b"".join(out)

    def header(self) -> bytes:
        """The header that is right for what was returned so far; its size never changes once there is audio."""
        return self._pen.header()

    def account(self) -> FileAccount:
        """What there is to say of the file so far; final once the recording has ended."""
        return file_account(self._pen, self._roster, self._tally, has_pause_in_journal=self._has_pause_in_journal)

    # ---- what the journal tells; times count from the start of the recording, in microseconds ----------------------

    def _await_start(self, item: Item) -> None:
        if isinstance(item, FrameRun | ClockRecord) or not isinstance(item.event, RecordingStarted):
            return
        start = item.event
        if start.recording.id != self._recording_id:
            return
        self.started = start.recording
        self._origin_us = item.arrival_us
        self._begin(start.recording.options, start.leg_order)
        self._returns_beep = start.returns_beep
        for stream in start.streams:
            floor_us = stream.floor_us
            self._roster.join(
                stream.facts,
                joined_us=stream.joined_us - self._origin_us,
                position=stream.position,
                reference_us=None if floor_us is None else floor_us - self._origin_us,
            )

    def _begin(self, options: RecordingOptions, leg_order: Iterable[str]) -> None:
        self._terminators = options.terminators
        self._pen = Pen(options, self._tally, self.tap)
        self._roster = Roster(options, leg_order, self._tally)

    def _happened(self, event: JournalEvent, now_us: int) -> bytes:
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
            self.complete = True
            return self._end(event, now_us)
        elif isinstance(event, Digit) and event.digit in self._terminators:
            return self._terminate(event, now_us)
        return b""

    def _leave(self, stream: int, now_us: int, *, is_lost: bool) -> None:
        self._roster.leave(stream, now_us=now_us, written_us=self._pen.written_us, is_lost=is_lost)

    def _deliver(self) -> None:
        """Hand the collected frames to their sources."""
        if self._runs:
            runs, self._runs = self._runs, []
            self._roster.receive(gather(runs, self._roster.step_bytes, origin_us=self._origin_us))

    def _take_after_end(self, item: Item) -> None:
        """Between the end that was found and the stop record."""
        if isinstance(item, FrameRun):
            spare = gather([item], self._roster.step_bytes, origin_us=self._origin_us)
            self._tally.after_limit_us += self._roster.length_us(spare)
        elif isinstance(item, EventRecord) and isinstance(item.event, RecordingStopped):
            self.complete = item.event.recording_id == self._recording_id

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
        upto_us = watermark(covered_us, now_us=now_us, written_us=written_us, stall_wait_us=self._stall_wait_us)
        if upto_us <= written_us or not self._open():
            return b""
        upto, latest = (samples_at(us, pen.sample_rate_hz) for us in (upto_us, now_us - self._stall_wait_us))
        return self._write(max(latest, min([upto, *roster.held_at()])))

    def _end(self, event: RecordingStopped, now_us: int) -> bytes:
        """The recording ends with this event, unless it did so before by itself."""
        self._place_all(now_us)
        end_us = event.end_us - self._origin_us
        out = self._write_all(end_us)
        self._pen.pauses.end(max(end_us, self._pen.written_us))
        return out if self.ended is not None else out + self._finish(event)

    def _terminate(self, event: Digit, now_us: int) -> bytes:
        """A key was pressed that ends the recording: where its stream was, which a stall may have made late."""
        self._place_all(now_us)
        for _, lane in self._roster.lanes():
            lane.flush()
        said_us = self._roster.said_us(event.stream)
        end_us = max(self._pen.written_us, now_us if said_us is None else said_us)
        out = self._write(samples_at(end_us, self._pen.sample_rate_hz)) if self._open() else b""
        return out if self.ended is not None else out + self._found_end(EndReason.TERMINATOR, end_us)

    def _place_all(self, now_us: int) -> None:
        self._deliver()
        self._roster.advance(now_us=now_us, written_us=self._pen.written_us, final=True)

    def _found_end(self, reason: EndReason, end_us: int) -> bytes:
        """The recording has ended by itself: what is placed, or waits to be, is not in it."""
        self._tally.after_limit_us += self._roster.drop_all()
        self._pen.pauses.end(max(end_us, self._pen.written_us))
        end = RecordingStopped(recording_id=self._recording_id, reason=reason, end_us=self._origin_us + max(end_us, 0))
        return self._finish(end)

    def _finish(self, end: RecordingStopped) -> bytes:
        self.ended = end
        return self._pen.finish()

    def _open(self) -> bool:
        """Decide the file's rate, if that is due and possible."""
        pen, roster = self._pen, self._roster
        if not pen.is_open:
            rate_hz = roster.sample_rate()
            if rate_hz is None:
                return False
            pen.open(rate_hz, beep_elsewhere=roster.columns_of_outbound(self._returns_beep))
            roster.freeze(pen.sample_rate_hz)
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
        if pen.ended is not None:
            out += self._found_end(pen.ended, pen.written_us)
        return out
