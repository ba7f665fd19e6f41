"""Streams that recordings have asked of the media server, and when their end is asked for.

1. A start that finds its session without a stream asks the opener for one before anything of it is written: a start
   whose stream cannot be had is refused whole. A session with a lost leg has a stream that may come back, and nobody
   is asked.
2. Recordings that start while one with an opened stream runs or waits share that stream.
3. When the last recording of the session is stopped, or comes to its end by itself, the media server is asked for the
   end, and a session that had been announced is announced again: the call goes on, and may be recorded once more.
4. Where the call has ended there is nothing to ask, and a stream that came by itself is its sender's to end.

What happens to one session happens in turn, so that two starts at once ask once, and a start that follows a stop does
not take the stream that is on its way out for its own. Which recordings have an opened stream is in their rows and
journals: a restart knows it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import structlog

from wavstream.errors import WavstreamError
from wavstream.model.recording import Recording
from wavstream.sessions.keyed_locks import KeyedLocks
from wavstream.sessions.openers.base import Opener, OpenRequest
from wavstream.sessions.registry import Sessions

CLOSE_WAIT_S = 2.0
"""How long the next start waits for a stream to go that the media server has agreed to end."""

log = structlog.get_logger(__name__)


class OpenedStreams:
    """Asks the opener, if there is one, for what recordings need."""

    def __init__(
        self,
        opener: Opener | None,
        *,
        request_for: Callable[[Recording], OpenRequest],
        sessions: Sessions,
        now_us: Callable[[], int],
        close_wait_s: float = CLOSE_WAIT_S,
    ) -> None:
        """Ask ``opener`` with what ``request_for`` makes of a recording that needs a stream."""
        self._opener = opener
        self._request_for = request_for
        self._sessions = sessions
        self._now_us = now_us
        self._close_wait_s = close_wait_s
        self._turns = KeyedLocks()
        self._closing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def starting(self, recording: Recording) -> AsyncIterator[Recording]:
        """Yield the recording as it is to be started; raise what the opener raises.

        What was opened for a start that then fails is closed again.
        """
        if self._opener is None:
            yield recording
            return
        async with self._turns.of(recording.app_id, recording.session_id):
            is_opened = await self._open(recording, self._opener)
            try:
                yield replace(recording, opened=is_opened)
            except WavstreamError:
                if is_opened:
                    self._close_behind(recording, self._opener)
                raise

    @property
    def trouble(self) -> str | None:
        """Why the opener cannot be asked now; None: it can, or there is none."""
        return None if self._opener is None else self._opener.trouble

    def release(self, recording: Recording) -> None:
        """Ask for the end of what nobody needs, behind the caller: the recording has ended, its call may go on."""
        if recording.opened and self._opener is not None:  # rule 4: one that came by itself is not ours to end
            self._close_behind(recording, self._opener)

    async def stop(self, timeout_s: float) -> None:
        """Wait for the ends that are being asked for, within the time given; the opener must outlive this."""
        if not self._closing:
            return
        _, late = await asyncio.wait(self._closing, timeout=timeout_s)
        if late:
            log.warning("opened_streams_left_open", streams=len(late))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _open(self, recording: Recording, opener: Opener) -> bool:
        """Ask for a stream if none is there or comes by itself; return whether the recording has an opened one."""
        session = self._sessions.find(recording.app_id, recording.session_id)
        if session is not None:
            if any(other.row.opened for other in session.recordings.by_id.values()):  # rule 2
                return True
            if session.streams or session.legs.away:  # rule 1
                return False
        await opener.open(self._request_for(recording))
        return True

    def _close_behind(self, recording: Recording, opener: Opener) -> None:
        task = asyncio.create_task(self._close(recording, opener), name="end of an opened stream")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, recording: Recording, opener: Opener) -> None:
        app_id, session_id = recording.app_id, recording.session_id
        async with self._turns.of(app_id, session_id):
            session = self._sessions.find(app_id, session_id)
            # While the server goes down nobody knows who needs it: what runs goes on at the next start.
            if self._sessions.is_stopping or (session is not None and session.recordings.by_id):
                return
            # A restart forgets that the session of a command had been announced.
            if session is not None and (session.was_announced or recording.request_id is not None):  # rule 3
                session.announce_again(self._now_us())
            try:
                await opener.close(app_id=app_id, session_id=session_id)
            except WavstreamError as error:
                log.warning("opened_stream_close_failed", session_id=session_id, app_id=app_id, error=str(error))
            else:
                if session is not None:
                    await session.wait_until_streams_gone(self._close_wait_s)
