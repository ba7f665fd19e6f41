"""``/v2/recordings``: list, read and erase finished recordings.

1. Whatever is not finished, or is gone, is not there. So it is with what belongs to another app.
2. Ids by which the vendor knows a call are looked for among those that the media server told. Where no recording has
   one, the value counts that is shown in its place: the call control id, or our app's id.
3. The client sends a deletion again when it got no answer. What it finds erased then is what it erased.
4. Of several recordings all are erased or none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

from fastapi import Path, Query
from starlette.responses import JSONResponse

from wavstream.api.facade import AppId, FacadeDependencies
from wavstream.api.playback import as_of
from wavstream.api.routes import Router
from wavstream.api.telnyx.answers import (
    DeletionAnswer,
    RecordingAnswer,
    RecordingList,
    errors,
    page_meta,
    recording_data,
)
from wavstream.api.telnyx.calls import IsRetry
from wavstream.api.telnyx.refusals import Mistake, Refused, no_such_recording
from wavstream.api.telnyx.requests import DeleteRecordings, ListRecordings, after, is_recording_id
from wavstream.catalog.pages import NumberedPage
from wavstream.errors import NotFound
from wavstream.model.app import app_name
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import from_uuid
from wavstream.model.recording import Recording, Status
from wavstream.webhooks.telnyx import LINK_TTL_S

Id = Annotated[str, Path(description="A recording's id.", examples=["0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42"])]

_HELD = "The recording is under a legal hold: it cannot be erased."


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of recordings."""
    router = Router(prefix="/v2")
    recordings = _Recordings(parts)

    def link(recording: Recording, ext: Literal["wav", "mp3"]) -> str:
        path = parts.urls.links.signed_path(recording, ext=ext, now=parts.now(), ttl_s=LINK_TTL_S)
        return parts.urls.public_url + path

    @router.get(
        "/recordings",
        operation_id="listRecordings",
        summary="List recordings",
        tags=["recordings"],
        response_model=RecordingList,
        responses=errors(422),
    )
    async def list_page(query: Annotated[ListRecordings, Query()], app_id: AppId) -> JSONResponse:
        """List the app's finished recordings, newest first, whichever API started them."""
        size = min(query.page_size, parts.page_limit)
        page = await recordings.page(app_id, query, size=size)
        answer = RecordingList(
            data=[recording_data(recording, link) for recording in page.data if recordings.is_there(recording)],
            meta=page_meta(number=query.page_number, size=size, total=page.total),
        )
        return JSONResponse(answer.as_json())

    @router.get(
        "/recordings/{recording_id}",
        operation_id="readRecording",
        summary="Read a recording",
        tags=["recordings"],
        response_model=RecordingAnswer,
        responses=errors(404),
    )
    async def read(recording_id: Id, app_id: AppId) -> JSONResponse:
        """Read a finished recording; the links in it are made anew each time."""
        recording = await recordings.get(app_id, recording_id)
        return JSONResponse(RecordingAnswer(data=recording_data(recording, link)).as_json())

    @router.delete(
        "/recordings/{recording_id}",
        operation_id="eraseRecording",
        summary="Erase a recording",
        tags=["recordings"],
        response_model=RecordingAnswer,
        responses=errors(404, 422),
    )
    async def erase(recording_id: Id, app_id: AppId, again: IsRetry) -> JSONResponse:
        """Erase a finished recording that is not held. Its links open nothing any more."""
        recording = await recordings.get(app_id, recording_id, or_erased=again)
        await recordings.erase(recording)
        return JSONResponse(RecordingAnswer(data=recording_data(recording, None)).as_json())

    @router.post(
        "/recordings/actions/delete",
        operation_id="eraseRecordings",
        summary="Erase several recordings",
        tags=["recordings"],
        response_model=DeletionAnswer,
        responses=errors(400, 404, 413, 422),
    )
    async def erase_several(said: DeleteRecordings, app_id: AppId, again: IsRetry) -> JSONResponse:
        """Erase finished recordings: all that are named, or none if one of them is not there or is held."""
        for recording in await recordings.get_all(app_id, said.ids, or_erased=again):
            await recordings.erase(recording)
        return JSONResponse(DeletionAnswer().as_json())

    return router


