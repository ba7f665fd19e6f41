"""Streams that recordings have asked of the media server, and when their end is asked for.

A start that finds its session without a stream asks the opener for one before anything of it is written: a start whose
stream cannot be had is refused whole. A session with a lost leg has a stream that may come back, and nobody is asked.
Recordings that start while one with an opened stream runs or waits share that stream. When the last recording of the
session is stopped, or comes to its end by itself, the media server is asked for the end, and a session that had been
announced is announced again: the call goes on, and may be recorded once more. Where the call has ended there is nothing
to ask, and a stream that came by itself is its sender's to end.

What happens to one session happens in turn, so that two starts at once ask once, and a start that follows a stop does
not take the stream that is on its way out for its own. Which recordings have an opened stream is in their rows and
journals: a restart knows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol

import structlog

from wavstream.errors import WavstreamError
from wavstream.model.recording import Recording
from wavstream.sessions.legs import Legs
from wavstream.sessions.registry import Sessions
from wavstream.sessions.session import Session

CLOSE_WAIT_S = 2.0
"""How long the next start waits for a stream to go that the media server has agreed to end."""

log = structlog.get_logger()


class StreamOpener(Protocol):
    """Makes the media server stream a session, and end that."""

    async def open(self, recording: Recording) -> None:
        """Ask for a stream of the recording's session. Raises a WavstreamError where there will be none."""

    async def close(self, *, app_id: str, session_id: str) -> None:
        """Ask for its end; raises a WavstreamError."""


class OpenedStreams:
    """Asks the opener, if there is one, for what recordings need."""

    def __init__(self, opener: StreamOpener | None, *, sessions: Sessions, now_us: Callable[[], int]) -> None:
        self._opener = opener
        self._sessions = sessions
        self._now_us = now_us
        self._turns: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        """By session: kept for as long as somebody holds its lock or waits for it."""
        self._closing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def starting(self, recording: Recording) -> AsyncIterator[Recording]:
        """For as long as the recording is being started: as it is to be started. Raises what the opener raises.

        What was opened for a start that then fails is closed again.
        """
        if self._opener is None:
            yield recording
            return
        async with self._turn(recording):
            opened = await self._open(recording, self._opener)
            try:
                yield replace(recording, opened=opened)
            except WavstreamError:
                if opened:
                    self._close_behind(recording)
                raise

    def release(self, recording: Recording) -> None:
        """The recording has ended and its call may go on: ask for the end of what nobody needs, behind the caller."""
        if recording.opened:
            self._close_behind(recording)

    async def stop(self, timeout_s: float) -> None:
        """Wait for the ends that are being asked for, within the time given; the opener must outlive this."""
        if not self._closing:
            return
        _, late = await asyncio.wait(self._closing, timeout=timeout_s)
        if late:
            log.warning("the media server was not told in time that streams are to end", streams=len(late))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _open(self, recording: Recording, opener: StreamOpener) -> bool:
        """Ask for a stream if there is to be none by itself; whether the recording has an opened one."""
        session = self._sessions.find(recording.app_id, recording.session_id)
        if session is not None:
            if any(other.opened for other in (*session.running.values(), *session.waiting.values())):
                return True
            if session.streams or session.legs.away:
                return False
        await opener.open(recording)
        return True

    def _close_behind(self, recording: Recording) -> None:
        if self._opener is not None:
            task = asyncio.create_task(self._close(recording, self._opener), name="end of an opened stream")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, recording: Recording, opener: StreamOpener) -> None:
        app_id, session_id = recording.app_id, recording.session_id
        async with self._turn(recording):
            session = self._sessions.find(app_id, session_id)
            # While the server goes down nobody knows who needs it: what runs goes on at the next start.
            if self._sessions.stopping or (session is not None and (session.running or session.waiting)):
                return
            # A restart forgets that the session of a command had been announced.
            if session is not None and (session.waits.was_announced or recording.command_uid is not None):
                session.waits.announce(self._now_us())
            try:
                await opener.close(app_id=app_id, session_id=session_id)
            except WavstreamError as error:
                log.warning("a stream that was opened could not be closed", session_id=session_id, error=str(error))
            else:
                if session is not None:
                    await _wait_until_gone(session)

    def _turn(self, recording: Recording) -> asyncio.Lock:
        return self._turns.setdefault((recording.app_id, recording.session_id), asyncio.Lock())


async def _wait_until_gone(session: Session) -> None:
    """Wait until its streams have gone. However they went, they are not waited for, and their legs begin anew."""
    if session.streams:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(session.streams_gone.wait(), CLOSE_WAIT_S)
    if not session.streams:
        session.legs = Legs()
