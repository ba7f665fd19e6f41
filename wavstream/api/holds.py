"""``/v1/recordings/{id}/hold``: keep a recording, whatever retention or its owner say."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId
from wavstream.api.playback import as_of
from wavstream.api.routes import Router
from wavstream.model.document import RecordingDocument, recording_document
from wavstream.model.recording import LegalHold, Recording


def _said(text: str) -> str:
    if not text.isprintable() or text.isspace():
        raise ValueError("must be printable characters, and not only spaces")
    return text


class PutHold(BaseModel):
    """Hold a recording."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"by": "J. Doe, legal", "reason": "case 4711"}]},
    )

    by: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_said)]
    """Who wants it kept."""
    reason: Annotated[str, Field(min_length=1, max_length=1_024), AfterValidator(_said)]
    """Why."""


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of holds."""
    router = Router(prefix="/v1/recordings", tags=["recordings"])

    def answer(recording: Recording) -> JSONResponse:
        return JSONResponse(recording_document(as_of(parts.now(), recording), url=parts.urls.of(recording)).as_json())

    @router.post(
        "/{recording_id}/hold",
        operation_id="holdRecording",
        summary="Hold a recording",
        response_model=RecordingDocument,
        responses=problems(400, 401, 404, 409, 413, 422, 503),
    )
    async def put(recording_id: str, request: PutHold, app_id: AppId) -> Response:
        """Keep it until it is released: it neither expires nor can it be erased. It may still run."""
        hold = LegalHold(by=request.by, reason=request.reason, since=parts.now())
        return answer(await parts.holds.put(app_id=app_id, recording_id=recording_id, hold=hold))

    @router.delete(
        "/{recording_id}/hold",
        operation_id="releaseRecording",
        summary="Release a recording",
        description="Retention applies again, at once: with status `expired` it is gone.",
        response_model=RecordingDocument,
        responses=problems(401, 404, 503),
    )
    async def release(recording_id: str, app_id: AppId) -> Response:
        return answer(await parts.holds.release(app_id=app_id, recording_id=recording_id))

    return router
