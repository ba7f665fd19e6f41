"""``/v1/webhooks/dead-letters``: webhooks that were given up; read them, and have them sent again."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId
from wavstream.api.routes import Router
from wavstream.catalog.dead_letters import REPLAYED_AT_ONCE
from wavstream.errors import NotFound
from wavstream.model.document import Document
from wavstream.model.fact import Announcement
from wavstream.model.times import Moment
from wavstream.webhooks.vocabularies import Vocabularies

_ID = "5f0c0b6e8a1d5c7f9e3b2a4d6c8e0f12"
_EXAMPLE: dict[str, Any] = {
    "id": _ID,
    "event": "recording.completed",
    "session_id": "call-77",
    "sequence": 2,
    "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
    "attempts": 149,
    "error": "answered 500",
    "created_at": "2026-11-01T10:01:01.240000Z",
    "died_at": "2026-11-02T10:01:01.240000Z",
}
_FIELDS: dict[str, Any] = {
    "recording_url": "https://rec.example.com/files/0d6c.wav",
    "duration": 62,
    "command_uid": "rec-1",
    "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
}
_BODY: dict[str, Any] = {
    "event": "recording.completed",
    "session_uuid": "call-77",
    **_FIELDS,
    "sequence": 2,
    "data": _FIELDS,
}


class DeadLetter(Document):
    """A webhook that was given up."""

    id: str
    """Its `webhook-id`, also when it is sent again."""
    event: str
    session_id: str
    sequence: int
    """Its place among all that the app is told of the session."""
    recording_id: str | None
    """The recording that it tells of; null: of a command."""
    attempts: int
    """Tries that failed."""
    error: str
    """Why the last of them failed, for a person."""
    created_at: Moment
    died_at: Moment
    """When it was given up; it is kept for 30 days from then."""


class WholeDeadLetter(DeadLetter):
    """A webhook that was given up, with its body."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "body": _BODY}]})

    body: dict[str, Any]
    """What is posted if it is sent again."""


class DeadLetterPage(Document):
    """Webhooks that were given up, the last first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"data": [_EXAMPLE], "next_cursor": "MTc5MzUyNzI2MTI0MDAwMDo1ZjBj"}]}
    )

    data: list[DeadLetter]
    next_cursor: str | None
    """Give it as `cursor` to read on; null: there is no more."""


class ReplayDeadLetters(BaseModel):
    """Which dead letters to send again."""

    model_config = ConfigDict(
        strict=True, extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"ids": [_ID]}, {}]}
    )

    ids: Annotated[list[str], Field(max_length=REPLAYED_AT_ONCE)] | None = None
    """Those that are not dead letters of the app are passed over; null: all, the 1000 that were given up first."""


class Replayed(Document):
    """What was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"replayed": 1}]})

    replayed: int
    """How many are on their way again; with 1000 there may be more."""


class ListQuery(BaseModel):
    """Which page to read."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Dead letters in the page; the server's own limit (200 unless set otherwise) cuts it."""
    cursor: str | None = None
    """The `next_cursor` of the page before."""


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of dead letters."""
    router = Router(prefix="/v1/webhooks/dead-letters", tags=["webhooks"])
    letters, words = parts.dead_letters, parts.messages.vocabularies

    @router.get(
        "",
        operation_id="listDeadLetters",
        summary="List dead letters",
        description="The app's webhooks that were given up, the last first.",
        response_model=DeadLetterPage,
        responses=problems(401, 422, 503),
    )
    async def list_page(query: Annotated[ListQuery, Query()], app_id: AppId) -> Response:
        page = await letters.page(app_id, limit=min(query.limit, parts.page_limit), cursor=query.cursor)
        data = [DeadLetter(**_facts(each, words)) for each in page.data]
        shown = DeadLetterPage(data=data, next_cursor=page.next_cursor)
        return JSONResponse(shown.as_json())

    @router.get(
        "/{letter_id}",
        operation_id="readDeadLetter",
        summary="Read a dead letter",
        description="One of them, with the body that would be sent.",
        response_model=WholeDeadLetter,
        responses=problems(401, 404, 503),
    )
    async def read(letter_id: str, app_id: AppId) -> Response:
        letter = await letters.get(app_id, letter_id)
        if letter is None:
            raise NotFound("There is no such dead letter.")
        occasion = parts.messages.occasion(letter, url=letter.fact.url or "", now=parts.now())
        body = msgspec.json.decode(words.of(letter.fact).render(letter.fact, occasion))
        return JSONResponse(WholeDeadLetter(**_facts(letter, words), body=body).as_json())

    @router.post(
        "/replay",
        operation_id="replayDeadLetters",
        summary="Send dead letters again",
        description="Each is tried for another 24 hours, with its id and its sequence, and is no dead letter "
        "meanwhile.",
        response_model=Replayed,
        responses=problems(400, 401, 413, 422, 503),
    )
    async def replay(request: ReplayDeadLetters, app_id: AppId) -> Response:
        replayed = await letters.replay(app_id, request.ids, parts.now())
        return JSONResponse(Replayed(replayed=replayed).as_json())

    return router


def _facts(letter: Announcement, words: Vocabularies) -> dict[str, Any]:
    fact = letter.fact
    return {
        "id": fact.id,
        "event": words.event_of(fact),
        "session_id": fact.session_id,
        "sequence": letter.sequence,
        "recording_id": fact.recording_id,
        "attempts": letter.attempts,
        "error": letter.error,
        "created_at": fact.at,
        "died_at": letter.died_at,
    }
