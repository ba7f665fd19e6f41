"""The fold: a session's journal in, one recording's file bytes and facts out.

1. Nothing is decided between two *canonical points*: a clock record 0.8 s or more after the last one that was one, or
   the stop. Frames are only collected until one comes, so that the file does not depend on how the journal was cut on
   its way here, and the work is a fixed number of array operations for each stretch, not for each frame.
2. What happens in between (a stream opens, a pause begins) cuts the collected frames where it happened.
3. At a canonical point the timeline places what its clocks let it place and says how far the call is known. Everything
   up to there is mixed, encoded and never touched again.
4. While no stream is waited for, what is placed is written and nothing else: a stop may lie before this moment.
5. The file's rate is decided 2 s after the first frame; the channels of legs when something is first to be written.
6. A recording ends at its stop record, or before by itself: at a limit or a timeout, which the output finds to the
   sample, or where a terminator was pressed. The stop record follows then too, written by whoever was told; what comes
   until it is counted. An end that was found wins over a stop that lies later, however late the fold gets there.
7. The file waits long for a leg that is behind. Listeners, and what ends a recording by itself, cannot: for them a copy
   of the fold goes ahead, with the same items and less patience, that writes nothing. Whether somebody listens changes
   nothing in the file: one that was made for who listens decides nothing. One that was made because the recording may
   end by itself is made at the same moments whoever listens, and where it finds the end the file ends.
8. Time in which the server did not read its sockets is counted by nobody who waits. A stop in it is written when all
   that was said before has been read, and cuts off what follows. What ends tracks says how late those were read.
9. What one feed brings is written in one go, where nothing lies between (``writing``).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from wavstream.journal.events import (
    Digit,
    LeftOut,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    ServerStarted,
    StreamClosed,
    StreamOpened,
    TakenOver,
)
from wavstream.journal.frame_run import FrameRun, owned
from wavstream.journal.records import ClockRecord, Damage, EventRecord
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.rendering.account import FileAccount, file_account
from wavstream.rendering.codecs.decode import decode
from wavstream.rendering.codecs.resample import Resampler
from wavstream.rendering.inspection.inspector import Inspector
from wavstream.rendering.mixer.mix import BEEP_HZ
from wavstream.rendering.output import Output
from wavstream.rendering.tap import Tap
from wavstream.rendering.timeline.clock import EARLY_SETTLE_US, Patience, samples_at
from wavstream.rendering.timeline.render_stats import RenderStats
from wavstream.rendering.timeline.timeline import Timeline
from wavstream.rendering.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wavstream.journal.events import JournalEvent, StreamFacts
    from wavstream.journal.records import Item
    from wavstream.model.recording import Recording

TICK_US = 800_000
"""Clock records that follow a canonical point sooner are none: array operations cost the same for 40 frames as 20."""


class Fold:
    """One recording, folded from its session's journal."""

    def __init__(self, recording_id: str, *, patience: Patience | None = None) -> None:
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
        self._patience = copy.deepcopy(patience or Patience())  # each goes over its own journal's unread time
        self._origin_us = 0
        self._ticked_us = self._clocked_us = 0  # the last canonical point, and the last clock record
        self._runs: list[FrameRun] = []  # since the last canonical point, or event that cuts
        self._stats = RenderStats(remarks=self.remarks)
        self._has_pause_in_journal = False
        self._returns_beep: tuple[int, ...] = ()
        self._rate_hz: int | None = None
        self._ahead: Fold | None = None
        """A fold of the same that waits for less, while this one is far behind and somebody cannot wait."""
        self._ahead_may_end = False  # whether that one was made because the recording may end by itself
        self._decides_rate = True  # the file's; one that is ahead for who listens is told
        self._begin(RecordingOptions(), (), may_begin_earlier=False)

    @property
    def has_audio(self) -> bool:
        """Whether anything that was said is in the file."""
        return self._output.has_audio

    @property
    def kept_bytes(self) -> int | None:
        """Where the audio would be cut if the recording ended now, in bytes, perhaps beyond its end; None: nowhere.

        It only grows. Within the bytes of an earlier ``feed`` it can move only to their end.
        """
        return self._output.kept_bytes

    @property
    def next_point_us(self) -> int:
        """A clock record of this Unix time in microseconds or later will be the next canonical point."""
        return self._origin_us + self._ticked_us + TICK_US

    def feed(self, items: Iterable[Item]) -> bytes:
        """Return the file bytes after the header that items complete; none count before the start or after the stop."""
        out: list[bytes] = []
        for item in items:
            if self.complete:
                break
            # The usual case first, without a call.
            if isinstance(item, FrameRun) and self._ahead is None and self.ended is None and self.started is not None:
                self._runs.append(item)
            elif audio := self._take(item):
                out.append(audio)
        if audio := self._writing.write_owed():
            out.append(audio)
        # What waits for the next point is little, but is a view of all that was read: 60 kB of a call.
        for fold in (self,) if self._ahead is None else (self, self._ahead):
            fold._runs = owned(fold._runs)
        return out[0] if len(out) == 1 else b"".join(out)

    def header(self) -> bytes:
        """Return the header that is right for what was returned so far; its size is fixed once there is audio."""
        return self._output.header()

    def account(self) -> FileAccount:
        """Return what there is to say of the file so far; final once the recording has ended."""
        journaled = self._has_pause_in_journal
        return file_account(self._output, self._timeline, self._inspector, self._stats, has_pause_in_journal=journaled)

    def _take(self, item: Item) -> bytes:
        """Take in an item, and return the file bytes that it completes."""
        out = b"" if isinstance(item, FrameRun | ClockRecord) else self._writing.write_owed()
        if self.ended is not None:
            self._take_after_end(item)
        elif self.started is None:
            self._await_start(item)
        elif isinstance(item, FrameRun):
            self._runs.append(item)
        elif isinstance(item, ClockRecord):
            now_us = self._clocked_us = item.arrival_us - self._origin_us
            if item.unread_us:  # rule 8
                self._patience.was_unread(now_us - item.unread_us, now_us)
            if now_us - self._ticked_us >= TICK_US:  # rule 1
                self._ticked_us = now_us
                out += self._tick(now_us)
        elif isinstance(item, Damage):
            self._stats.damage_us.append((item.after_us - self._origin_us, item.arrival_us - self._origin_us))
        else:
            self._patience.late_us = getattr(item.event, "late_us", 0)  # of those that end tracks
            out += self._apply(item.event, item.arrival_us - self._origin_us)
        if self._ahead is not None:
            self._ahead._rate_hz = self._rate_hz
            self._ahead._take(item)
            self._rate_hz = self._ahead._rate_hz
            if not isinstance(item, FrameRun):
                out += self._obey(item.arrival_us - self._origin_us)
        return out

    # ---- what the journal tells; times count from the start of the recording, in microseconds ----------------------

    def _await_start(self, item: Item) -> None:
        if not isinstance(item, EventRecord) or not isinstance(start := item.event, RecordingStarted):
            return
        if start.recording.id != self._recording_id:
            return
        self.started = start.recording
        self._origin_us = item.arrival_us
        # Where nothing was sent yet the recording starts with the first frame, and has what that brings.
        is_first = all(stream.floor_us is None for stream in start.streams)
        self._begin(start.recording.options, start.leg_order, may_begin_earlier=is_first)
        self._returns_beep = start.returns_beep
        for stream in start.streams:
            floor_us = stream.floor_us
            self._open_stream(
                stream.facts,
                joined_us=stream.joined_us - self._origin_us,
                position=stream.position,
                reference_us=None if floor_us is None else floor_us - self._origin_us,
            )

    def _begin(self, options: RecordingOptions, leg_order: Iterable[str], *, may_begin_earlier: bool) -> None:
        """Make the parts anew: before the start record those of a recording with default options, for its header."""
        self._options = options
        self._inspector = Inspector()
        self._output = Output(options, leg_order, stats=self._stats, tap=self.tap)
        self._timeline = Timeline(
            options.track,
            origin_us=self._origin_us,
            patience=self._patience,
            may_begin_earlier=may_begin_earlier,
            trails=not self._output.may_time_out,
            beep_hz=BEEP_HZ if options.beep else None,
            stats=self._stats,
            decode=decode,
            resampler=Resampler,
            inspect=self._inspector.look,
        )
        self._writing = Writing(self._output, self._timeline)

    def _apply(self, event: JournalEvent, now_us: int) -> bytes:
        """Apply what happened; return the bytes of the file that it completes."""
        pauses = self._output.pauses
        if isinstance(event, StreamOpened | StreamClosed | ServerStarted):
            self._feed_timeline()  # rule 2
        if isinstance(event, StreamOpened):
            self._open_stream(event.facts, joined_us=now_us)
        elif isinstance(event, StreamClosed):
            self._timeline.close_stream(event.stream, now_us=now_us, is_lost=not event.clean)
        elif isinstance(event, ServerStarted):
            self._output.miss(self._clocked_us)  # rule 8: nor was it there to hear anything
            self._timeline.lose_all_streams(now_us=now_us)
        elif isinstance(event, RecordingPaused) and event.recording_id == self._recording_id:
            # With a sender ahead of real time the file is ahead of the clock: a pause lasts from where it is written
            # to when it begins, to where it is written to when it ends.
            pauses.begin(max(now_us, self._output.written_us), event.behavior or self._options.pause_behavior)
            self._has_pause_in_journal |= event.journaled
        elif isinstance(event, RecordingResumed) and event.recording_id == self._recording_id:
            pauses.end(max(now_us, self._output.written_us))
        elif isinstance(event, RecordingStopped) and event.recording_id == self._recording_id:
            self.complete = True
            return self._end(event, now_us)
        elif isinstance(event, LeftOut | TakenOver):
            self._stats.note(event, now_us)
        elif isinstance(event, Digit) and event.digit in self._options.terminators:
            return self._terminate(event, now_us)
        return b""

    def _open_stream(
        self, facts: StreamFacts, *, joined_us: int, position: int = 0, reference_us: int | None = None
    ) -> None:
        self._output.find(joined_us)
        self._inspector.open(facts)
        self._output.layout.add(facts.leg, facts.channel)
        self._timeline.open_stream(facts, joined_us=joined_us, position=position, reference_us=reference_us)

    def _feed_timeline(self) -> None:
        runs, self._runs = self._runs, []
        self._timeline.feed(runs)

    def _take_after_end(self, item: Item) -> None:
        """Count what comes between the end that was found and the stop record (rule 6)."""
        if isinstance(item, FrameRun):
            self._stats.after_limit_us += self._timeline.length_us([item])
        elif isinstance(item, EventRecord) and isinstance(item.event, RecordingStopped):
            self.complete = item.event.recording_id == self._recording_id

    # ---- canonical points --------------------------------------------------------------------------------------------

    def _tick(self, now_us: int) -> bytes:
        self._feed_timeline()
        heard_us = self._timeline.heard_us
        if heard_us is not None and now_us - heard_us >= EARLY_SETTLE_US:
            self._decide_rate()
        out = self._write_known(now_us)
        if not self._patience.is_early:
            known_us = self._look_ahead(now_us)
            if known_us is not None and self._ahead is None and self.tap.is_on and self._output.is_open:
                self._let_hear(known_us)
        return out

    def _write_known(self, now_us: int) -> bytes:
        ready_us = self._timeline.ready(now_us)  # rule 3
        if ready_us is None:
            return self._write_all(0)  # rule 4
        if not self._output.is_open:
            if ready_us <= 0 or not self._open():
                return b""
            # Only now that the file has a rate do resamplers hold samples back.
            ready_us = self._timeline.known_us(now_us) or 0
        return self._write(samples_at(ready_us, self._output.sample_rate_hz), may_wait=self._ahead is None)

    def _look_ahead(self, now_us: int) -> int | None:
        """Have a fold ahead while this one waits longer than some can (rule 7); return up to when the call is known."""
        may_end = self._output.may_end_by(now_us)
        is_wanted = self.ended is None and (may_end or self.tap.is_on)
        known_us = self._timeline.known_us(now_us, trails=False) if is_wanted else None
        if known_us is None:  # rule 4
            self._ahead = None
            return None
        # Listeners hear what is placed already. What is to end there, or is to be trimmed, has to be written.
        reached_us = self._output.written_us if may_end or self._output.listens else known_us
        if self._ahead is not None:
            is_reached = self._output.is_open and reached_us >= self._ahead._output.written_us
            if is_reached or may_end is not self._ahead_may_end:
                self._ahead = None
        if self._ahead is None and now_us - reached_us > EARLY_SETTLE_US:
            self._ahead, self._ahead_may_end = self._twin(), may_end
            self._ahead._decides_rate = may_end
            self._ahead._write_known(now_us)
        return known_us

    def _let_hear(self, known_us: int) -> None:
        """Let those who listen hear what is placed, which the file only gets a little later (rule 7)."""
        output, timeline = self._output, self._timeline
        if not output.listens:
            ahead, cover = output.preview(is_whole=timeline.hears), timeline.cover()
            ahead.let_hear(samples_at(known_us, output.sample_rate_hz), lambda at, end: timeline.peek(at, end, cover))

    def _twin(self) -> Fold:
        """Return a fold that has folded the same, but writes no file and waits for less."""
        shared = (self.tap, self.started)
        twin = copy.deepcopy(self, {id(one): one for one in shared})
        twin._patience.shorten()
        return twin

    def _obey(self, now_us: int) -> bytes:
        """End where the fold ahead has found the end: what was decided for those who cannot wait stays (rule 7)."""
        end = self._ahead.ended if self._ahead is not None and self._ahead_may_end else None
        if end is None or self.ended is not None:
            return b""
        self._ahead, self._patience.late_us = None, 0
        self._feed_timeline()
        self._timeline.place_all(now_us)
        return self._cut(end.reason, end.end_us - self._origin_us)

    def _end(self, event: RecordingStopped, now_us: int) -> bytes:
        """End the recording with its stop record, unless it ended before by itself."""
        self._feed_timeline()
        self._timeline.place_all(now_us)
        end_us = event.end_us - self._origin_us
        if event.cuts:  # rule 8
            return self._cut(event.reason, end_us)
        out = self._write_all(end_us)
        self._output.pauses.end(max(end_us, self._output.written_us))
        # rule 6: writing may have found an end that lies before this one.
        return out if self.ended is not None else out + self._finish(event)

    def _terminate(self, event: Digit, now_us: int) -> bytes:
        """End the recording where its stream was when the key was pressed, which a stall may have made late."""
        self._feed_timeline()
        self._timeline.place_all(now_us)
        said_us = self._timeline.said_us(event.stream)
        return self._cut(EndReason.TERMINATOR, now_us if said_us is None else said_us)

    def _cut(self, reason: EndReason, end_us: int) -> bytes:
        """Write what is before this end, of all that is placed; writing may find one that is before it."""
        self._timeline.flush()
        end_us = max(self._output.written_us, end_us)
        out = self._write(samples_at(end_us, self._output.sample_rate_hz)) if self._open() else b""
        return out if self.ended is not None else out + self._end_by_itself(reason, end_us)

    def _end_by_itself(self, reason: EndReason, end_us: int) -> bytes:
        """End the recording without a stop record: what is placed, or waits to be, is not in it (rule 6)."""
        self._stats.after_limit_us += self._timeline.drop_all()
        self._output.pauses.end(max(end_us, self._output.written_us))
        end = RecordingStopped(recording_id=self._recording_id, reason=reason, end_us=self._origin_us + max(end_us, 0))
        return self._finish(end)

    def _finish(self, end: RecordingStopped) -> bytes:
        self.ended, self._ahead = end, None
        return self._output.finish()

    def _open(self) -> bool:
        """Open the file, if it is not open; return False if its rate cannot be known yet (rule 5)."""
        if self._output.is_open:
            return True
        if (rate_hz := self._decide_rate()) is None:
            return False
        output, timeline = self._output, self._timeline
        output.open(rate_hz, begin_us=timeline.begin_us, returned=timeline.returning_tracks(self._returns_beep))
        timeline.open_file(output.sample_rate_hz, output.begin)
        return True

    def _decide_rate(self) -> int | None:
        """Decide the file's rate, once (rule 5): in time for who listens, so that the file has the same."""
        if self._rate_hz is None and self._decides_rate:
            self._rate_hz = self._options.sample_rate or self._timeline.highest_rate_hz
        return self._rate_hz

    def _write_all(self, end_us: int) -> bytes:
        """Write everything that is placed, and silence up to ``end_us``."""
        if not self._open():
            return b""
        owed = self._writing.write_owed()
        # Legs that are there by now get their channels, also if none of them has said anything (rule 5).
        self._output.assign_columns(self._timeline.tracks())
        return owed + self._write(max(samples_at(end_us, self._output.sample_rate_hz), self._timeline.end()))

    def _write(self, upto: int, *, may_wait: bool = False) -> bytes:
        """Write the call up to a sample; the recording may end before, by itself."""
        output = self._output
        out = self._writing.write(upto, may_wait=may_wait)
        if output.ended is not None and self.ended is None:
            out += self._end_by_itself(output.ended, output.written_us)
        return out
