"""Lists of what is live, complete on every worker: sessions, recordings as they are now, and ids that are similar.

1. Each worker has the sessions that are its own, in the order in which they were made (``Session.listed_us``). A page
   of all is merged by that. Its cursor holds the last place handed out of each worker; so a session is neither repeated
   nor hidden, also where the clocks of two workers differ.
2. The rows of recordings are in the catalog, whichever worker has them. One that is unfinished may be further than its
   row: its worker is asked how it is now, once for all that are in a page.
3. A worker that is being started again is left out after a moment: of sessions the page says so, of recordings the rows
   are as the catalog has them.
4. Who waits for a stream in vain is told of similar ids of any worker (``no_stream``): others are asked where there is
   none here, and look when it is the app's turn there.
5. Nodes of a cluster come and go between two pages: a cursor names whose place each is. One of whom it has none is
   listed from its first session on, so a session that another node took over meanwhile is listed again.

Where there is one worker nobody is asked, and a cursor is one place.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from wavstream.catalog.pages import not_ours
from wavstream.catalog.recordings import Recordings
from wavstream.model.recording import Recording
from wavstream.recorder.recorder import Recorder
from wavstream.sessions.no_stream import similar_ids
from wavstream.sessions.registry import Sessions
from wavstream.sessions.views import session_view
from wavstream.workers.boundary import Boundary, WorkerUnavailable

ANSWER_WAIT_S = 1.0
"""Of a list; a command waits longer."""
_SESSIONS, _RECORDINGS, _SIMILAR = "live_sessions", "live_recordings", "similar_sessions"
_TURN_S = 0.1
"""Between two tries to get the app's turn to look for similar ids."""
_CURSOR = re.compile(r"\d{1,15}\.\d{1,18}(-\d{1,15}\.\d{1,18}){0,255}", re.ASCII)
_as_json = msgspec.json.Encoder().encode
_recordings: Callable[[bytes], list[Recording]] = msgspec.json.Decoder(list[Recording]).decode


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of live sessions, oldest first."""

    data: tuple[dict[str, Any], ...]
    """Documents of ``SessionView``."""
    next_cursor: str | None
    """Hand it back to read on; None: this was the last page."""
    left_out: tuple[int | str, ...] = ()
    """Workers, or nodes, that did not answer: their sessions are not here."""


class LiveLists:
    """Makes them. Lives on the event loop."""

    def __init__(
        self,
        boundary: Boundary,
        *,
        sessions: Sessions,
        recorder: Recorder,
        recordings: Recordings,
        now_us: Callable[[], int],
    ) -> None:
        """Answer other workers too, from now on."""
        self._boundary = boundary
        self._sessions = sessions
        self._recorder = recorder
        self._recordings = recordings
        self._now_us = now_us
        boundary.answers(_SESSIONS, self._answer_sessions)
        boundary.answers(_RECORDINGS, self._answer_recordings)
        boundary.answers(_SIMILAR, self._answer_similar)
        if not boundary.is_alone:
            sessions.ask_elsewhere(self._similar_elsewhere)

    async def sessions(self, app_id: str, *, limit: int, cursor: str | None) -> SessionPage:
        """Return a page of the app's live sessions; raise InvalidFields for a cursor that is not ours (rule 1)."""
        places = self._read_cursor(cursor)
        question = json.dumps([app_id, limit, [*places.items()]]).encode()
        found = {
            worker: json.loads(answer)
            for worker, answer in (await self._boundary.ask_all(_SESSIONS, question, wait_s=ANSWER_WAIT_S)).items()
        }
        found[self._boundary.index] = self._own_sessions(app_id, limit, places)
        by_worker = ([(place, worker, document) for place, document in own] for worker, (own, _) in found.items())
        merged = heapq.merge(*by_worker, key=lambda each: each[:2])
        page = [*itertools.islice(merged, limit)]
        for place, worker, _ in page:
            places[worker] = place
        has_more = any(more for _, more in found.values()) or sum(len(own) for own, _ in found.values()) > len(page)
        return SessionPage(
            data=tuple(document for _, _, document in page),
            next_cursor=self._cursor(places) if has_more else None,
            left_out=tuple(self._boundary.name_of(each) for each in self._boundary.others if each not in found),
        )

    async def as_they_are(self, rows: Sequence[Recording]) -> tuple[Recording, ...]:
        """Return rows of a list as they are now: they may have been read before the ends of their recordings were
        written (rule 2).
        """
        unfinished = [row for row in rows if row.status.is_unfinished]
        if not unfinished:
            return tuple(rows)
        elsewhere: dict[int, list[str]] = {}
        live: dict[str, Recording] = {}
        for row in unfinished:
            if (owner := self._boundary.owner(row.session_id)) == self._boundary.index:
                live.update(self._own_recordings([row.id]))
            else:
                elsewhere.setdefault(owner, []).append(row.id)
        for found in await asyncio.gather(*(self._ask(worker, ids) for worker, ids in elsewhere.items())):
            live.update(found)
        return tuple([await self._as_it_is(row, live) if row.status.is_unfinished else row for row in rows])

    # ---- within ----------------------------------------------------------------------------------------------------

    async def _as_it_is(self, row: Recording, live: dict[str, Recording]) -> Recording:
        if (now := live.get(row.id)) is not None:
            return replace(now, hold=row.hold)
        return await self._recordings.get(row.id) or row

    async def _ask(self, worker: int, ids: list[str]) -> dict[str, Recording]:
        try:
            answer = await self._boundary.ask(worker, _RECORDINGS, _as_json(ids), wait_s=ANSWER_WAIT_S)
        except WorkerUnavailable:  # rule 3
            return {}
        return {recording.id: recording for recording in _recordings(answer)}

    async def _answer_sessions(self, question: bytes) -> bytes:
        app_id, limit, places = json.loads(question)
        return _as_json(self._own_sessions(app_id, limit, dict(places)))

    async def _answer_recordings(self, ids: bytes) -> bytes:
        return _as_json([*self._own_recordings(msgspec.json.decode(ids)).values()])

    async def _similar_elsewhere(self, app_id: str, session_id: str, since_us: int) -> list[str] | None:
        """Return similar ids of the other workers; None: not all of them have looked, and there was none."""
        question = json.dumps([app_id, session_id, since_us]).encode()
        answers = await self._boundary.ask_all(_SIMILAR, question, wait_s=ANSWER_WAIT_S)
        said: list[list[str] | None] = [json.loads(answer) for answer in answers.values()]
        found = similar_ids(session_id, [each for one in said for each in one or ()])
        has_looked = len(said) == len(self._boundary.others) and None not in said
        return found if found or has_looked else None

    async def _answer_similar(self, question: bytes) -> bytes:
        app_id, session_id, since_us = json.loads(question)
        for _ in range(int(ANSWER_WAIT_S / _TURN_S) - 2):
            found = self._sessions.similar(app_id, session_id, since_us=since_us, now_us=self._now_us())
            if found is not None:
                return _as_json(found)
            await asyncio.sleep(_TURN_S)
        return b"null"

    def _own_sessions(self, app_id: str, limit: int, places: Mapping[int, int]) -> tuple[list[tuple[int, Any]], bool]:
        """Return the places and documents of this worker's own, and whether it has more."""
        sessions, has_more = self._sessions.page(app_id, limit=limit, after=places.get(self._boundary.index, -1))
        now_us = self._now_us()
        return [(session.listed_us, session_view(session, now_us).as_json()) for session in sessions], has_more

    def _own_recordings(self, ids: Iterable[str]) -> dict[str, Recording]:
        found = ((recording_id, self._recorder.get(recording_id)) for recording_id in ids)
        return {recording_id: live.row for recording_id, live in found if live is not None}

    def _cursor(self, places: Mapping[int, int]) -> str:
        if self._boundary.is_alone:
            return str(places[self._boundary.index])
        return "-".join(f"{worker}.{place}" for worker, place in places.items())

    def _read_cursor(self, cursor: str | None) -> dict[int, int]:
        """Return the last places that were handed out, by worker (rule 5)."""
        if cursor is None:
            return {}
        if self._boundary.is_alone:
            cursor = f"{self._boundary.index}.{cursor}"
        if not _CURSOR.fullmatch(cursor):
            raise not_ours()
        pairs = (each.split(".") for each in cursor.split("-"))
        return {int(worker): int(place) for worker, place in pairs}
