"""One call: its legs come and go, its recordings start and stop.

Its recordings end when no stream is open and no leg is away (lost, and awaited for the reconnect wait):

1. The last stream ended by its own will: the recordings end as ``hangup``.
2. The wait for the last leg ran out: they end as ``disconnected`` (``recovered`` if a restart of ours lost it), and the
   file ends where the last stream did, not where the waiting did.

A recording is paused while somebody holds it paused: the API, or a leg whose media server asked for it.

3. A leg that resumes lets go of its own pause alone. So what a command paused stays paused, and so does what another
   leg paused; a leg that leaves goes on holding what it paused.
4. A resume of the API ends the pause, whoever holds it: it is the explicit will of whoever the recording belongs to.

Nothing is journaled while no recording runs. What frames meet is decided when the recordings change, never per frame.
Every method takes ``now_us`` (Unix time in microseconds that never goes back); nothing here reads a clock or waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import structlog
from numpy.typing import NDArray

from wavstream.dialects.events import CallInfo, Dtmf, Event, Mark, Paused, Resumed, StreamStarted
from wavstream.errors import LimitReached
from wavstream.journal import events, records
from wavstream.journal.events import PAUSED_BY_API, StreamFacts, paused_by_leg
from wavstream.journal.journal import Journal
from wavstream.journal.writer import JournalWriter
from wavstream.model.call import CallFacts
from wavstream.model.ids import new_id
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc
from wavstream.recorder.recorder import Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.deadlines import Expectation, FoldSchedule, SessionDeadlines, Timing
from wavstream.sessions.intake import MAX_PAUSES, MAX_STREAMS, EventAllowance, LeftOut
from wavstream.sessions.legs import Legs, RecordingTone
from wavstream.sessions.ports import StreamHandle
from wavstream.sessions.stream import Stream, facts_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a journal of before a restart says of its session."""

    journal: Journal
    """Made anew for what follows."""
    legs: list[str]
    """In order of arrival."""
    lost: list[StreamFacts]
    """The streams of those that may come back, one for each leg."""
    next_stream: int
    next_track: int
    last_us: int
    """The last arrival."""
    paused_by: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By recording: who holds it paused."""


class Session:
    """The live state of one call of one app."""

    def __init__(
        self,
        *,
        app_id: str,
        session_id: str,
        now_us: int,
        timing: Timing,
        recorder: Recorder,
        writer: JournalWriter,
        turn: int = 0,
        unread_us: int = 0,
    ) -> None:
        """Begin without a stream; ``FoldSchedule`` says what ``turn`` is, ``tick`` what ``unread_us`` is."""
        self.app_id = app_id
        self.session_id = session_id
        self.created_us = now_us
        self.active_us = now_us
        """When something came last, as far as that is known without asking the streams; see ``StalledSessions``."""
        self.call = CallFacts()
        self.left_out = LeftOut()
        self.legs = Legs()
        self.streams: list[SessionStream] = []
        """The open ones."""
        self.recordings: dict[str, LiveRecording] = {}
        """By id: those that run, and those that wait for the first stream."""
        self._paused_by: dict[str, frozenset[str]] = {}
        """By recording that is paused: who holds it paused."""
        self.journal: Journal | None = None
        self.was_recorded = False
        """Whether there has been a recording, or one waits."""
        self._streams_gone = asyncio.Event()
        self._streams_gone.set()
        self._last_stream_end_us = now_us
        self._next_stream = 1
        self._next_track = 0
        self._timing = timing
        self._recorder = recorder
        self._writer = writer
        self._deadlines = SessionDeadlines(timing)
        self._schedule = FoldSchedule(now_us, turn)
        self._tone = RecordingTone()
        self.owes_resume: SessionStream | None = None
        """Whose peer asked for a resume, and had no event left."""
        self._inspect_us = now_us
        """When one of the streams is to be looked at, at the earliest."""
        self._unread_us = unread_us
        self._untold_us = 0
        """How much of it the journal was not told."""

    # ---- streams -----------------------------------------------------------------------------------------------

    def open_stream(self, started: StreamStarted, *, handle: StreamHandle, now_us: int) -> SessionStream:
        """Take in a stream that has introduced itself; raise LimitReached where the call has had too many."""
        leg = self.legs.name_of(started, dialect=handle.dialect)
        if self._next_stream > MAX_STREAMS:
            raise LimitReached(f"the call has had {MAX_STREAMS} streams, as many as it may", retry_after_s=60)
        self.legs.check_room(leg)
        self.active_us = now_us
        facts = facts_of(
            started, leg=leg, dialect=handle.dialect, stream=self._next_stream, first_track=self._next_track
        )
        self._replace_streams_of(facts, started.stream_id, now_us)
        self._next_stream += 1
        self._next_track += len(started.tracks)
        self.learn(started.call)
        self._deadlines.end()
        self.legs.arrive(leg)
        stream = SessionStream(self, facts=facts, handle=handle, joined_us=now_us, started=started)
        self.streams.append(stream)
        self._inspect_us = now_us
        self._streams_gone.clear()
        if self.is_recording:
            self.note(now_us, events.StreamOpened(facts=facts))
            self._tone.join(stream)
            self._apply_rules()
        for recording in self.waiting:
            self._begin(recording.row, now_us).save_journaled_later()
        return stream

    def awaits(self, started: StreamStarted, *, dialect: str) -> bool:
        """Return whether a stream that introduces itself is a leg come back, or takes the place of an open stream."""
        leg = self.legs.name_of(started, dialect=dialect)
        facts = facts_of(started, leg=leg, dialect=dialect, stream=0, first_track=0)
        return leg in self.legs.away or any(stream.gives_way_to(facts, started.stream_id) for stream in self.streams)

    def stream_closed(self, stream: SessionStream, *, clean: bool, now_us: int) -> None:
        """Note that a stream is over, by its own will or not."""
        if stream not in self.streams:
            return
        self.streams.remove(stream)
        stream.forget_frames()
        self._last_stream_end_us = now_us
        self.note(now_us, events.StreamClosed(stream=stream.facts.stream, clean=clean))
        leg_streams = any(other.facts.leg == stream.facts.leg for other in self.streams)
        if not clean and not leg_streams:
            self.legs.lose(stream.facts, deadline_us=now_us + self._timing.reconnect_wait_us)
        if not self.streams:
            self._streams_gone.set()
        if not self.streams and not self.legs.away:
            self._end_recordings(EndReason.HANGUP, now_us)  # rule 1

    async def wait_until_streams_gone(self, timeout_s: float) -> None:
        """Wait until no stream is open. However they went, they are not waited for, and their legs begin anew."""
        if self.streams:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._streams_gone.wait(), timeout_s)
        if not self.streams:
            self.legs = Legs()

    # ---- recordings --------------------------------------------------------------------------------------------

    def start(self, recording: Recording, now_us: int) -> LiveRecording:
        """Start a recording now, or as soon as the first stream is there."""
        self.was_recorded = True
        if self.streams:
            return self._begin(recording, now_us)
        self._deadlines.expect_stream(now_us)
        accepted = self.recordings[recording.id] = self._recorder.accept(recording)
        return accepted

    def cancel(self, recording: LiveRecording, now_us: int) -> Recording:
        """End an accepted recording that no stream has come for: there will be no file."""
        del self.recordings[recording.row.id]
        return recording.cancel(
            recording.row.became(Status.ABSENT, utc(now_us), end_reason=EndReason.STOPPED, ended_at=utc(now_us))
        )

    def pause(
        self,
        recording: LiveRecording,
        now_us: int,
        behavior: PauseBehavior | None = None,
        *,
        held_by: str = PAUSED_BY_API,
    ) -> Recording:
        """Pause a recording: from here on nothing of the call belongs to it. One that is paused is held by one more.

        ``behavior``: what this pause and those after it leave in the file; None: what the recording's options say.
        """
        self.owes_resume = None
        holders = self._holders(recording) | {held_by}
        row = recording.row
        if row.status is Status.ONGOING:
            row = recording.set_status(Status.PAUSED, now_us, pause_behavior=behavior)
        self._note_paused(recording, holders, now_us)
        self._apply_rules()
        return row

    def resume(self, recording: LiveRecording, now_us: int) -> Recording:
        """Let a paused recording go on, whoever paused it.

        Raises LimitReached where it was paused too often: it stays paused.
        """
        if recording.pauses >= MAX_PAUSES:
            raise LimitReached(f"it was paused {MAX_PAUSES} times, as often as it may: stop it", retry_after_s=60)
        was_withheld = _all_paused(self.running)
        self._paused_by.pop(recording.row.id, None)
        row = recording.set_status(Status.ONGOING, now_us)
        self.note(now_us, events.RecordingResumed(recording_id=row.id))
        self._note_paused_beside(now_us)
        self._apply_rules(pause_end_us=now_us if was_withheld else None)
        return row

    def is_paused_by_api(self, recording: LiveRecording) -> bool:
        """Return whether a command paused the recording, so that no leg ends its pause."""
        return PAUSED_BY_API in self._holders(recording)

    def pause_all(self, now_us: int, *, leg: str) -> None:
        """Hold every recording paused: the media server of this leg asks for it."""
        self.owes_resume = None
        for recording in self.running:
            if paused_by_leg(leg) not in self._holders(recording):
                was_ongoing = recording.row.status is Status.ONGOING
                self.pause(recording, now_us, held_by=paused_by_leg(leg))
                if was_ongoing:
                    recording.save_journaled_later()

    def resume_all(self, now_us: int, *, leg: str) -> None:
        """Let go of what this leg's media server paused; what nobody else holds goes on (rule 3)."""
        for recording in self.running:
            holders = self._holders(recording)
            if paused_by_leg(leg) not in holders:
                continue
            if left := holders - {paused_by_leg(leg)}:
                self._note_paused(recording, left, now_us)
            elif recording.pauses < MAX_PAUSES:
                self.resume(recording, now_us)
                recording.save_journaled_later()

    def stop(
        self,
        recording: LiveRecording,
        reason: EndReason,
        now_us: int,
        *,
        end_us: int | None = None,
        cuts: bool = False,
    ) -> asyncio.Task[Recording]:
        """End a running recording; silence is written up to ``end_us`` (default: now) where there is no audio.

        ``cuts``: audio after it is not in the file either.
        """
        end_us = now_us if end_us is None else end_us
        recording_id = recording.row.id
        self.active_us = now_us
        self._note_left_out(now_us)
        stop = events.RecordingStopped(recording_id=recording_id, reason=reason, end_us=end_us, cuts=cuts)
        end = recording.stop(stop, now_us)
        del self.recordings[recording_id]
        self._paused_by.pop(recording_id, None)
        self._tone.end(recording_id)
        self._apply_rules()
        return end

    def stop_all(self, reason: EndReason, now_us: int) -> list[asyncio.Task[Recording]]:
        """End all running recordings now."""
        return [self.stop(recording, reason, now_us) for recording in self.running]

    @property
    def running(self) -> list[LiveRecording]:
        """Ongoing and paused recordings."""
        return [recording for recording in self.recordings.values() if recording.is_under_way]

    @property
    def waiting(self) -> list[LiveRecording]:
        """Accepted recordings: they start with the first stream."""
        return [recording for recording in self.recordings.values() if not recording.is_under_way]

    @property
    def is_recording(self) -> bool:
        """Whether a recording runs."""
        return any(recording.is_under_way for recording in self.recordings.values())

    def playable_rates(self) -> set[int]:
        """Return the rates, in hertz, of the streams that take audio."""
        return {stream.facts.format.rate_hz for stream in self.streams if stream.handle.takes_audio}

    def play(self, sound: Mapping[int, NDArray[np.int16]], *, after: bool) -> int:
        """Play a sound, mono samples (n,) by their rate, to every stream that takes audio; return how many play it.

        ``after``: behind what they are playing, else in place of it. A stream of another rate than these plays nothing.
        """
        hearing = [
            stream for stream in self.streams if stream.handle.takes_audio and stream.facts.format.rate_hz in sound
        ]
        for stream in hearing:
            stream.handle.play(sound[stream.facts.format.rate_hz], after=after)
        return len(hearing)

    # ---- what is known of the call -----------------------------------------------------------------------------

    def learn(self, call: CallFacts) -> None:
        """Add to what is known of the call, as far as there is room."""
        self.call = self.call.merged(call)
        missing = self.call.missing_of(call)
        if missing:
            self.left_out.add_facts(missing, session_id=self.session_id, app_id=self.app_id)

    def announce(self, now_us: int) -> None:
        """Keep the session though nobody streams it: there is a call, or it goes on."""
        self._deadlines.was_announced = True
        if not self.streams:
            self._deadlines.announce(now_us)
        self.active_us = now_us

    def announce_again(self, now_us: int) -> None:
        """Keep a session whose streams are asked to end."""
        self._deadlines.announce(now_us)

    @property
    def was_announced(self) -> bool:
        """Whether it was announced ever, also while it streamed."""
        return self._deadlines.was_announced

    @property
    def announced_until_us(self) -> int | None:
        """Until when it is kept as announced; None: it is not, or not any more."""
        return self._deadlines.announced_until_us

    def expect_stream(self, now_us: int) -> Expectation:
        """Keep the session for a start that asks for a stream; return what ``take_back`` wants if the start fails."""
        return self._deadlines.expect_stream(now_us) if not self.streams else self._deadlines.expectation

    def take_back(self, expectation: Expectation) -> None:
        """Wait for no stream that only a start which has failed has asked for."""
        if not self.waiting:
            self._deadlines.take_back(expectation)

    def note(self, now_us: int, event: events.JournalEvent) -> None:
        """Put what happened into the journal, if a recording runs."""
        self.active_us = now_us
        if self.journal is not None and self.is_recording:
            self.journal.append_event(records.event_record(now_us, event))
            if isinstance(event, events.Digit):
                self._schedule.hurry()

    # ---- time --------------------------------------------------------------------------------------------------

    def tick(self, now_us: int, *, unread_us: int = 0) -> bool:
        """Let time pass, about every 150 ms; return whether enough has been journaled to be worth a fold.

        ``unread_us``: how much time there has been in all, since the server's start, in which nothing was read.
        """
        due = self._schedule.hurries()
        if unread_us != self._unread_us:
            self._put_off(unread_us)
        if self.journal is not None and self.is_recording and self._schedule.clock_is_due(now_us):
            self.journal.append(records.clock_record(now_us, unread_us=self._untold_us))
            self._untold_us = 0
            due = due or self._schedule.fold_is_due
            if self._schedule.state_is_due(now_us, self.journal.segment):
                self.journal.append_event(records.event_record(now_us, self._state()))
        if self._schedule.window_is_over(now_us):
            for stream in self.streams:
                stream.turn_window()
        if now_us >= self._inspect_us:
            self._inspect(now_us)
        if self.left_out.is_news:
            self._note_left_out(now_us)
        if self.owes_resume is not None:
            self.owes_resume.resume_if_it_may(now_us)
        if self.legs.away:
            self._give_up_legs(now_us)
        if self._deadlines.run_out(now_us):
            self._give_up_waiting(now_us)
        return due

    def _state(self) -> events.SessionState:
        return events.SessionState(
            recordings=tuple(recording.row for recording in self.running),
            streams=tuple(stream.snapshot() for stream in self.streams),
            leg_order=tuple(self.legs.names),
        )

    @property
    def is_idle(self) -> bool:
        """Whether it has no stream, no recording, and waits for none: at most it is announced."""
        return not (self.streams or self.legs.away or self.recordings or self._deadlines.stream_by_us is not None)

    @property
    def is_over(self) -> bool:
        """Whether nothing keeps the session."""
        return self.is_idle and self._deadlines.announced_until_us is None

    def detach(self, now_us: int) -> bool:
        """Note that the server goes down, and take in nothing more; return whether anything was running."""
        was_running = self.is_recording
        self.note(now_us, events.ServerStopped())
        self.recordings = {}
        for stream in self.streams:
            stream.forget_frames()
        return was_running

    def _inspect(self, now_us: int) -> None:
        """Look at the streams where that is due, and note when it will be next."""
        for stream in self.streams:
            for suspicion in stream.inspect(now_us):
                log.warning(
                    "stream_suspicious",
                    session_id=self.session_id,
                    app_id=self.app_id,
                    leg=stream.facts.leg,
                    suspicion=suspicion,
                )
        self._inspect_us = min((stream.inspection.next_us for stream in self.streams), default=now_us)

    def _put_off(self, unread_us: int) -> None:
        """Wait so much longer for what may come: meanwhile it could not."""
        lost_us, self._unread_us = unread_us - self._unread_us, unread_us
        self._untold_us += lost_us
        self.active_us += lost_us
        self.legs.put_off(lost_us)
        self._deadlines.put_off(lost_us)

    def _give_up_legs(self, now_us: int) -> None:
        given_up = self.legs.give_up(now_us)
        if given_up and not self.streams and not self.legs.away:
            last = max(given_up, key=lambda away: away.deadline_us)
            reason = EndReason.RECOVERED if last.by_restart else EndReason.DISCONNECTED
            self._end_recordings(reason, now_us)  # rule 2

    def _give_up_waiting(self, now_us: int) -> None:
        for recording in self.waiting:
            recording.cancel(recording.row.became(Status.ABSENT, utc(now_us), ended_at=utc(now_us)))
            recording.save_later()
            del self.recordings[recording.row.id]

    def _end_recordings(self, reason: EndReason, now_us: int) -> None:
        for recording in self.running:
            self.stop(recording, reason, now_us, end_us=self._last_stream_end_us)

    # ---- after a restart ---------------------------------------------------------------------------------------

    def restore(self, left: Restored, running: list[LiveRecording], now_us: int) -> None:
        """Go on with what the journal says was running; lost legs may come back."""
        self.was_recorded = True
        self.journal = left.journal
        self.legs.names = left.legs
        self._next_stream, self._next_track = left.next_stream, left.next_track
        self.recordings |= {recording.row.id: recording for recording in running}
        self._paused_by |= {each: holders for each, holders in left.paused_by.items() if each in self.recordings}
        self._tone.heard([recording.row for recording in running], left.legs)
        for recording in running:
            self.learn(recording.row.call)
        self._last_stream_end_us = left.last_us
        for facts in left.lost:
            self.legs.lose(facts, deadline_us=now_us + self._timing.reconnect_wait_us, by_restart=True)
        self.note(now_us, events.ServerStarted())
        if not left.lost:
            self._end_recordings(EndReason.RECOVERED, now_us)

    # ---- within ------------------------------------------------------------------------------------------------

    def _begin(self, recording: Recording, now_us: int) -> LiveRecording:
        call = self.call.merged(recording.call)
        recording = recording.became(Status.ONGOING, utc(now_us), started_at=utc(now_us), call=call)
        if self.journal is None:
            self.journal = self._writer.open(key=new_id(), app_id=self.app_id, session_id=self.session_id)
        if not self.is_recording:
            self.journal.rotate()
            self._schedule.restart(now_us)
        begun = self._recorder.begin(recording, self.journal, first_segment=self.journal.segment)
        self.recordings[recording.id] = begun
        self.note(
            now_us,
            events.RecordingStarted(
                recording=recording,
                streams=tuple(stream.snapshot() for stream in self.streams),
                leg_order=tuple(self.legs.names),
                returns_beep=self._tone.start(recording, self.streams),
            ),
        )
        self.left_out.is_news = bool(self.left_out.facts or self.left_out.events)
        self._note_paused_beside(now_us)
        self._apply_rules()
        return begun

    def _apply_rules(self, *, pause_end_us: int | None = None) -> None:
        """Decide what frames meet from here on; ``pause_end_us``: when a pause of all recordings has just ended."""
        running, journal = self.running, self.journal
        for stream in self.streams:
            if not running or journal is None:
                stream.forget_frames()
            elif _all_paused(running):
                stream.withhold_frames(journal.append)
            elif pause_end_us is not None:
                stream.guard_frames(journal.append, pause_end_us)
            else:
                stream.journal_frames(journal.append)
            asked = stream.wants_silence
            stream.handle.keep_alive(any(each.row.keepalive if asked is None else asked for each in running))

    def _holders(self, recording: LiveRecording) -> frozenset[str]:
        """Return who holds the recording paused; of a pause of which nobody knows, the API."""
        if recording.row.status is not Status.PAUSED:
            return frozenset()
        return self._paused_by.get(recording.row.id, frozenset({PAUSED_BY_API}))

    def _note_paused(self, recording: LiveRecording, holders: frozenset[str], now_us: int) -> None:
        """Note who holds a recording paused, and whether the journal has what is said meanwhile."""
        row = recording.row
        self._paused_by[row.id] = holders
        self.note(
            now_us,
            events.RecordingPaused(
                recording_id=row.id,
                journaled=not _all_paused(self.running),
                behavior=row.options.pause_behavior,
                held_by=tuple(sorted(holders)),
            ),
        )

    def _note_left_out(self, now_us: int) -> None:
        """Note in the journal what the call had no room for, if a recording runs and it was not noted."""
        left = self.left_out
        if left.is_news and self.is_recording:
            left.is_news = False
            self.note(now_us, events.LeftOut(facts=left.facts, events=left.events))

    def _note_paused_beside(self, now_us: int) -> None:
        """Note in the journal that it holds what is said in the pauses of others from here on: a recording runs."""
        for recording in self.running:
            if recording.row.status is Status.PAUSED:
                self._note_paused(recording, self._holders(recording), now_us)

    def _replace_streams_of(self, facts: StreamFacts, stream_id: str | None, now_us: int) -> None:
        """End the older stream of the leg's track: a peer reconnects before we have seen its old socket die."""
        for stream in list(self.streams):
            if stream.gives_way_to(facts, stream_id):
                self.streams.remove(stream)
                stream.forget_frames()
                self.note(now_us, events.StreamClosed(stream=stream.facts.stream, clean=False))
                stream.handle.close(1008, f"leg: a newer stream of leg {facts.leg[:40]!r} took over")


