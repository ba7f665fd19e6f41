"""``/v1/recordings/{id}/verify``: whether a finished file is as it was recorded, now."""

from __future__ import annotations

import functools

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId
from wavstream.api.playback import as_of, gone_from_store, look_again
from wavstream.api.problems import problem
from wavstream.api.routes import Router
from wavstream.conversion.verification import differences
from wavstream.errors import Conflict, DependencyError
from wavstream.model.document import Document
from wavstream.model.recording import Recording, Status
from wavstream.model.times import Moment

_PIECES_IN_A_TURN = 16


class Verification(Document):
    """What a look at the file has found."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
                    "verified": True,
                    "differences": [],
                    "audio_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "size_bytes": 1959724,
                    "checked_at": "2026-11-01T10:05:00.000000Z",
                }
            ]
        }
    )

    recording_id: str
    verified: bool
    differences: list[str]
    """What is not as it was recorded, a sentence each."""
    audio_sha256: str
    """As its receipt says, as the size."""
    size_bytes: int
    checked_at: Moment


def routes(parts: ApiDependencies) -> Router:
    """Return the route of verification."""
    router = Router(prefix="/v1/recordings", tags=["recordings"])

    @router.post(
        "/{recording_id}/verify",
        operation_id="verifyRecording",
        summary="Verify the file",
        description="Reads the file now, and compares hash, header and length with the receipt.",
        response_model=Verification,
        responses=problems(401, 404, 409, 503),
    )
    async def verify(recording_id: str, app_id: AppId) -> Response:
        recording = as_of(parts.now(), await parts.commands.get(app_id=app_id, recording_id=recording_id))
        if recording.status.is_unfinished:
            raise Conflict(f"the recording is {recording.status}: there is no file yet", state=recording.status)
        receipt = recording.receipt
        if recording.status is not Status.AVAILABLE or receipt is None:
            return problem(404, f"The recording has no file: it is {recording.status}.")
        try:
            found = await _differences(parts, recording)
            if found is None and (again := await look_again(parts, recording)) is not None:
                found = await _differences(parts, again)
        except OSError as error:
            raise DependencyError(f"storage: the file could not be read: {error.strerror}") from error
        if found is None:
            gone = "The file of the recording is gone."
            return problem(404, gone) if recording.stored is None else gone_from_store()
        result = Verification(
            recording_id=recording.id,
            verified=not found,
            differences=found,
            audio_sha256=receipt.audio_sha256,
            size_bytes=receipt.size_bytes,
            checked_at=parts.now(),
        )
        return JSONResponse(result.as_json())

    return router


async def _differences(parts: ApiDependencies, recording: Recording) -> list[str] | None:
    """Return every difference of the file from its receipt; None: it was not found. Raises OSError or StoreError."""
    parts.check_disk_of(recording)
    found: list[str] = []
    pool, app_id = parts.reads(recording), recording.app_id
    place = pool.enter(app_id)
    try:
        looking = differences(functools.partial(parts.files.open, recording, as_it_is=True), recording)

        def look() -> bool:
            for _ in range(_PIECES_IN_A_TURN):
                try:
                    if (difference := next(looking)) is not None:
                        found.append(difference)
                except StopIteration:
                    return False
            return True

        while await pool.run(app_id, look):
            pass
    except FileNotFoundError:
        return None
    finally:
        place.leave()
    return found
