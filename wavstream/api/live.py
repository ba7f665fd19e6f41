"""``/v1/recordings/{id}/live.wav``: a recording, heard while it is made.

The answer is a WAV file of unknown length: both sizes in its header are 0xFFFFFFFF, which players take for "until it
ends". Its header is as long as that of the finished file and what follows is the same audio, so a listener of a WAV
recording whom the stop or the network cut off finds what it missed in the file, from the byte on at which it was.

``Range`` gives what there is by now, as 206 with ``bytes a-b/*``. ``bytes=0-``, which is how a browser's player
begins, is no range: it is the answer to everything, and it goes on. That answer has no ``Accept-Ranges``: FFmpeg would
look for what follows the audio at 4 GiB, get 416, and take that for the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import structlog
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from wavstream.api.conditions import ByteRange, Unsatisfiable, byte_range
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId, KeyId
from wavstream.api.playback import as_of, refusal, to_file
from wavstream.api.problems import problem
from wavstream.api.routes import Router
from wavstream.errors import DependencyError
from wavstream.listening.listener import Listener, Wire
from wavstream.model.options import FileFormat
from wavstream.model.recording import Status
from wavstream.rendering.encoders.wav import HEADER_BYTES, endless_wav_header

WIRE = "wavstream.wire"
"""The ASGI extension that holds the connection of the request, for a body in chunks."""
_HEADERS = {
    "Content-Type": "audio/wav",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_AUDIO = {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}
_SOON = {"Retry-After": "1"}

log = structlog.get_logger(__name__)


def routes(parts: ApiDependencies) -> Router:
    """Return the route of listening."""
    router = Router(prefix="/v1/recordings", tags=["recordings"])

    @router.get(
        "/{recording_id}/live.wav",
        operation_id="listenLive",
        summary="Listen while it is recorded",
        description="A WAV file that goes on while the call does. A `Retry-After` with the 404 says to try again.",
        response_class=Response,
        responses={
            200: {"description": "What there is so far, then what follows, until the stop", "content": _AUDIO},
            206: {"description": "The range that was asked for, of what there is so far", "content": _AUDIO},
            307: {"description": "The recording is finished: `Location` is a signed link to its file"},
            **problems(401, 404, 416, 503),
        },
    )
    @router.head("/{recording_id}/live.wav", include_in_schema=False)
    async def listen(request: Request, recording_id: str, app_id: AppId, key_id: KeyId) -> Response:
        recording = as_of(parts.now(), await parts.commands.get(app_id=app_id, recording_id=recording_id))
        if recording.status is Status.AVAILABLE:
            return to_file(parts, recording, FileFormat.WAV)
        if recording.status is Status.ACCEPTED:
            return problem(404, "The recording waits for its first stream.", headers=_SOON)
        if not recording.status.is_running:
            return refusal(recording) or _not_here()
        return await heard(request, parts.live.listen(recording_id, key_id=key_id)) or _not_here()

    return router


async def heard(request: Request, listener: Listener | None) -> Response | None:
    """Return what the listener hears, as ``request`` asks for it; None: the recording is not being made here."""
    if listener is None:
        return None
    try:
        if _asked(request.headers) is not None:
            listener.take_place()
        return _answer(request, listener) if await listener.begin() else None
    except BaseException:
        listener.leave()
        raise


def _not_here() -> Response:
    return problem(404, "The recording is being finished, or brought back after a restart.", headers=_SOON)


def _answer(request: Request, listener: Listener) -> Response:
    if request.method == "HEAD":
        listener.leave()
        answer = Response(headers=_HEADERS)
        del answer.headers["Content-Length"]
        return answer
    snapshot = listener.snapshot
    assert snapshot is not None
    size_bytes = HEADER_BYTES + snapshot.size_bytes if snapshot.sample_rate_hz else 0
    try:
        part = byte_range(_asked(request.headers), size_bytes=size_bytes)
    except Unsatisfiable:
        listener.leave()
        detail = f"There are {size_bytes} bytes so far."
        return problem(416, detail, headers={"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"})
    if part is None:
        return LiveAudio(listener, _everything(listener), status_code=200, headers=_HEADERS)
    more = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(part.length_bytes),
        "Content-Range": f"bytes {part.start}-{part.start + part.length_bytes - 1}/*",
    }
    header = endless_wav_header(sample_rate_hz=snapshot.sample_rate_hz, channels=snapshot.channels)
    return LiveAudio(listener, part_of(listener, part, header), status_code=206, headers=_HEADERS | more)


def _asked(headers: Mapping[str, str]) -> str | None:
    """Return the range, if it is one; a file that grows has no validator that ``If-Range`` could name."""
    asked = headers.get("range")
    if asked is None or "if-range" in headers or asked.replace(" ", "").lower() == "bytes=0-":
        return None
    return asked


async def _everything(listener: Listener) -> AsyncIterator[bytes]:
    rate_hz, channels = await listener.form()
    yield endless_wav_header(sample_rate_hz=rate_hz, channels=channels)
    async for piece in listener.audio():
        yield piece


async def part_of(listener: Listener, part: ByteRange, header: bytes) -> AsyncIterator[bytes]:
    """Yield a part of what there was when the listener joined, behind this header."""
    end = part.start + part.length_bytes
    if part.start < HEADER_BYTES:
        yield header[part.start : end]
    if end > HEADER_BYTES:
        async for piece in listener.part(max(0, part.start - HEADER_BYTES), end - HEADER_BYTES):
            yield piece


class LiveAudio(Response):
    """The audio that a listener hears, as the body of a response; the listener has left when it ends."""

    def __init__(
        self, listener: Listener, body: AsyncIterator[bytes], *, status_code: int, headers: Mapping[str, str]
    ) -> None:
        self._listener = listener
        self._audio = body
        super().__init__(status_code=status_code, headers=headers)
        if "Content-Length" not in headers:
            del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        listener = self._listener
        wire: Wire | None = scope.get("extensions", {}).get(WIRE, {}).get("wire")
        listener.wire = wire
        gone = asyncio.create_task(_until_gone(receive, listener))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._audio:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if not listener.was_cut:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif wire is not None:
                await gone  # the server says so once the connection has ended
        except (OSError, DependencyError) as error:
            log.error(
                "listening_failed",
                recording_id=listener.recording.id,
                session_id=listener.recording.session_id,
                app_id=listener.recording.app_id,
                error=str(error),
            )
            if wire is not None:
                wire.abort()
                await gone
        finally:
            gone.cancel()
            listener.leave()


async def _until_gone(receive: Receive, listener: Listener) -> None:
    with contextlib.suppress(Exception):  # a body that is too large: it is not read
        while (await receive())["type"] != "http.disconnect":
            pass
    listener.leave()