class SessionStream(Stream):
    """The sink of one media socket: its frames go to the journal, its events are the session's."""

    __slots__ = ("_allowance", "_session")

    def __init__(
        self, session: Session, *, facts: StreamFacts, handle: StreamHandle, joined_us: int, started: StreamStarted
    ) -> None:
        super().__init__(facts=facts, handle=handle, joined_us=joined_us, started=started)
        self._session = session
        self._allowance = EventAllowance()

    def event(self, event: Event, arrival_us: int) -> None:
        """Apply an event that is not a frame."""
        session = self._session
        if isinstance(event, Dtmf | Mark):
            if not self._allowance.take(arrival_us):
                session.left_out.add_event(session_id=session.session_id, app_id=session.app_id)
            elif isinstance(event, Dtmf):
                session.note(arrival_us, events.Digit(stream=self.facts.stream, digit=event.digit))
            else:
                session.note(arrival_us, events.Mark(stream=self.facts.stream, name=event.name))
        elif isinstance(event, CallInfo):
            session.learn(event.call)
        elif isinstance(event, Paused):
            session.pause_all(arrival_us, leg=self.facts.leg)
        elif isinstance(event, Resumed):
            self.resume_if_it_may(arrival_us)

    def resume_if_it_may(self, now_us: int) -> None:
        """Let what is paused go on, now or as soon as the stream may send an event again (rule 3 of ``intake``)."""
        session = self._session
        if self._allowance.take(now_us):
            session.owes_resume = None
            session.resume_all(now_us, leg=self.facts.leg)
        else:
            session.owes_resume = self

    def closed(self, clean: bool, arrival_us: int) -> None:
        """End the stream; ``clean`` by the peer's own will, else it may come back as the same leg."""
        self._session.stream_closed(self, clean=clean, now_us=arrival_us)


def _all_paused(recordings: list[LiveRecording]) -> bool:
    """Return whether nothing of the call belongs to any of them now."""
    return all(recording.row.status is Status.PAUSED for recording in recordings)
