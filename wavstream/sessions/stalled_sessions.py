"""Sessions whose streams are open and from which nothing comes any more: the media server has lost sight of the call.

A session is an orphan when no frame, no event and no command of it has come for ``after_us``. Then, in this order: its
recordings are ended, as ``disconnected``; when each has its file, its streams are closed, with a code that says that
they are not missed. So whoever is told that the call has ended finds its files. Streams that come to life meanwhile are
left alone.

A frame only notes when it came, as it does anyway. What is looked at on the beat is one number of the session: it is
brought up to date when it alone would make the session an orphan.
"""

from __future__ import annotations

import asyncio

import structlog

from wavstream.model.recording import EndReason
from wavstream.sessions.session import Session

GOING_AWAY = 1001

log = structlog.get_logger()


def is_orphan(session: Session, now_us: int, *, after_us: int) -> bool:
    """Whether the session has streams, and nothing of it has come for so long."""
    if now_us - session.active_us < after_us or not session.streams:
        return False
    session.active_us = max(session.active_us, *(stream.last_arrival_us for stream in session.streams))
    return now_us - session.active_us >= after_us


class StalledSessions:
    """Ends them."""

    def __init__(self, *, after_us: int) -> None:
        """``after_us`` 0: there are none."""
        self._after_us = after_us
        self._ending: set[Session] = set()

    def visit(self, session: Session, now_us: int) -> None:
        """End the session if it is an orphan."""
        if not self._after_us or session in self._ending or not is_orphan(session, now_us, after_us=self._after_us):
            return
        self._ending.add(session)
        session.active_us = now_us
        ends = [session.stop(recording_id, EndReason.DISCONNECTED, now_us) for recording_id in list(session.running)]
        files = asyncio.gather(*ends, return_exceptions=True)
        files.add_done_callback(lambda _: self._close(session, now_us))

    def _close(self, session: Session, found_us: int) -> None:
        self._ending.discard(session)
        if is_orphan(session, found_us, after_us=0):
            log.warning("nothing comes from a session: ended", session=session.session_id, app=session.app_id)
            for stream in session.streams:
                stream.handle.close(GOING_AWAY, "orphaned: nothing came for too long")
