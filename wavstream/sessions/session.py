"""One call: its legs come and go, its recordings start and stop.

The session is over when no stream is open and no leg is away (lost, and awaited for the reconnect wait):

- the last stream ended by its own will: the recordings end as ``hangup``;
- the wait for the last leg ran out: they end as ``disconnected`` (``recovered`` if a restart of ours lost it), and the
  file ends where the last stream did, not where the waiting did.

Nothing is journaled while no recording runs. Every method takes ``now_us`` (Unix time in microseconds that never goes
back); nothing here reads a clock or waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from wavstream.dialects.events import StreamStarted
from wavstream.journal import events, records
from wavstream.journal.events import JournalEvent, StreamFacts
from wavstream.journal.journal import Journal
from wavstream.model.call import CallFacts
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc
from wavstream.sessions.legs import Legs
from wavstream.sessions.ports import Renderer, StreamHandle
from wavstream.sessions.recording_tone import RecordingTone
from wavstream.sessions.rules import all_paused, apply_rules
from wavstream.sessions.stream import Stream, facts_of
from wavstream.sessions.timing import FoldSchedule, Timing
from wavstream.sessions.waits import SessionDeadlines


class Session:
    """The live state of one call of one app."""

    def __init__(
        self, *, app_id: str, session_id: str, now_us: int, timing: Timing, renderer: Renderer,
        make_journal: Callable[[Session], Journal], turn: int = 0,
    ) -> None:  # fmt: skip
        self.app_id = app_id
        self.session_id = session_id
        self.created_us = now_us
        self.active_us = now_us
        """When something other than a frame came last; see ``orphans``."""
        self.call = CallFacts()
        self.legs = Legs()
        self.streams: list[Stream] = []
        """The open ones."""
        self.streams_gone = asyncio.Event()
        """The last of them has gone, and none has come since."""
        self.running: dict[str, Recording] = {}
        """Ongoing and paused recordings."""
        self.waiting: dict[str, Recording] = {}
        """Accepted recordings: they start with the first stream."""
        self.waits = SessionDeadlines(timing)
        self.next_stream = 1
        self.next_track = 0
        self.journal: Journal | None = None
        self.was_recorded = False
        """Whether there has been a recording, or one waits."""
        self.last_stream_end_us = now_us
        self._timing = timing
        self._renderer = renderer
        self._make_journal = make_journal
        self._pulse = FoldSchedule(now_us, turn)
        self._beeps = RecordingTone()

    # ---- streams -----------------------------------------------------------------------------------------------

    def open_stream(self, started: StreamStarted, *, handle: StreamHandle, now_us: int) -> Stream:
        """A stream has introduced itself."""
        leg = started.leg or self.legs.free_letter()
        facts = facts_of(started, leg=leg, dialect=handle.dialect, stream=self.next_stream, first_track=self.next_track)
        self._replace_streams_of(facts, started.stream_id, now_us)
        self.next_stream += 1
        self.next_track += len(started.tracks)
        self.learn(started.call)
        self.waits.end()
        self.legs.arrive(leg)
        stream = Stream(session=self, facts=facts, handle=handle, joined_us=now_us, started=started)
        self.streams.append(stream)
        self.streams_gone.clear()
        if self.running:
            self.note(now_us, events.StreamOpened(facts=facts))
            self._beeps.join(stream)
            self._apply_rules()
        for recording in list(self.waiting.values()):
            del self.waiting[recording.id]
            self._renderer.change(self.start(recording, now_us))
        return stream

    def stream_closed(self, stream: Stream, *, clean: bool, now_us: int) -> None:
        """A stream is over, by its own will or not."""
        if stream not in self.streams:
            return
        self.streams.remove(stream)
        stream.forget_frames()
        self.last_stream_end_us = now_us
        self.note(now_us, events.StreamClosed(stream=stream.facts.stream, clean=clean))
        leg_streams = any(other.facts.leg == stream.facts.leg for other in self.streams)
        if not clean and not leg_streams:
            self.legs.lose(stream.facts.leg, deadline_us=now_us + self._timing.reconnect_wait_us)
        if not self.streams:
            self.streams_gone.set()
        if not self.streams and not self.legs.away:
            self._end_recordings(EndReason.HANGUP if clean else EndReason.DISCONNECTED, now_us)

    # ---- recordings --------------------------------------------------------------------------------------------

    def start(self, recording: Recording, now_us: int) -> Recording:
        """Start a recording now, or as soon as the first stream is there."""
        self.was_recorded = True
        if not self.streams:
            self.waits.expect_stream(now_us)
            self.waiting[recording.id] = recording
            return recording
        call = self.call.merged(recording.call)
        recording = replace(recording, status=Status.ONGOING, started_at=utc(now_us), call=call)
        if self.journal is None:
            self.journal = self._make_journal(self)
        if not self.running:
            self.journal.rotate()
            self._pulse.restart(now_us)
        self.running[recording.id] = recording
        snapshots = tuple(stream.snapshot() for stream in self.streams)
        returns_beep = self._beeps.start(recording, self.streams)
        started = events.RecordingStarted(
            recording=recording, streams=snapshots, leg_order=tuple(self.legs.names), returns_beep=returns_beep
        )
        self.note(now_us, started)
        self._renderer.begin(recording, self.journal, first_segment=self.journal.segment)
        self._note_paused_beside(now_us)
        self._apply_rules()
        return recording

    def learn(self, call: CallFacts) -> None:
        """Add to what is known of the call."""
        self.call = self.call.merged(call)

    def cancel(self, recording_id: str, now_us: int) -> Recording:
        """End an accepted recording that no stream has come for: there will be no file."""
        recording = self.waiting.pop(recording_id)
        return replace(recording, status=Status.ABSENT, end_reason=EndReason.STOPPED, ended_at=utc(now_us))

    def pause(self, recording_id: str, now_us: int) -> Recording:
        """Pause an ongoing recording: from here on nothing of the call belongs to it."""
        recording = self._turn(recording_id, Status.PAUSED)
        journaled = any(other.status is Status.ONGOING for other in self.running.values())
        self.note(now_us, events.RecordingPaused(recording_id=recording_id, journaled=journaled))
        self._apply_rules()
        return recording

    def resume(self, recording_id: str, now_us: int) -> Recording:
        """Let a paused recording go on."""
        was_withheld = all_paused(self.running.values())
        recording = self._turn(recording_id, Status.ONGOING)
        self.note(now_us, events.RecordingResumed(recording_id=recording_id))
        self._note_paused_beside(now_us)
        self._apply_rules(pause_end_us=now_us if was_withheld else None)
        return recording

    def pause_all(self, now_us: int) -> None:
        """The media server asks for a pause: every ongoing recording of the session pauses."""
        for recording in list(self.running.values()):
            if recording.status is Status.ONGOING:
                self._renderer.change(self.pause(recording.id, now_us))

    def resume_all(self, now_us: int) -> None:
        """The media server asks to go on."""
        for recording in list(self.running.values()):
            if recording.status is Status.PAUSED:
                self._renderer.change(self.resume(recording.id, now_us))

    def stop(
        self, recording_id: str, reason: EndReason, now_us: int, *, end_us: int | None = None
    ) -> asyncio.Future[Recording]:
        """End a running recording; silence is written up to ``end_us`` (default: now) where there is no audio."""
        end_us = now_us if end_us is None else end_us
        self.note(now_us, events.RecordingStopped(recording_id=recording_id, reason=reason, end_us=end_us))
        recording = self.running.pop(recording_id)
        self._beeps.end(recording_id)
        journal = self.journal
        assert journal is not None
        recording = replace(recording, status=Status.COMPLETED, end_reason=reason, ended_at=utc(now_us))
        self._apply_rules()
        return self._renderer.end(recording, journal)

    def note(self, now_us: int, event: JournalEvent) -> None:
        """Something happened: put it into the journal, if a recording runs."""
        self.active_us = now_us
        if self.running and self.journal is not None:
            self.journal.append(records.event_record(now_us, event))
            if isinstance(event, events.Digit):
                self._pulse.hurry()

    # ---- time --------------------------------------------------------------------------------------------------

    def tick(self, now_us: int) -> bool:
        """Called about every 150 ms; True when enough has been journaled to be worth a fold."""
        due = self._pulse.hurries()
        if self.running and self.journal is not None and self._pulse.clock_is_due(now_us):
            self.journal.append(records.clock_record(now_us))
            due = due or self._pulse.fold_is_due
        if self._pulse.window_is_over(now_us):
            for stream in self.streams:
                stream.turn_window()
        if self.legs.away:
            self._give_up_legs(now_us)
        if self.waits.run_out(now_us):
            self._give_up_waiting(now_us)
        return due

    @property
    def is_idle(self) -> bool:
        """Whether it has no stream, no recording, and waits for none: at most it is announced."""
        awaited = self.legs.away or self.waiting or self.waits.stream_by_us is not None
        return not (self.streams or self.running or awaited)

    @property
    def is_over(self) -> bool:
        """Whether nothing keeps the session."""
        return self.is_idle and self.waits.announced_until_us is None

    def restore(
        self, *, journal: Journal, legs: list[str], lost: list[str], next_stream: int, next_track: int,
        running: list[Recording], last_us: int, now_us: int,
    ) -> None:  # fmt: skip
        """After a restart: go on with what the journal says was running; ``lost`` legs may come back."""
        self.was_recorded = True
        self.journal = journal
        self.legs.names = legs
        self.next_stream, self.next_track = next_stream, next_track
        self.running = {recording.id: recording for recording in running}
        self._beeps.told(running, legs)
        for recording in running:
            self.learn(recording.call)
        self.last_stream_end_us = last_us
        for leg in lost:
            self.legs.lose(leg, deadline_us=now_us + self._timing.reconnect_wait_us, by_restart=True)
        self.note(now_us, events.ServerStarted())
        if not lost:
            self._end_recordings(EndReason.RECOVERED, now_us)

    def detach(self, now_us: int) -> bool:
        """The server goes down: note it, and take in nothing more. Whether anything was running."""
        was_running = bool(self.running)
        self.note(now_us, events.ServerStopped())
        self.running = {}
        self.waiting = {}
        for stream in self.streams:
            stream.forget_frames()
        return was_running

    def _give_up_legs(self, now_us: int) -> None:
        given_up = self.legs.give_up(now_us)
        if given_up and not self.streams and not self.legs.away:
            last = max(given_up, key=lambda away: away.deadline_us)
            self._end_recordings(EndReason.RECOVERED if last.by_restart else EndReason.DISCONNECTED, now_us)

    def _give_up_waiting(self, now_us: int) -> None:
        for recording in self.waiting.values():
            self._renderer.change(replace(recording, status=Status.ABSENT, ended_at=utc(now_us)))
        self.waiting.clear()

    def _end_recordings(self, reason: EndReason, now_us: int) -> None:
        for recording_id in list(self.running):
            self.stop(recording_id, reason, now_us, end_us=self.last_stream_end_us)

    # ---- what frames meet --------------------------------------------------------------------------------------

    def _apply_rules(self, *, pause_end_us: int | None = None) -> None:
        apply_rules(self.streams, self.running.values(), self.journal, pause_end_us=pause_end_us)

    def _note_paused_beside(self, now_us: int) -> None:
        """A recording runs from here on: the journal has what is said in the pauses of the others, and says so."""
        for recording in self.running.values():
            if recording.status is Status.PAUSED:
                self.note(now_us, events.RecordingPaused(recording_id=recording.id, journaled=True))

    def _turn(self, recording_id: str, status: Status) -> Recording:
        recording = replace(self.running[recording_id], status=status)
        self.running[recording_id] = recording
        return recording

    def _replace_streams_of(self, facts: StreamFacts, stream_id: str | None, now_us: int) -> None:
        """A leg's track comes once: a peer that reconnects before we saw its old socket die takes its place."""
        for stream in list(self.streams):
            if stream.gives_way_to(facts, stream_id):
                self.streams.remove(stream)
                stream.forget_frames()
                self.note(now_us, events.StreamClosed(stream=stream.facts.stream, clean=False))
                stream.handle.close(1008, f"leg: a newer stream of leg {facts.leg[:40]!r} took over")
