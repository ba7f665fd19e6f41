"""``/v1/recordings/{id}/audio.wav`` and ``.mp3``: the audio for a player, by the key, without a redirection.

The file comes from here wherever it lies, so that a page which sends its key with each request needs no other server.
A player that seeks wants a file that does not change while it plays. A finished one is that. Of a recording that is
being made it gets a whole WAV file of what there is by now, or of the first so many samples: a file of its own, whose
bytes stay the same for as long as the recording runs.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from wavstream.api.conditions import ByteRange, Unsatisfiable, byte_range
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.live import LiveAudio, part_of
from wavstream.api.middleware import AppId, KeyId
from wavstream.api.playback import as_of, file_response
from wavstream.api.problems import problem
from wavstream.api.routes import Router
from wavstream.listening.listener import Listener
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.rendering.encoders.wav import HEADER_BYTES, wav_header

_SOON = {"Retry-After": "1"}
_DESCRIBED = {
    200: {"description": "The file, or all there is by now"},
    206: {"description": "The range that was asked for"},
    304: {"description": "The caller's copy is right"},
    **problems(401, 404, 412, 416, 422, 502, 503),
}
Samples = Annotated[
    int | None,
    Query(ge=1, description="Of a recording that runs: its first so many samples of each channel, as a whole file."),
]
Download = Annotated[bool, Query(description="To be saved, under the recording's name, rather than played.")]


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of audio."""
    router = Router(prefix="/v1/recordings", tags=["recordings"])

    async def answer(
        request: Request, recording: Recording, ext: FileFormat, key_id: str | None, samples: int | None, save: bool
    ) -> Response:
        if recording.status is Status.AVAILABLE:
            response = await file_response(parts, recording, request, ext)
            receipt = recording.receipt
            if receipt is not None:
                response.headers["X-Audio-Samples"] = str(receipt.samples)
            disposition = response.headers.get("content-disposition")
            if save and disposition is not None:
                response.headers["Content-Disposition"] = disposition.replace("inline", "attachment", 1)
        elif recording.status in (Status.ONGOING, Status.PAUSED) and ext is FileFormat.WAV:
            response = await _so_far(request, parts.live.listen(recording.id, key_id=key_id), samples)
        else:
            return _none(recording)
        response.headers["X-Recording-Status"] = recording.status
        return response

    for ext in FileFormat:

        def add(ext: FileFormat) -> None:
            @router.get(
                f"/{{recording_id}}/audio.{ext}",
                operation_id=f"playRecording{'' if ext is FileFormat.WAV else 'Mp3'}",
                summary=f"Play as {ext.upper()}",
                description="The file, with ranges; of a recording that runs (WAV alone) all there is by now.",
                response_class=Response,
                responses=_DESCRIBED,
            )
            @router.head(f"/{{recording_id}}/audio.{ext}", include_in_schema=False)
            async def play(
                request: Request,
                recording_id: str,
                app_id: AppId,
                key_id: KeyId,
                samples: Samples = None,
                download: Download = False,
            ) -> Response:
                recording = as_of(parts.now(), await parts.commands.get(app_id=app_id, recording_id=recording_id))
                return await answer(request, recording, ext, key_id, samples, download)

        add(ext)
    return router


def _none(recording: Recording) -> Response:
    if recording.status.is_unfinished:
        detail = "It is there when the recording has been stopped, and its file is finished."
        return problem(404, detail, headers=_SOON)
    return problem(404, f"The recording has no audio: it is {recording.status}.")


async def _so_far(request: Request, listener: Listener | None, samples: int | None) -> Response:
    """Return what there is by now, or its first samples, as a file."""
    nothing = problem(404, "There is no audio yet, or it is brought back after a restart.", headers=_SOON)
    if listener is None:
        return nothing
    try:
        listener.take_place()
        if not await listener.begin() or (snapshot := listener.snapshot) is None or not snapshot.sample_rate_hz:
            listener.leave()
            return nothing
        there = snapshot.samples if samples is None else samples
        if there > snapshot.samples:
            listener.leave()
            return problem(404, f"There are {snapshot.samples} samples so far.", headers=_SOON)
        header = wav_header(sample_rate_hz=snapshot.sample_rate_hz, channels=snapshot.channels, samples=there)
        size_bytes = HEADER_BYTES + there * snapshot.channels * 2
        etag = f'"{listener.recording.id}-{there}"'
        headers = {
            "Content-Type": "audio/wav",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Accept-Ranges": "bytes",
            "ETag": etag,
            "X-Audio-Samples": str(there),
        }
        asked = request.headers.get("range") if request.headers.get("if-range", etag) == etag else None
        try:
            part = byte_range(asked, size_bytes=size_bytes)
        except Unsatisfiable:
            listener.leave()
            unsatisfied = {"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"}
            return problem(416, f"There are {size_bytes} bytes so far.", headers=unsatisfied)
        whole = part or ByteRange(0, size_bytes)
        headers["Content-Length"] = str(whole.length_bytes)
        if part is not None:
            headers["Content-Range"] = part.content_range(size_bytes)
        if request.method == "HEAD":
            listener.leave()
            return Response(headers=headers)
        return LiveAudio(
            listener, part_of(listener, whole, header), status_code=200 if part is None else 206, headers=headers
        )
    except BaseException:
        listener.leave()
        raise