class _Recordings:
    """The finished recordings of apps."""

    def __init__(self, parts: FacadeDependencies) -> None:
        self._parts = parts
        self._commands = parts.commands

    async def page(self, app_id: str, query: ListRecordings, *, size: int) -> NumberedPage[Recording]:
        """Return a page of those to which the query applies."""
        page: NumberedPage[Recording] = NumberedPage(data=(), total=0)
        for filters in _filters(app_id, query):  # rule 2
            page = await self._commands.numbered_page(
                app_id=app_id, filters=filters, number=query.page_number, size=size
            )
            if page.total:
                break
        return page

    async def get(self, app_id: str, recording_id: str, *, or_erased: bool = False) -> Recording:
        """Return a finished recording, or one that is erased already; raises Refused."""
        if not is_recording_id(recording_id):
            raise Refused(Mistake("10006", "The id of a recording is a UUID."), status=NotFound.http_status)
        try:
            recording = await self._commands.get(app_id=app_id, recording_id=from_uuid(recording_id))
        except NotFound:
            raise no_such_recording() from None
        if or_erased and recording.status is Status.DELETED:  # rule 3
            return recording
        if not self.is_there(recording):  # rule 1
            raise no_such_recording()
        return recording

    def is_there(self, recording: Recording) -> bool:
        """Return whether a recording is finished, and its retention is not over."""
        return as_of(self._parts.now(), recording).status is Status.AVAILABLE

    async def get_all(self, app_id: str, recording_ids: list[str], *, or_erased: bool) -> list[Recording]:
        """Return finished recordings that can be erased; raises Refused with all that are not there, or are held."""
        found: dict[str, Recording] = {}
        missing: list[Mistake] = []
        held: list[Mistake] = []
        for number, recording_id in enumerate(recording_ids):
            try:
                recording = await self.get(app_id, recording_id, or_erased=or_erased)
            except Refused as error:
                missing += [replace(mistake, place=f"/ids/{number}") for mistake in error.mistakes]
                continue
            found[recording.id] = recording
            if recording.hold is not None:
                held.append(Mistake("10015", _HELD, f"/ids/{number}"))
        if missing:  # rule 4
            raise Refused(*missing, *held, status=NotFound.http_status)
        if held:
            raise Refused(*held)
        return list(found.values())

    async def erase(self, recording: Recording) -> None:
        """Erase a recording, unless it is erased; raises Conflict for one that is held."""
        if recording.status is not Status.DELETED:
            await self._commands.delete(app_id=recording.app_id, recording_id=recording.id)


_FALLBACKS = ("call_leg_id", "call_session_id", "connection_id")
_ONLY_TOLD = ("conference_id", "conference_region", "sip_call_id")


def _filters(app_id: str, query: ListRecordings) -> Iterator[RecordingFilters]:
    """Yield what a query may mean, the likeliest first (rule 2)."""
    ways = [_ways(app_id, name, value) for name in _FALLBACKS if (value := getattr(query, name)) is not None]
    told = {name: value for name in _ONLY_TOLD if (value := getattr(query, name)) is not None}
    asked = {query.call_control_id} - {None}
    for chosen in itertools.product(*ways):
        calls = asked | {way.call for way in chosen} - {None}
        if len(calls) > 1:
            continue
        yield RecordingFilters(
            session_id=next(iter(calls), None),
            statuses=frozenset({Status.AVAILABLE}),
            from_=query.from_,
            to=query.to,
            vendor_ids=told | {way.name: way.value for way in chosen},
            created_from=query.created_from,
            created_until=after(query.created_to),
            started_from=query.started_from,
            started_until=after(query.started_to),
            ended_from=query.ended_from,
            ended_until=after(query.ended_to),
        )


class _Way(NamedTuple):
    """One meaning of an id that is asked for: that which the media server told, or that which is shown in its place."""

    name: str
    value: str | None = None
    """As the media server told it; None: it told none."""
    call: str | None = None
    """The call control id that a recording must have; None: any."""


def _ways(app_id: str, name: str, value: str) -> list[_Way]:
    told = _Way(name, value=value)
    if name == "connection_id":
        return [told, _Way(name)] if value == app_name(app_id) else [told]
    return [told, _Way(name, call=value)]
