"""Which recordings are to be transcribed, and what was said in them, as rows.

1. A recording whose options ask for it is queued in the transaction in which it becomes ``available`` (``queue``, by
   ``Recordings``), where the server transcribes at all. Later it is queued by who asks for it (``ask``).
2. One that is being transcribed when the server ends is begun again by the next (``begin_again``), and so is one whose
   end could not be written.
3. ``finish`` writes the transcript, says that it is done and announces it, in one transaction: it is told once,
   whatever ends the server before or after. Of a recording that was erased meanwhile it writes nothing. ``fail``
   announces in the same way that there is none.
4. What was said in a recording that is held stays: a transcript of it is not made anew, which would erase the one that
   is there. One that was asked for before the hold is finished.
   What is erased goes with its recording (``catalog/erasures.py``), out of the index of words too. A transcript may be
   erased before its recording is (``catalog/asked_transcriptions.py``).
5. Words are looked for as they are kept (``sought_words``), each once for a transcript.
6. Each word is a row, and no full-text index of a database's own: what is erased has to be gone from the file, and
   SQLite's FTS5 keeps the words of deleted rows until it merges its parts one day (its option against that is younger
   than the SQLite of Debian 12, which could not read the catalog any more).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, text

from wavstream.catalog.database import Database, Prepared
from wavstream.catalog.outbox import Outbox
from wavstream.catalog.pages import Page, make_page, read_cursor
from wavstream.catalog.sought_words import kept_words, sought_words, transcripts_with
from wavstream.catalog.tables import transcript_words, transcriptions, transcripts
from wavstream.catalog.transcribed_speech import TranscribedDay, by_day, count
from wavstream.model.fact import Fact
from wavstream.model.ids import new_id
from wavstream.model.recording import Recording, Status
from wavstream.model.times import unix_us, utc


class TranscriptionStatus(StrEnum):
    """Where a transcription is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (TranscriptionStatus.DONE, TranscriptionStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Transcription:
    """The work of transcribing a recording, and what became of it."""

    id: str
    recording_id: str
    app_id: str
    status: TranscriptionStatus
    language: str | None
    """As it was asked for; None: nobody said. Of one that is done: what it is in."""
    since: datetime
    """When it was asked for."""
    attempts: int
    """Times that it has failed."""
    progress: int
    """Percent."""
    error: str | None
    """Why it failed, the last time."""
    engine: str | None
    done: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """A transcript in which words were found."""

    recording_id: str
    made: datetime
    document: bytes
    """JSON."""


_QUEUE = """
    INSERT INTO transcriptions (recording_id, id, app_id, status, language, since_us, due_us)
    VALUES (:recording, :id, :app, 'waiting', :language, :now, :now)
    ON CONFLICT (recording_id) DO
"""
_QUEUE_ONCE = Prepared(f"{_QUEUE} NOTHING")
_QUEUE_AGAIN = Prepared(f"""{_QUEUE} UPDATE SET id = excluded.id, status = 'waiting', language = excluded.language,
    since_us = excluded.since_us, due_us = excluded.due_us, attempts = 0, progress = 0, error = NULL, engine = NULL,
    done_us = NULL
    WHERE transcriptions.status IN ('done', 'failed') AND NOT (
        EXISTS (SELECT 1 FROM transcripts WHERE recording_id = :recording)
        AND EXISTS (SELECT 1 FROM recordings WHERE id = :recording AND hold_json IS NOT NULL)
    )
""")
_GET = text("SELECT * FROM transcriptions WHERE recording_id = :recording")
# Of each app the few that have waited longest: one that asks for a thousand must not hide the others'.
_DUE = text("""
    SELECT * FROM (
        SELECT t.*, row_number() OVER (PARTITION BY app_id ORDER BY since_us, recording_id) AS place
        FROM transcriptions t WHERE due_us <= :now AND NOT EXISTS (
            SELECT 1 FROM uploads u WHERE :in_store = 1 AND u.recording_id = t.recording_id
        )
    ) AS waiting WHERE place <= :limit ORDER BY since_us, recording_id
""")
_NEXT_DUE = text("SELECT min(due_us) FROM transcriptions WHERE due_us > :now")
_COUNTS = text("SELECT count(*), min(since_us) FROM transcriptions WHERE due_us IS NOT NULL")
_BEGIN = Prepared("""
    UPDATE transcriptions SET status = 'running', due_us = NULL, progress = 0
    WHERE recording_id = :recording AND id = :id AND status = 'waiting'
""")
_RUNNING = text("SELECT recording_id FROM transcriptions WHERE status = 'running'")
_BEGIN_AGAIN = Prepared("""
    UPDATE transcriptions SET status = 'waiting', due_us = :now WHERE recording_id = :recording AND status = 'running'
""")
_PROGRESS = Prepared("""
    UPDATE transcriptions SET progress = :progress WHERE recording_id = :recording AND id = :id AND status = 'running'
""")
_FAIL = Prepared("""
    UPDATE transcriptions SET status = :status, due_us = :due, attempts = attempts + 1, error = :error,
        engine = :engine, done_us = :done
    WHERE recording_id = :recording AND id = :id AND status = 'running'
""")
_FINISH = Prepared("""
    UPDATE transcriptions SET status = 'done', due_us = NULL, progress = 100, error = NULL, language = :language,
        engine = :engine, done_us = :done
    WHERE recording_id = :recording AND id = :id AND status = 'running'
        AND EXISTS (SELECT 1 FROM recordings WHERE id = :recording AND status = 'available')
""")
_DOCUMENT = text("SELECT document FROM transcripts WHERE recording_id = :recording")
_WORDS = text("SELECT app_id, made_us, words FROM transcripts WHERE recording_id = :recording")


def queue(connection: Connection, recording: Recording) -> None:
    """Queue a recording whose row was just written, if its options ask for it, unless it is queued (rule 1)."""
    if recording.status is Status.AVAILABLE and recording.options.transcription:
        now = recording.kept_since or recording.changed_at
        _QUEUE_ONCE.run(connection, _asked(recording, recording.options.transcription_language, now))


def erase(connection: Connection, recording_id: str) -> None:
    """Delete what there is of a recording (rule 4)."""
    erase_transcript(connection, recording_id)
    connection.execute(text("DELETE FROM transcriptions WHERE recording_id = :recording"), {"recording": recording_id})


class Transcriptions:
    """The queue and the transcripts; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def ask(self, recording: Recording, language: str | None, now: datetime) -> Transcription:
        """Queue a recording that can be fetched, and return its transcription: the one that is under way if one is.

        It is over if a hold keeps it as it is (rule 4).
        """
        asked = _asked(recording, language, now)

        def write(connection: Connection) -> Transcription:
            _QUEUE_AGAIN.run(connection, asked)
            return transcription_of(connection.execute(_GET, asked).mappings().one())

        return await self._database.write(write)

    async def get(self, recording_id: str) -> Transcription | None:
        """Return the transcription of a recording; None: nobody has asked for one."""

        def read(connection: Connection) -> Transcription | None:
            row = connection.execute(_GET, {"recording": recording_id}).mappings().one_or_none()
            return None if row is None else transcription_of(row)

        return await self._database.read(read)

    async def document(self, recording_id: str) -> bytes | None:
        """Return the transcript of a recording as JSON; None: there is none."""

        def read(connection: Connection) -> bytes | None:
            found = connection.execute(_DOCUMENT, {"recording": recording_id}).scalar_one_or_none()
            return None if found is None else zlib.decompress(found)

        return await self._database.read(read)

    async def due(self, now: datetime, limit: int, *, in_store: bool = False) -> list[Transcription]:
        """Return what is to be transcribed now, of each app at most ``limit``, the longest waiting first.

        ``in_store``: nothing that still waits for its upload.
        """
        asked = {"now": unix_us(now), "limit": limit, "in_store": int(in_store)}
        return await self._database.read(
            lambda connection: [transcription_of(row) for row in connection.execute(_DUE, asked).mappings()]
        )

    async def next_due(self, now: datetime) -> datetime | None:
        """Return when more is due; None: nothing waits for a moment."""
        asked = {"now": unix_us(now)}
        due_us = await self._database.read(lambda connection: connection.execute(_NEXT_DUE, asked).scalar_one())
        return None if due_us is None else utc(due_us)

    async def backlog(self) -> tuple[int, datetime | None]:
        """Return how many wait, and since when the first of them does."""
        count, since_us = await self._database.read(lambda connection: connection.execute(_COUNTS).one())
        return int(count), None if since_us is None else utc(since_us)

    async def begin_again(self, now: datetime, running: Collection[str] = ()) -> int:
        """Queue what is said to be transcribed and is not (rule 2); return how many that were.

        ``running`` are the recordings that are transcribed.
        """

        def write(connection: Connection) -> int:
            lost = [each for each in connection.execute(_RUNNING).scalars() if each not in running]
            return sum(_BEGIN_AGAIN.run(connection, {"recording": each, "now": unix_us(now)}) for each in lost)

        return await self._database.write(write)

    async def running(self) -> set[str]:
        """Return the ids of what is said to be transcribed."""
        statement = select(transcriptions.c.id).where(transcriptions.c.status == TranscriptionStatus.RUNNING.value)
        return await self._database.read(lambda connection: set(connection.execute(statement).scalars()))

    async def begin(self, each: Transcription) -> bool:
        """Note that it is being transcribed; return False if it is not to be any more."""
        asked = {"recording": each.recording_id, "id": each.id}
        return await self._database.write(lambda connection: _BEGIN.run(connection, asked)) == 1

    async def note_progress(self, each: Transcription, percent: int) -> None:
        """Note how far it is."""
        asked = {"recording": each.recording_id, "id": each.id, "progress": percent}
        await self._database.write(lambda connection: _PROGRESS.run(connection, asked))

    async def fail(
        self,
        each: Transcription,
        error: str,
        *,
        engine: str,
        now: datetime,
        again: datetime | None,
        facts: Sequence[Fact] = (),
    ) -> None:
        """Note that it has failed, and when it is tried again; None: it is not, and ``facts`` announce that."""
        status = TranscriptionStatus.FAILED if again is None else TranscriptionStatus.WAITING
        values = {
            "recording": each.recording_id,
            "id": each.id,
            "status": status.value,
            "due": None if again is None else unix_us(again),
            "error": error.replace("\0", ""),
            "engine": engine,
            "done": unix_us(now) if again is None else None,
        }

        def write(connection: Connection) -> set[str]:
            return self._outbox.add(connection, facts) if _FAIL.run(connection, values) == 1 else set()

        self._outbox.tell_dispatcher(await self._database.write(write))

    async def finish(
        self,
        each: Transcription,
        document: bytes,
        *,
        said: str,
        language: str,
        engine: str,
        now: datetime,
        facts: Sequence[Fact],
        speech_ms: int = 0,
    ) -> bool:
        """Write a transcript, count and announce it (rule 3); return False if nobody wants it any more."""
        asked = {"recording": each.recording_id, "id": each.id}
        values = asked | {"language": language, "engine": engine, "done": unix_us(now)}
        kept = kept_words(said)
        row = {
            "recording_id": each.recording_id,
            "app_id": each.app_id,
            "made_us": unix_us(now),
            "document": zlib.compress(document),
            "words": " ".join(kept),
        }

        def write(connection: Connection) -> tuple[bool, set[str]]:
            if _FINISH.run(connection, values) != 1:
                return False, set()
            erase_transcript(connection, each.recording_id)
            connection.execute(insert(transcripts).values(row))
            if kept:
                connection.execute(insert(transcript_words), _word_rows(row))
            count(connection, each.app_id, speech_ms, now)
            return True, self._outbox.add(connection, facts)

        is_written, told = await self._database.write(write)
        self._outbox.tell_dispatcher(told)
        return is_written

    async def by_day(self, app_id: str, days: int, now: datetime) -> tuple[TranscribedDay, ...]:
        """Return what of an app was transcribed on each of the last days, the oldest first."""
        return await self._database.read(lambda connection: by_day(connection, app_id, days, now))

    async def search(
        self, app_id: str, said: str, now: datetime, *, limit: int, cursor: str | None = None
    ) -> Page[Found]:
        """Return transcripts of an app in which all these words are said (rule 5), the newest first.

        Raise InvalidFields for a cursor that is not ours.
        """
        words = sorted(frozenset[str]().union(*sought_words(said)))
        place = None if cursor is None else read_cursor(cursor)

        def read(connection: Connection) -> Page[Found]:
            rows = (
                connection.execute(transcripts_with(connection, app_id, words, place, now).limit(limit + 1))
                .mappings()
                .all()
            )
            return make_page(rows, limit, time="made_us", make=_found)

        return await self._database.read(read)


def erase_transcript(connection: Connection, recording_id: str) -> None:
    """Delete the transcript of a recording, out of the index of words too."""
    row = connection.execute(_WORDS, {"recording": recording_id}).mappings().one_or_none()
    if row is None:
        return
    connection.execute(delete(transcripts).where(transcripts.c.recording_id == recording_id))
    if rows := _word_rows(dict(row) | {"recording_id": recording_id}):
        columns = transcript_words.c
        connection.execute(
            delete(transcript_words).where(*(columns[name] == bindparam(f"old_{name}") for name in rows[0])),
            [{f"old_{name}": value for name, value in each.items()} for each in rows],
        )


def _word_rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("app_id", "made_us", "recording_id")
    return [{name: row[name] for name in names} | {"word": word} for word in row["words"].split()]


def _asked(recording: Recording, language: str | None, now: datetime) -> dict[str, object]:
    return {
        "recording": recording.id,
        "id": new_id(),
        "app": recording.app_id,
        "language": language,
        "now": unix_us(now),
    }


def _found(row: Any) -> Found:
    return Found(recording_id=row["recording_id"], made=utc(row["made_us"]), document=zlib.decompress(row["document"]))


def transcription_of(row: Any) -> Transcription:
    """Return what a row says."""
    return Transcription(
        id=row["id"],
        recording_id=row["recording_id"],
        app_id=row["app_id"],
        status=TranscriptionStatus(row["status"]),
        language=row["language"],
        since=utc(row["since_us"]),
        attempts=row["attempts"],
        progress=row["progress"],
        error=row["error"],
        engine=row["engine"],
        done=None if row["done_us"] is None else utc(row["done_us"]),
    )
