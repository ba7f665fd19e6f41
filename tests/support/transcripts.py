"""Transcripts of apps over a catalog, for tests of an API without its server, and such as an engine could have made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.transcriptions import Transcription
from wavstream.model.recording import Recording
from wavstream.storage.stores import FinishedFiles
from wavstream.transcription.transcript import HeardSpan, HeardWord, encode, make_transcript
from wavstream.transcription.transcripts import Transcripts
from wavstream.turns.fair_pool import FairPool
from wavstream.workers.boundary import Alone


def transcripts_over(
    catalog: Catalog, files: FinishedFiles, now: Callable[[], datetime], *, wake: Callable[[], None] | None = None
) -> Transcripts:
    """Return those of a server that makes none, unless ``wake`` is told of each that is asked for."""
    return Transcripts(
        rows=catalog.transcriptions,
        asked=catalog.asked_transcriptions,
        files=files,
        reads=FairPool("download", threads=2),
        boundary=Alone(),
        now=now,
        wake=wake,
    )


async def ask(catalog: Catalog, recording: Recording, now: datetime, *, language: str = "en-US") -> Transcription:
    """Have a transcription of a recording begun."""
    work = await catalog.transcriptions.ask(recording, language, now)
    assert await catalog.transcriptions.begin(work)
    return work


async def say(
    catalog: Catalog, recording: Recording, said: str, now: datetime, *, language: str = "en-US"
) -> Transcription:
    """Have a transcript of a recording, in which that is said."""
    work = await ask(catalog, recording, now, language=language)
    words = tuple(HeardWord(word, 100 * place, 100 * place + 90) for place, word in enumerate(said.split()))
    span = HeardSpan(channel=0, start_ms=1000, end_ms=1000 + 100 * len(words), words=words)
    made = make_transcript(
        recording, [span], transcript_id=work.id, language=language, engine="http", timing="word", work_ms=1
    )
    assert await catalog.transcriptions.finish(
        work, encode(made), said=made.text, language=language, engine="http", now=now, facts=()
    )
    return work


async def fail(catalog: Catalog, recording: Recording, why: str, now: datetime) -> Transcription:
    """Have a transcription of a recording that has failed for good."""
    work = await ask(catalog, recording, now)
    await catalog.transcriptions.fail(work, why, engine="http", now=now, again=None)
    return work
