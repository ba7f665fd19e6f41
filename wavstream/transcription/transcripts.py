"""Transcripts as APIs ask for them: have one made, read it, list those of an app, erase one.

1. A recording has one transcription at most. To ask again makes it anew, under another id, unless a hold keeps it.
2. It is had for as long as the recording has its file. An app has those of its own recordings alone.
3. What is erased goes from the catalog first, and then its copy beside the file: here, or in its store. A copy that
   cannot be removed then goes with the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from wavstream.catalog.asked_transcriptions import AskedTranscriptions, Transcribed, TranscriptionFilters
from wavstream.catalog.pages import NumberedPage, Page
from wavstream.catalog.transcribed_speech import TranscribedDay
from wavstream.catalog.transcriptions import Found, Transcription, Transcriptions, TranscriptionStatus
from wavstream.errors import Conflict, DependencyError, NotFound
from wavstream.model.recording import Recording, Status
from wavstream.storage.stores import FinishedFiles
from wavstream.transcription.texts import WRITERS
from wavstream.transcription.transcript import Transcript, decode
from wavstream.turns.fair_pool import FairPool
from wavstream.workers.boundary import Boundary

log = structlog.get_logger(__name__)


class Transcripts:
    """The transcripts of all apps. Lives on the event loop."""

    def __init__(
        self,
        *,
        rows: Transcriptions,
        asked: AskedTranscriptions,
        files: FinishedFiles,
        reads: FairPool,
        boundary: Boundary,
        now: Callable[[], datetime],
        wake: Callable[[], None] | None,
    ) -> None:
        """Decode in ``reads``; ``wake`` tells that there is one more to make, None: this server makes none."""
        self._rows = rows
        self._asked = asked
        self._files = files
        self._reads = reads
        self._boundary = boundary
        self._now = now
        self._wake = wake

    @property
    def are_made(self) -> bool:
        """Whether this server makes any."""
        return self._wake is not None

    async def ask(self, recording: Recording, language: str | None = None) -> Transcription:
        """Have a finished recording transcribed; raise Conflict where it has no file, or a hold keeps its transcript.

        One that is under way goes on. ``language`` is a tag; None: the one that its start named.
        """
        assert self._wake is not None
        if recording.status is not Status.AVAILABLE:
            raise Conflict(f"the recording is {recording.status}: there is no file", state=recording.status)
        language = language or recording.options.transcription_language
        asked = await self._rows.ask(recording, language, self._now())
        if asked.status.is_over:
            raise Conflict("the recording is under a legal hold: its transcript is not made anew", state="held")
        self._wake()
        return asked

    async def of(self, recording: Recording) -> Transcription | None:
        """Return the transcription of a recording; None: nobody has asked for one."""
        return await self._rows.get(recording.id)

    async def document(self, recording: Recording) -> bytes:
        """Return the transcript of a recording as JSON; raise NotFound."""
        document = await self._rows.document(recording.id) if recording.status is Status.AVAILABLE else None
        if document is None:
            raise NotFound("the recording has no transcript")
        return document

    async def transcript(self, recording: Recording) -> Transcript:
        """Return the transcript of a recording; raise NotFound."""
        return await self._reads.run(recording.app_id, decode, await self.document(recording))

    async def text(self, recording: Recording, extension: str) -> str:
        """Return the transcript as a text of this kind, one of ``texts.WRITERS``; raise NotFound."""
        return await self._reads.run(recording.app_id, WRITERS[extension], await self.transcript(recording))

    async def said(self, found: Transcribed) -> str | None:
        """Return all that was said, a line for each stretch; None: there is no transcript, or not yet."""
        if found.work.status is not TranscriptionStatus.DONE:
            return None
        document = await self._rows.document(found.recording.id)
        if document is None:
            return None
        return (await self._reads.run(found.recording.app_id, decode, document)).text

    # ---- of an app ---------------------------------------------------------------------------------------------

    async def find(self, app_id: str, transcription_id: str) -> Transcribed:
        """Return a transcription of the app by its id; raise NotFound."""
        found = await self._asked.find(app_id, transcription_id, self._now())
        if found is None:
            raise NotFound("no such transcription")
        return found

    async def page(self, app_id: str, *, limit: int, cursor: str | None) -> Page[Transcribed]:
        """Return a page of the app's, newest first; raise InvalidFields for a cursor that is not ours."""
        return await self._asked.page(app_id, self._now(), limit=limit, cursor=cursor)

    async def numbered_page(
        self, app_id: str, filters: TranscriptionFilters, *, number: int, size: int
    ) -> NumberedPage[Transcribed]:
        """Return page ``number``, from 1, of the same list, with the count of all of it."""
        return await self._asked.numbered_page(app_id, filters, self._now(), number=number, size=size)

    async def search(self, app_id: str, said: str, *, limit: int, cursor: str | None) -> Page[Found]:
        """Return the app's transcripts in which all these words are, newest first; raise InvalidFields."""
        return await self._rows.search(app_id, said, self._now(), limit=limit, cursor=cursor)

    async def by_day(self, app_id: str, days: int) -> tuple[TranscribedDay, ...]:
        """Return what of an app was transcribed on each of the last days, the oldest first."""
        return await self._rows.by_day(app_id, days, self._now())

    async def transcribed_among(self, recordings: Sequence[Recording]) -> frozenset[str]:
        """Return the ids of those of these recordings that have a transcript."""
        there = [each.id for each in recordings if each.status is Status.AVAILABLE]
        return await self._asked.transcribed_among(there) if there else frozenset()

    # ---- erased before its recording ---------------------------------------------------------------------------

    async def erase(self, found: Transcribed) -> None:
        """Erase a transcription and its transcript (rule 3).

        Raise Conflict if the recording is held, Elsewhere if its files lie on another node's disk.
        """
        recording = found.recording
        if recording.stored is None:
            self._boundary.check_disk(recording.session_id)
        if recording.hold is not None or not await self._asked.remove(found.work, self._now()):
            await self._refuse(found)
            return
        if self._wake is not None:
            self._wake()  # who makes it sees that nobody wants it any more
        log.info("transcript_erased", recording_id=recording.id, app_id=recording.app_id)
        try:
            await self._files.delete_transcript(recording)
        except (OSError, DependencyError) as error:
            log.warning("transcript_copy_failed", recording_id=recording.id, error=str(error))

    async def _refuse(self, found: Transcribed) -> None:
        """Raise Conflict for one that is held; one that somebody has erased meanwhile is erased."""
        now = await self._asked.find(found.recording.app_id, found.work.id, self._now())
        if now is not None:
            raise Conflict("the recording is under a legal hold: what was said in it stays", state="held")
