"""What the rooms above ask of calls: start, stop, pause, resume a recording; announce, look at a session.

A command that is refused changes nothing. Tenancy is decided here once: what belongs to another app does not exist.

Where there are several workers, what is asked of a session of another, or of an unfinished recording of one, raises
Elsewhere, before anything is changed.

What is answered is safe (see ``recorder.recording``): a start, a pause, a resume, a stop, and also that a recording
cannot be paused because it is. While the disk does not take records, every command raises NotYetSafe, and no recording
begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.erasures import Erasing
from wavstream.catalog.pages import NumberedPage, Page
from wavstream.catalog.recordings import StoredDay
from wavstream.errors import (
    Conflict,
    Forbidden,
    LimitReached,
    NotFound,
)
from wavstream.journal.events import RecordingStopped
from wavstream.model.call import CallFacts
from wavstream.model.filters import RecordingFilters
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.session import SessionView
from wavstream.model.times import utc
from wavstream.recorder.eraser import Eraser
from wavstream.recorder.recorder import Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.admission import NewRecordings
from wavstream.sessions.live_lists import LiveLists, SessionPage
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.registry import Sessions
from wavstream.sessions.session import Session
from wavstream.sessions.starts import Starts
from wavstream.sessions.views import session_view
from wavstream.workers.boundary import Alone, Boundary

_NATIVE = Origin()
_LOOK_S = 0.2
"""Between two looks at a recording that another worker finishes."""
STOP_WAIT_S = 10.0
"""A stop answers when the file is there; after this long it answers that the file is still being finished."""


class Commands:
    """What may be done to sessions and recordings, by the app that owns them."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        recorder: Recorder,
        opened: OpenedStreams,
        catalog: Catalog,
        eraser: Eraser,
        new_recordings: NewRecordings,
        now_us: Callable[[], int],
        wall: Callable[[], datetime] | None = None,
        who_asks: Callable[[str], str] = str,
        boundary: Boundary | None = None,
    ) -> None:
        """Stamp sessions and recordings by ``now_us``; what is kept for a while by ``wall``, None: by that too.

        ``who_asks`` says whose request one of an app is, for what is kept of an erasure. ``boundary``: to other
        workers; None: there are none.
        """
        self._who_asks = who_asks
        self._wall = wall or (lambda: utc(now_us()))
        self._sessions = sessions
        self._recorder = recorder
        self._opened = opened
        self._catalog = catalog
        self._eraser = eraser
        self._new_recordings = new_recordings
        self._now_us = now_us
        self._boundary = boundary or Alone()
        self._starts = Starts(
            self._boundary, sessions=sessions, opened=opened, catalog=catalog, now_us=now_us, wall=self._wall
        )
        self._lists = LiveLists(
            self._boundary, sessions=sessions, recorder=recorder, recordings=catalog.recordings, now_us=now_us
        )

    # ---- recordings --------------------------------------------------------------------------------------------

    async def start(
        self,
        *,
        app_id: str,
        session_id: str,
        options: RecordingOptions,
        origin: Origin = _NATIVE,
        idempotency_key: str | None = None,
        request_digest: str = "",
    ) -> Recording:
        """Start a recording; a known idempotency key gives the recording that it made.

        Raises LimitReached, InvalidFields for a key that was used with another ``request_digest``, and what the
        opener raises.
        """
        with self._starts.beginning(session_id):
            recording = self._made(app_id, session_id, options, origin)
            if idempotency_key is None:
                return await self._starts.begin(recording, self._catalog.recordings.add)
            return await self._starts.begin_once(recording, idempotency_key, request_digest)

    async def begin(
        self,
        *,
        app_id: str,
        session_id: str,
        options: RecordingOptions,
        origin: Origin,
        add: Callable[[Recording], Awaitable[object]],
        request_id: str | None = None,
        keepalive: bool = False,
    ) -> Recording:
        """Start a recording for an API that writes it into the catalog itself, by ``add``, beside what else it writes.

        Raises LimitReached, what ``add`` raises, and what the opener raises. For ``request_id`` and ``keepalive`` see
        ``Recording``.
        """
        with self._starts.beginning(session_id):
            recording = self._made(app_id, session_id, options, origin)
            return await self._starts.begin(replace(recording, request_id=request_id, keepalive=keepalive), add)

    async def stop(self, *, app_id: str, recording_id: str) -> Recording:
        """Stop a running recording and wait for its file; raises NotFound, Conflict, LimitReached."""
        finished = await self.end(app_id=app_id, recording_id=recording_id)
        await asyncio.wait((finished,), timeout=STOP_WAIT_S)
        if finished.done() and not finished.cancelled():
            return finished.result()
        return await self.get(app_id=app_id, recording_id=recording_id)

    async def end(self, *, app_id: str, recording_id: str, end_us: int | None = None) -> asyncio.Future[Recording]:
        """Stop a running recording; the future gives it as it ends up, with its file.

        ``end_us`` is when it was to end; None: now. Raises NotFound, Conflict, or LimitReached while it is recovered.
        """
        asked_us = self._now_us()
        session, recording = await self._running(app_id, recording_id, "stopped")
        is_ahead = session.is_ahead(asked_us)  # what was sent ahead had been read before: that is not cut off
        is_behind = recording.is_under_way and await self._sessions.reading.catch_up(STOP_WAIT_S)
        if is_behind:
            session.draining.drain(self._now_us())
            if recording_id not in session.recordings.by_id:
                return recording.ended  # by itself, or by another command
        if recording.is_under_way:
            end_us, now_us = asked_us if end_us is None else end_us, self._now_us()
            cuts = is_behind and not is_ahead
            stopped = session.recordings.stop(recording, EndReason.STOPPED, now_us, end_us=end_us, cuts=cuts)
            self._opened.release(recording.row)
            await recording.journaled()
            return stopped
        cancelled = session.cancel(recording, self._now_us())
        self._opened.release(cancelled)
        await recording.save()
        return recording.ended

    def end_automatically(self, recording: LiveRecording, end: RecordingStopped) -> None:
        """Stop a recording that has come to its end by itself, unless it was stopped meanwhile."""
        row = recording.row
        session = self._sessions.find(row.app_id, row.session_id)
        if session is not None and recording.is_under_way and row.id in session.recordings.by_id:
            session.recordings.stop(recording, end.reason, self._now_us(), end_us=end.end_us)
            self._opened.release(row)

    def set_client_state(self, *, app_id: str, recording_id: str, client_state: str) -> None:
        """Change the client state of a recording that runs: to be followed by a command that changes its status."""
        live = self._recorder.get(recording_id)
        if live is not None and live.row.app_id == app_id and live.finishing is None:
            live.set_client_state(client_state)

    async def pause(self, *, app_id: str, recording_id: str, behavior: PauseBehavior | None = None) -> Recording:
        """Pause an ongoing recording, or hold paused what a stream paused; raises NotFound, Conflict, LimitReached.

        ``behavior``: what this pause and those after it leave in the file; None: what the recording's options say.
        """
        session, recording = await self._running(app_id, recording_id, "paused")
        if not recording.is_under_way or session.recordings.pauses.is_held_by_api(recording.row):
            await recording.journaled()
            raise Conflict(f"the recording is {recording.row.status}, not ongoing", state=recording.row.status)
        paused = session.recordings.pause(recording, self._now_us(), behavior)
        await recording.save_journaled()
        return paused

    async def resume(self, *, app_id: str, recording_id: str) -> Recording:
        """Let a paused recording go on; raises NotFound, Conflict, LimitReached."""
        session, recording = await self._running(app_id, recording_id, "resumed")
        if recording.row.status is not Status.PAUSED:
            await recording.journaled()
            raise Conflict(f"the recording is {recording.row.status}, not paused", state=recording.row.status)
        resumed = session.recordings.resume(recording, self._now_us())
        await recording.save_journaled()
        return resumed

    async def get(self, *, app_id: str, recording_id: str) -> Recording:
        """Return one recording of the app; raises NotFound."""
        further = self._recorder.further_than_its_row(recording_id)
        row = await self._catalog.recordings.get(recording_id, app_id=app_id)
        if row is not None and row.status is Status.AVAILABLE:  # it stays so while its file is made again
            return row
        if further is not None and further.app_id == app_id:
            return further if row is None else replace(further, hold=row.hold)
        if row is None:
            raise NotFound("no such recording")
        if row.status.is_unfinished:
            self._boundary.check_not_elsewhere(row.session_id)
        return row

    async def wait_ended(self, *, app_id: str, recording_id: str) -> Recording:
        """Wait until a recording has ended and its file is there, however long that takes; raises NotFound."""
        if (live := self._recorder.get(recording_id)) is not None and live.row.app_id == app_id:
            return await asyncio.shield(live.ended)
        row = await self.stored(app_id=app_id, recording_id=recording_id)
        while row.status.is_unfinished and self._boundary.owner(row.session_id) != self._boundary.index:
            await asyncio.sleep(_LOOK_S)
            row = await self.stored(app_id=app_id, recording_id=recording_id)
        return await self.get(app_id=app_id, recording_id=recording_id)

    async def stored(self, *, app_id: str, recording_id: str) -> Recording:
        """Return one recording of the app as the catalog has it, also where it is further by now; raises NotFound."""
        row = await self._catalog.recordings.get(recording_id, app_id=app_id)
        if row is None:
            raise NotFound("no such recording")
        return row

    def recordings_of(self, app_id: str, session_id: str) -> list[Recording]:
        """Return the recordings of a live session that run, or wait for its first stream, oldest first.

        Raises NotFound, Forbidden where the session is another app's (an API that must hide this answers NotFound), and
        LimitReached while a restart has it in its hands, or the server goes down.
        """
        self._boundary.check_not_elsewhere(session_id)
        self._sessions.check_open()  # a session that was let go of has no recordings any more
        if (session := self._sessions.find(app_id, session_id)) is not None:
            return [recording.row for recording in (*session.recordings.running, *session.recordings.waiting)]
        self._check_not_brought_back(app_id, session_id)
        if self._sessions.apps_of(session_id):
            raise Forbidden("the session is another app's")
        raise NotFound("no such session is live")

    async def list(self, *, app_id: str, filters: RecordingFilters, limit: int, cursor: str | None) -> Page[Recording]:
        """Return a page of the app's recordings, newest first; raises InvalidFields for a cursor that is not ours."""
        page = await self._catalog.recordings.list(app_id, filters, limit=limit, cursor=cursor)
        return replace(page, data=await self._lists.as_they_are(page.data))

    async def numbered_page(
        self, *, app_id: str, filters: RecordingFilters, number: int, size: int
    ) -> NumberedPage[Recording]:
        """Return page ``number``, from 1, of the same list, with the count of all of it."""
        page = await self._catalog.recordings.numbered_page(app_id, filters, number=number, size=size)
        return replace(page, data=await self._lists.as_they_are(page.data))

    async def stored_by_day(self, *, app_id: str, now: datetime, session_id: str | None = None) -> Sequence[StoredDay]:
        """Return what the app has in storage ``now``, the oldest day first; ``session_id``: of one session alone."""
        return await self._catalog.recordings.stored_by_day(app_id, now, session_id=session_id)

    async def delete(self, *, app_id: str, recording_id: str, reason: str | None = None) -> None:
        """Erase a recording: what stays of it is a row that says so, and why. One that was stopped is finished first.

        Raises NotFound, and Conflict while it is made or held; DependencyError if disk or store keep a file, which is
        then removed later: a second call tells whether it is gone.
        """
        live = self._recorder.get(recording_id)
        if live is not None and live.finishing is not None and live.row.app_id == app_id:
            await asyncio.wait((live.finishing,), timeout=STOP_WAIT_S)
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status is Status.DELETED:
            if await self._eraser.remove_rest(recording):
                return
            raise NotFound("no such recording")
        if recording.status.is_unfinished or self._recorder.get(recording_id) is not None:
            is_stopped = recording.status in (Status.COMPLETED, Status.AVAILABLE)
            todo = "try again when it is finished" if is_stopped else "stop it first"
            raise Conflict(f"the recording is {recording.status}: {todo}", state=recording.status)
        if recording.stored is None:
            self._boundary.check_disk(recording.session_id)
        by = self._who_asks(app_id) + (f": {reason}" if reason else "")
        if not await self._eraser.begin([recording], Status.DELETED, by=by, now=self._wall()):
            raise Conflict("the recording is under a legal hold: it cannot be erased", state=recording.status)
        await self._eraser.remove(Erasing(recording.id, recording.object_key))
        await self._eraser.end(self._wall())

    def check_here(self, session_id: str) -> None:
        """Raise Elsewhere unless the session is this worker's."""
        self._boundary.check_here(session_id)

    def make_here(self, make: Callable[[], str]) -> str:
        """Return an id for something that lives in this process alone."""
        return self._boundary.make_here(make)

    def check_made_here(self, made: str) -> None:
        """Raise Elsewhere if another has made it so."""
        self._boundary.check_made_here(made)

    # ---- sessions ----------------------------------------------------------------------------------------------

    async def announce(self, *, app_id: str, session_id: str, call: CallFacts) -> SessionView:
        """Tell of a session before its streams; raises LimitReached."""
        now_us = self._now_us()
        with self._starts.beginning(session_id):
            session = self._sessions.find_or_make(app_id, session_id, now_us)
        self._sessions.tell_opened(session)
        session.learn(call)
        session.announce(now_us)
        return session_view(session, now_us)

    def is_known(self, app_id: str, session_id: str) -> bool:
        """Return whether the app has such a session: live, announced, or in the hands of a restart."""
        self._boundary.check_not_elsewhere(session_id)
        return self._sessions.knows(app_id, session_id)

    def playable_rates(self, app_id: str, session_id: str) -> set[int]:
        """Return the rates, in hertz, of a live session's streams that take audio; raises NotFound, LimitReached."""
        return self._live(app_id, session_id).playable_rates()

    def play(self, *, app_id: str, session_id: str, sound: Mapping[int, NDArray[np.int16]], after: bool = False) -> int:
        """Play a sound to every stream of a live session that takes audio; return how many play it.

        ``sound``: mono samples, (n,), by their rate, one of ``playable_rates`` each; they are made into messages at
        once, on the event loop, so what is long is played in pieces. ``after``: behind what they are playing, else in
        place of it. Raises NotFound, LimitReached.
        """
        return self._live(app_id, session_id).play(sound, after=after)

    async def sessions(self, app_id: str, *, limit: int, cursor: str | None = None) -> SessionPage:
        """Return a page of the app's live sessions, oldest first; raises InvalidFields for a cursor not ours."""
        return await self._lists.sessions(app_id, limit=limit, cursor=cursor)

    def session(self, app_id: str, session_id: str) -> SessionView:
        """Return one live session of the app; raises NotFound, LimitReached while a restart has it in its hands."""
        return session_view(self._live(app_id, session_id), self._now_us())

    # ---- within ------------------------------------------------------------------------------------------------

    def _made(self, app_id: str, session_id: str, options: RecordingOptions, origin: Origin) -> Recording:
        session = self._sessions.find(app_id, session_id)
        call = CallFacts() if session is None else session.call
        return self._new_recordings.make(
            app_id=app_id, session_id=session_id, options=options, call=call, origin=origin
        )

    def _live(self, app_id: str, session_id: str) -> Session:
        self._boundary.check_not_elsewhere(session_id)
        session = self._sessions.find(app_id, session_id)
        if session is None:
            self._check_not_brought_back(app_id, session_id)
            raise NotFound("no such session is live")
        return session

    def _check_not_brought_back(self, app_id: str, session_id: str) -> None:
        """Raise LimitReached while a restart or a take-over reads the session's journal: there is a session, and what
        it is will be known soon.
        """
        if self._sessions.deferred.has(app_id, session_id):
            raise LimitReached("A restart has the session in its hands: try again", retry_after_s=1)

    async def _running(self, app_id: str, recording_id: str, verb: str) -> tuple[Session, LiveRecording]:
        live = self._recorder.get(recording_id)
        if live is not None and live.row.app_id == app_id:
            self._boundary.check_not_elsewhere(live.row.session_id)
            # Its streams wait to be let in, with what was said before the command: that must not come behind it.
            self._check_not_brought_back(app_id, live.row.session_id)
            session = self._sessions.find(app_id, live.row.session_id)
            if session is not None:
                session.draining.drain(self._now_us())
                if recording_id in session.recordings.by_id:
                    return session, live
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if live is not None and live.row.app_id == app_id:
            await live.journaled()
        if recording.status.is_running:
            raise LimitReached("a restart has the recording in its hands: try again", retry_after_s=1)
        raise Conflict(f"the recording is {recording.status}: it cannot be {verb}", state=recording.status)
