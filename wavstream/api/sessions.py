"""``/v1/sessions`` and ``/v1/stream-tokens``: sessions that are live or announced, and keys to stream them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import Query, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId, KeyId
from wavstream.api.options import SessionId
from wavstream.api.paths import ANY_TEXT
from wavstream.api.routes import Router
from wavstream.api.schemas import SessionList, StreamToken
from wavstream.model.call import CallFacts
from wavstream.model.session import SessionView


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable characters")
    return text


Party = Annotated[str, Field(max_length=256), AfterValidator(_printable)]


class AnnounceSession(BaseModel):
    """Make a session known before it streams, or tell more of one that does."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"session_id": "call-77", "from": "+15550100", "to": "+15550199", "direction": "inbound"}]
        },
    )

    session_id: SessionId
    from_: Party = Field(default="", alias="from")
    """The calling party."""
    to: Party = ""
    """The called party."""
    direction: Literal["inbound", "outbound", ""] = ""
    """Seen from the switch."""
    vendor_ids: Annotated[
        dict[Annotated[str, Field(min_length=1), AfterValidator(_printable)], Party], Field(max_length=20)
    ] = Field(default={})
    """The switch's own ids of the call, by its names for them."""


class ListQuery(BaseModel):
    """Which page to read. What else is asked for has always been passed over here."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Sessions in the page; the server's own limit (200 unless set otherwise) cuts it."""
    cursor: str | None = None
    """The `next_cursor` of the page before."""


class MakeStreamToken(BaseModel):
    """Ask for a key that opens media streams for a short while, to be given to a media server."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"session_id": "call-77", "ttl_s": 60}]},
    )

    session_id: SessionId | None = None
    """The only session that it opens; null: any of the app."""
    ttl_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Seconds within which a stream must be opened; an open one lives on."""


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of sessions."""
    router = Router(prefix="/v1", tags=["sessions"])
    commands = parts.commands

    @router.get(
        "/sessions",
        operation_id="listSessions",
        summary="List live sessions",
        description="The app's sessions that stream, or are waited for, oldest first.",
        response_model=SessionList,
        responses=problems(401, 422),
    )
    async def list_live(query: Annotated[ListQuery, Query()], app_id: AppId) -> Response:
        page = await commands.sessions(app_id, limit=min(query.limit, parts.page_limit), cursor=query.cursor)
        more: dict[str, object] = {} if page.next_cursor is None else {"next_cursor": page.next_cursor}
        if page.left_out:
            more["workers_left_out"] = page.left_out
        return JSONResponse({"data": page.data, **more})

    @router.post(
        "/sessions",
        operation_id="announceSession",
        summary="Announce a session",
        status_code=201,
        response_model=SessionView,
        responses=problems(400, 401, 404, 413, 422, 503),
    )
    async def announce(request: AnnounceSession, app_id: AppId) -> Response:
        """Make a session known before its streams, with what is known of the call."""
        call = CallFacts(from_=request.from_, to=request.to, direction=request.direction, vendor_ids=request.vendor_ids)
        view = await commands.announce(app_id=app_id, session_id=request.session_id, call=call)
        return JSONResponse(view.as_json() | parts.media_url_of(request.session_id), status_code=201)

    @router.get(
        f"/sessions/{{session_id:{ANY_TEXT}}}",
        operation_id="readSession",
        summary="Read a live session",
        description="Its streams, legs and recordings, and why a stream is silent. The id is percent-encoded. While a "
        "restart brings the session back, or another node takes it over, the answer is 503.",
        response_model=SessionView,
        responses=problems(401, 404, 503),
    )
    async def read(session_id: str, app_id: AppId) -> Response:
        return JSONResponse(commands.session(app_id, session_id).as_json() | parts.media_url_of(session_id))

    @router.post(
        "/stream-tokens",
        operation_id="makeStreamToken",
        summary="Make a stream token",
        description="A short-lived key for media sockets, so that the app's own key need not be in a media server's "
        "dial plan. It ends with the key that asked for it.",
        status_code=201,
        response_model=StreamToken,
        responses=problems(400, 401, 413, 422),
    )
    async def make_token(request: MakeStreamToken, app_id: AppId, key_id: KeyId) -> Response:
        expires_at = parts.now() + timedelta(seconds=request.ttl_s)
        token = parts.authenticator.make_token(
            app_id=app_id, session_id=request.session_id, expires_at=expires_at, key_id=key_id
        )
        made = StreamToken(token=token, session_id=request.session_id, expires_at=expires_at)
        answer = made.as_json() | parts.media_url_of(request.session_id)
        return JSONResponse(answer, status_code=201, headers={"Cache-Control": "no-store"})

    return router
