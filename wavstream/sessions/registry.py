"""Every live session, by app and by the switch's own id of the call; which sessions and streams are let in."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import structlog

from wavstream.dialects.events import StreamStarted
from wavstream.errors import LimitReached, NotYetSafe
from wavstream.journal.writer import JournalWriter
from wavstream.model.options import RecordingOptions
from wavstream.model.times import unix_us
from wavstream.recorder.recorder import Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.admission import NewRecordings
from wavstream.sessions.deadlines import Timing
from wavstream.sessions.deferred_stream import DeferredStream, DeferredStreams
from wavstream.sessions.load import Headroom, Load
from wavstream.sessions.no_stream import StreamedIds, similar_ids
from wavstream.sessions.ports import StreamHandle
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.sessions.reading import ReadingTime
from wavstream.sessions.session import Session, SessionStream
from wavstream.workers.shared_counts import SharedCounts
from wavstream.workers.tally import tally_of

TICK_SLOTS = 10
"""Sessions are ticked in turn: see ``ticker``."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How much is let in, and what is recorded by itself."""

    sessions: int
    streams_per_session: int
    headroom: Headroom = field(default_factory=Headroom)
    recordings: int = 10_000
    auto_record: bool = False
    """Whether each session is recorded from its first stream on."""


class Sessions:
    """The registry of live sessions."""

    def __init__(
        self,
        *,
        timing: Timing,
        limits: SessionLimits,
        recorder: Recorder,
        writer: JournalWriter,
        new_recordings: NewRecordings,
        options_of: Callable[[str], RecordingOptions],
        quotas: Quotas | None = None,
        shared: SharedCounts | None = None,
    ) -> None:
        """Begin without a session; ``options_of`` returns the options of an app's recordings and waits for nothing.

        ``shared`` has what other workers count; None: there are none.
        """
        self.quotas = quotas or Quotas()
        self.timing = timing
        self.is_stopping = False
        """The server is going down: what streams end now is not a hang-up."""
        self.reading = ReadingTime()
        """When we do not read: the peers' audio waits in the kernel meanwhile."""
        self.load = Load(limits.headroom)
        """Whether there is room for more streams."""
        self.slots: list[dict[Session, None]] = [{} for _ in range(TICK_SLOTS)]
        """The sessions of each slot of the ticker, about equally many."""
        self.slot_of: Callable[[str], int] | None = None  # what comes of a tail together is visited together
        self._limits = limits
        self._recorder = recorder
        self._writer = writer
        self._new_recordings = new_recordings
        self._options_of = options_of
        self._sessions: dict[tuple[str, str], Session] = {}
        self.deferred = DeferredStreams()
        self._made = 0
        self._listed_us = 0
        """Of the session made last."""
        self._of_app = tally_of(shared, "sessions")
        self._starting: Counter[tuple[str, str]] = Counter()
        """Recordings that are being started, by app and session."""
        self._starting_of = tally_of(shared, "starting")
        """The same, by app."""
        self.left_out: Counter[str] = Counter()
        """What calls that are over had no room for, by what it is; ``all_left_out`` has those that live too."""
        self.no_stream: Counter[str] = Counter()
        """Sessions whose recordings waited in vain for a stream, by whether one with a similar id streamed meanwhile:
        ``yes``, ``no``, or ``not_looked``."""
        self._streamed = StreamedIds()
        self._want_room: Callable[[str | None], None] = lambda of_app: None
        self._ask_elsewhere: Callable[[str, str, int], Awaitable[list[str] | None]] | None = None
        self._asked_elsewhere: WeakKeyDictionary[Session, asyncio.Future[list[str] | None]] = WeakKeyDictionary()
        self._untold: set[Session] = set()
        """Sessions that the log does not have yet."""

    # ---- sessions ----------------------------------------------------------------------------------------------

    def find(self, app_id: str, session_id: str) -> Session | None:
        """Return the live session, if there is one."""
        return self._sessions.get((app_id, session_id))

    def knows(self, app_id: str, session_id: str) -> bool:
        """Return whether the app has a session of this id that is not over, or that a restart is bringing back."""
        session = self._sessions.get((app_id, session_id))
        return (session is not None and not session.is_over) or self.deferred.has(app_id, session_id)

    def apps_of(self, session_id: str) -> set[str]:
        """Return the apps that have a session of this id, live or being brought back after a restart."""
        live = {app_id for app_id, known_id in self._sessions if known_id == session_id}
        return live | self.deferred.apps_of(session_id)

    def ids(self) -> set[str]:
        """Return the ids of all sessions that are live, or being brought back."""
        return {each.session_id for each in self if not each.is_over} | self.deferred.ids()

    def held_back(self, app_id: str) -> dict[str, list[StreamStarted]]:
        """Return the app's sessions whose journals are being read, with the streams that wait for that."""
        return self.deferred.of_app(app_id)

    def page(self, app_id: str, *, limit: int, after: int) -> tuple[list[Session], bool]:
        """Return the app's live sessions after that one (``listed_us``), oldest first, and whether there are more."""
        found = (each for each in self._sessions.values() if each.app_id == app_id and each.listed_us > after)
        return [*itertools.islice(found, limit)], next(found, None) is not None

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def __len__(self) -> int:
        return len(self._sessions)

    def find_or_make(self, app_id: str, session_id: str, now_us: int, *, beyond_limit: bool = False) -> Session:
        """Return the live session, made if it is new; raise LimitReached if there are too many, or none is let in.

        The log tells of it when somebody has a use for it (``tell_opened``): what asked for it may be refused.
        One that is no more than announced makes room: a forgotten announcement must not cost a call.
        ``beyond_limit``: it was let in before, and is not refused now.
        """
        session = self._sessions.get((app_id, session_id))
        if session is None:
            self._take_session(app_id, beyond_limit=beyond_limit)
            session = Session(
                app_id=app_id,
                session_id=session_id,
                now_us=now_us,
                timing=self.timing,
                recorder=self._recorder,
                writer=self._writer,
                turn=self._made,
                unread_us=self.reading.unread_us,
                late_us=self.reading.late_us,
                similar=self._similar,
                in_vain=self.no_stream,
            )
            self._made += 1
            self._listed_us = session.listed_us = max(now_us, self._listed_us + 1)
            self._sessions[app_id, session_id] = session
            slots = self.slots if self.slot_of is None else [self.slots[self.slot_of(session_id) % TICK_SLOTS]]
            min(slots, key=len)[session] = None
            self._untold.add(session)
        return session

    def drop_if_over(self, session: Session, *, is_lost: bool = False) -> None:
        """Forget a session that nothing keeps, or that ``is_lost`` to another node, whatever it is doing."""
        if (session.is_over or is_lost) and self._sessions.get((session.app_id, session.session_id)) is session:
            self._drop(session)

    def all_left_out(self) -> dict[str, int]:
        """Return what calls had no room for since the start of the server, by what it is."""
        live = [session.notes.left_out for session in list(self._sessions.values())]
        return {
            "facts": self.left_out["facts"] + sum(left.facts for left in live),
            "events": self.left_out["events"] + sum(left.events for left in live),
        }

    def _drop(self, session: Session) -> None:
        self._of_app.remove(session.app_id)
        self.left_out.update(facts=session.notes.left_out.facts, events=session.notes.left_out.events)
        del self._sessions[session.app_id, session.session_id]
        for slot in self.slots:
            slot.pop(session, None)
        if session.streams_so_far:
            self._streamed.note(session.app_id, session.session_id, session.last_stream_end_us)
        if session in self._untold:
            self._untold.remove(session)
            return
        log.info(
            "session_over",
            session_id=session.session_id,
            app_id=session.app_id,
            streams=session.streams_so_far,
            length_ms=(session.last_stream_end_us - session.created_us) // 1000,
        )

    def tell_opened(self, session: Session) -> None:
        """Tell in the log that there is this session, once: somebody has a use for it."""
        if session in self._untold:
            self._untold.remove(session)
            log.info("session_opened", session_id=session.session_id, app_id=session.app_id)

    def ask_elsewhere(self, ask: Callable[[str, str, int], Awaitable[list[str] | None]]) -> None:
        """Ask other workers too, from now on, which ids like this one their sessions of the app streamed since then."""
        self._ask_elsewhere = ask

    def similar(self, app_id: str, session_id: str, *, since_us: int, now_us: int) -> list[str] | None:
        """Return the ids like this one that the app streamed here since then; None: it is not its turn to look."""
        if not self._streamed.may_look(app_id, now_us):
            return None
        live = [
            other.session_id
            for other in self._sessions.values()
            if other.app_id == app_id and other.streamed_since(since_us)
        ]
        return similar_ids(session_id, [*reversed(live), *self._streamed.since(app_id, since_us)])

    def _similar(self, session: Session, waiting: Sequence[LiveRecording], now_us: int) -> list[str] | None:
        """Return the ids like this session's that the app streamed since these recordings wait.

        None: it is not the app's turn to look, or other workers are asked, since there is none here.
        """
        app_id, since_us = session.app_id, min(unix_us(recording.row.created_at) for recording in waiting)
        asked = self._asked_elsewhere.get(session)
        if asked is not None:
            return asked.result() if asked.done() else None
        found = self.similar(app_id, session.session_id, since_us=since_us, now_us=now_us)
        if found or found is None or self._ask_elsewhere is None:
            return found
        asking = self._ask_elsewhere(app_id, session.session_id, since_us)
        self._asked_elsewhere[session] = asyncio.ensure_future(asking)
        return None

    def _take_session(self, app_id: str, *, beyond_limit: bool) -> None:
        """Count a session; raise LimitReached if the app, or the server, has no room for it, or none is let in."""
        self._of_app.add(app_id)
        if beyond_limit:
            return
        try:
            self.load.check_new()
            quota, used, total = Quota.SESSIONS, self._of_app.of(app_id) - 1, self._of_app.total - 1
            refusal = self.quotas.refusal(quota, app_id, used=used, used_by_all=total)
            if refusal is not None and not self.make_room(app_id):
                self._want_room(app_id)
                self.quotas.check(quota, app_id, used=used, used_by_all=total)
            if self._of_app.total > self._limits.sessions and not self.make_room():
                self._want_room(None)
                raise LimitReached("the server has as many sessions as it may: try again later", retry_after_s=5)
        except LimitReached:
            self._of_app.remove(app_id)
            raise

    def on_full(self, want_room: Callable[[str | None], None]) -> None:
        """Have other workers make room, from now on, where there is none here: of this app, None: of any."""
        self._want_room = want_room

    def make_room(self, of_app: str | None = None) -> bool:
        """Forget the session announced first, and no more than announced, of the app that has most of them.

        ``of_app``: of this app alone. Return whether there was one.
        """
        announced = [
            (session.announced_until_us, session)
            for session in self._sessions.values()
            if session.announced_until_us is not None and of_app in (None, session.app_id)
        ]
        for app_id, _ in Counter(session.app_id for _, session in announced).most_common():
            those = [(until_us, session) for until_us, session in announced if session.app_id == app_id]
            for _, session in sorted(those, key=lambda each: each[0]):
                if session.is_idle:
                    log.info("announced_session_dropped", session_id=session.session_id, app_id=app_id)
                    self._drop(session)
                    return True
        return False

    # ---- recordings --------------------------------------------------------------------------------------------

    def check_recording(self, app_id: str, session_id: str) -> None:
        """Raise LimitReached if the disk, the app or the session has no room for another recording."""
        with self.starting(app_id, session_id):
            pass

    @contextmanager
    def starting(self, app_id: str, session_id: str) -> Iterator[None]:
        """Keep the room for a recording while it is started; raise LimitReached if there is none."""
        self._new_recordings.check_room()
        self.quotas.check_disk(app_id)
        session = self._sessions.get((app_id, session_id))
        used = (0 if session is None else len(session.recordings.by_id)) + self._starting[app_id, session_id]
        self.quotas.check(Quota.RECORDINGS_PER_SESSION, app_id, used=used, used_by_all=0)
        self._starting_of.take(app_id, functools.partial(self._check_recordings, app_id))
        self._starting[app_id, session_id] += 1
        try:
            yield
        finally:
            self._starting_of.remove(app_id)
            self._starting[app_id, session_id] -= 1
            if not self._starting[app_id, session_id]:
                del self._starting[app_id, session_id]

    def _check_recordings(self, app_id: str, of_app: int, total: int) -> None:
        """Raise LimitReached if there is no room beside so many that are being started, and those that are there."""
        used, used_by_all = self._recorder.counts.of(app_id) + of_app, self._recorder.counts.total + total
        self.quotas.check(Quota.RECORDINGS, app_id, used=used, used_by_all=used_by_all)
        if used_by_all >= self._limits.recordings:
            raise LimitReached("the server has as many recordings as it may: try again later", retry_after_s=5)

    # ---- streams -----------------------------------------------------------------------------------------------

    def awaits(self, started: StreamStarted, *, app_id: str, handle: StreamHandle) -> bool:
        """Return whether the stream takes the place of one that is lost, or about to be: it was let in before."""
        assert started.session_id is not None
        session = self._sessions.get((app_id, started.session_id))
        return session is not None and session.awaits(started, dialect=handle.dialect)

    def open_stream(
        self, started: StreamStarted, *, app_id: str, handle: StreamHandle, now_us: int
    ) -> SessionStream | DeferredStream:
        """Take in a stream that has introduced itself; raise LimitReached if that may not be."""
        assert started.session_id is not None
        self.check_open()
        deferred = self.deferred.defer(started, app_id=app_id, handle=handle)
        if deferred is not None:
            return deferred
        session = self.find_or_make(app_id, started.session_id, now_us)
        if len(session.streams) >= self._limits.streams_per_session:
            raise LimitReached("the session has as many streams as it may", retry_after_s=5)
        records = (started.record or self._limits.auto_record) and not session.was_recorded
        with self.starting(app_id, session.session_id) if records else nullcontext():
            self.tell_opened(session)
            stream = session.open_stream(started, handle=handle, now_us=now_us)
            if self.reading.is_paused:
                handle.pause_reading()
            if records:
                options = self._options_of(app_id)
                recording = self._new_recordings.make(
                    app_id=app_id, session_id=session.session_id, options=options, call=session.call
                )
                # The row follows by itself: the journal has all of the recording already.
                session.start(recording, now_us).save_journaled_later()
        return stream

    def check_load(self, app_id: str, session_id: str | None) -> None:
        """Raise LimitReached if the server has no headroom for a stream, and none of its session's is live."""
        session = None if session_id is None else self.find(app_id, session_id)
        is_live = session is not None and not session.is_idle
        if not is_live and (session_id is None or not self.deferred.has(app_id, session_id)):
            if session_id is not None:  # else it may be a leg come back, which only its first message tells
                self.load.check_new()
            self.load.check(app_id)

    def check_open(self) -> None:
        """Raise LimitReached if the server is going down: what began now would be lost."""
        if self.is_stopping:
            raise LimitReached("the server is restarting: try again", retry_after_s=5)

    def check_journal(self) -> None:
        """Raise NotYetSafe while the disk does not take what is journaled: no start could be answered."""
        if (refused := self._writer.refused) is not None:
            raise NotYetSafe(refused)

    def defer(self, app_id: str, session_id: str) -> None:
        """Let streams of this session, whose journal is being read, wait until ``attach``."""
        self.deferred.expect(app_id, session_id)

    def attach(self, app_id: str, session_id: str, now_us: int) -> None:
        """Let in the streams that waited for the session's journal."""
        for each in self.deferred.take(app_id, session_id):
            try:
                stream = self.open_stream(each.started, app_id=each.app_id, handle=each.handle, now_us=now_us)
            except LimitReached as error:
                each.handle.close(error.close_code, str(error))
            else:
                each.attach(stream, now_us)
                if self.reading.is_paused:
                    each.handle.pause_reading()

    def write_now(self, app_id: str, session_id: str) -> None:
        """Have the session's journal written as far as it is, without waiting for its tick: a lot has come since."""
        session = self.find(app_id, session_id)
        if session is not None and session.notes.journal is not None:
            self._writer.submit([session.notes.journal])

    def apply_backpressure(self, full: bool) -> None:
        """Stop reading from all streams while the journal's queue is full, and read on when it has room again."""
        self.reading.pause(full)
        for session in self._sessions.values():
            for stream in session.streams:
                (stream.handle.pause_reading if full else stream.handle.resume_reading)()
