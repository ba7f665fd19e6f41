"""Transcripts: ask for what was said in a recording (its ``transcription``), read it, look for words in all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import Header, Query, Response
from fastapi.responses import JSONResponse

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId
from wavstream.api.playback import as_of
from wavstream.api.problems import problem
from wavstream.api.routes import Router
from wavstream.api.transcript_documents import (
    AskForTranscript,
    DaysQuery,
    FoundTranscript,
    FoundTranscripts,
    Hit,
    Redactions,
    SearchQuery,
    TranscribedDays,
    TranscriptDocument,
    TranscriptionDocument,
)
from wavstream.catalog.sought_words import sought_words, words_of
from wavstream.catalog.transcriptions import Found, Transcription
from wavstream.errors import NotFound
from wavstream.model.recording import Recording
from wavstream.transcription.redaction import redaction_spans
from wavstream.transcription.texts import MEDIA_TYPES
from wavstream.transcription.transcript import decode, names_of

OfPage = Annotated[str | None, Header(alias="X-Wavstream-Console", include_in_schema=False)]
"""The header that the console sends with each request."""
HITS = 5
"""Of one transcript, in what is found."""
_OFF = "This server makes no transcripts: whoever runs it can set WAVSTREAM_TRANSCRIPTION__ENGINE"


_NOTHING_SAID = AskForTranscript()


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of transcripts."""
    router = Router(tags=["transcripts"])
    of_one = "/v1/recordings/{recording_id}"

    async def recording_of(app_id: str, recording_id: str) -> Recording:
        return as_of(parts.now(), await parts.commands.get(app_id=app_id, recording_id=recording_id))

    @router.post(
        f"{of_one}/transcription",
        operation_id="transcribeRecording",
        summary="Transcribe a recording",
        description="Ask for a transcript of a finished recording. One that is under way goes on; one that failed, or "
        "is there, is made anew. The body may be left out.",
        status_code=202,
        response_model=TranscriptionDocument,
        response_description="The work: `waiting`, or `running`.",
        responses=problems(400, 401, 404, 409, 413, 422, 503),
    )
    async def ask(recording_id: str, app_id: AppId, request: AskForTranscript = _NOTHING_SAID) -> Response:
        recording = await recording_of(app_id, recording_id)
        if not parts.transcripts.are_made:
            return problem(503, _OFF)
        asked = await parts.transcripts.ask(recording, request.language)
        return JSONResponse(_document(asked).as_json(), status_code=202)

    @router.get(
        f"{of_one}/transcription",
        operation_id="readTranscription",
        summary="Read how the transcription is",
        response_model=TranscriptionDocument,
        responses=problems(401, 404, 503),
    )
    async def read(recording_id: str, app_id: AppId, of_page: OfPage = None) -> Response:
        """Whether it waits, how far it is, whether it failed and why."""
        recording = await recording_of(app_id, recording_id)
        found = await parts.transcripts.of(recording)
        if found is None and of_page is not None:  # it asks of each recording, and a browser counts a 404 as an error
            return Response(status_code=204)
        if found is None:
            raise NotFound("nobody has asked for a transcript of the recording")
        return JSONResponse(_document(found).as_json())

    @router.get(
        f"{of_one}/transcript",
        operation_id="readTranscript",
        summary="Read the transcript",
        description="What was said, by channel, with the times of each word.",
        response_model=TranscriptDocument,
        responses=problems(401, 404, 503),
    )
    async def transcript(recording_id: str, app_id: AppId) -> Response:
        document = await parts.transcripts.document(await recording_of(app_id, recording_id))
        return Response(document, media_type=JSONResponse.media_type)

    def add_text(extension: str, name: str) -> None:
        async def text(recording_id: str, app_id: AppId) -> Response:
            body = await parts.transcripts.text(await recording_of(app_id, recording_id), extension)
            return Response(body, media_type=MEDIA_TYPES[extension])

        media_type = MEDIA_TYPES[extension].partition(";")[0]
        router.add_api_route(
            f"{of_one}/transcript.{extension}",
            text,
            operation_id=f"readTranscript{extension.capitalize()}",
            summary=f"Read the transcript as {name}",
            description="Speakers are the legs of the call.",
            response_class=Response,
            responses={
                200: {"content": {media_type: {"schema": {"type": "string"}}}},
                **problems(401, 404, 503),
            },
        )

    for extension, name in (("txt", "text"), ("srt", "SubRip"), ("vtt", "WebVTT")):
        add_text(extension, name)

    @router.get(
        f"{of_one}/transcript/redactions",
        operation_id="readRedactions",
        summary="Read what may have to be redacted",
        description="Numbers of payment cards that were said: digits with the right check digit. Nothing is redacted.",
        response_model=Redactions,
        responses=problems(401, 404, 503),
    )
    async def redactions(recording_id: str, app_id: AppId) -> Response:
        found = await parts.transcripts.transcript(await recording_of(app_id, recording_id))
        spans = await parts.downloads.run(app_id, redaction_spans, found)
        return JSONResponse({"recording_id": found.recording_id, "spans": msgspec.to_builtins(spans)})

    @router.get(
        "/v1/transcripts",
        operation_id="searchTranscripts",
        summary="Look for words in transcripts",
        description="The app's recordings in which all of the words were said, the newest transcript first.",
        response_model=FoundTranscripts,
        responses=problems(401, 422, 503),
    )
    async def search(query: Annotated[SearchQuery, Query()], app_id: AppId) -> Response:
        limit = min(query.limit, parts.page_limit)
        page = await parts.transcripts.search(app_id, query.q, limit=limit, cursor=query.cursor)
        wanted = sought_words(query.q)

        def shown() -> list[dict[str, Any]]:
            return [_found(each, wanted).as_json() for each in page.data]

        data = await parts.downloads.run(app_id, shown)
        return JSONResponse({"data": data, "next_cursor": page.next_cursor})

    @router.get(
        "/v1/transcripts/usage",
        operation_id="readTranscribedDays",
        summary="Read how much was transcribed",
        description="Transcripts of the app and the speech in them, by the day on which they were made.",
        response_model=TranscribedDays,
        responses=problems(401, 422, 503),
    )
    async def usage(query: Annotated[DaysQuery, Query()], app_id: AppId) -> Response:
        found = await parts.transcripts.by_day(app_id, query.days)
        return JSONResponse({"data": msgspec.to_builtins(found)})

    return router


def _document(work: Transcription) -> TranscriptionDocument:
    return TranscriptionDocument(
        id=work.id,
        recording_id=work.recording_id,
        status=work.status,
        progress=work.progress,
        language=work.language,
        engine=work.engine,
        attempts=work.attempts,
        error=work.error,
        created_at=work.since,
        done_at=work.done,
    )


def _found(found: Found, wanted: Sequence[frozenset[str]]) -> FoundTranscript:
    transcript = decode(found.document)
    names = names_of(transcript)
    said = [(each, words_of(each.text)) for each in transcript.segments]
    # Of scripts without spaces the pairs of a word may be in several: better those than none.
    hits = [each for each, words in said if any(word <= words for word in wanted)] or [
        each for each, words in said if any(word & words for word in wanted)
    ]
    return FoundTranscript(
        recording_id=found.recording_id,
        transcribed_at=found.made,
        language=transcript.language,
        hits=[
            Hit(channel=each.channel, speaker=names.get(each.channel, "?"), start_ms=each.start_ms, text=each.text)
            for each in hits[:HITS]
        ],
    )
