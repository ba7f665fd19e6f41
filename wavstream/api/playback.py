"""``/files/...``: the finished file, by capability URL or signed link, without a key.

The order of the checks is part of the contract, since each answer tells its reader something:

1. a signature that is not ours: 403, whether or not there is such a recording;
2. the recording is expired, deleted or unknown: 404 with an empty body, from the second its retention ends;
3. the link has ended: 403;
4. the file is still to come: 404 with ``Retry-After``.

A link whose name ends otherwise than the recording's file is to its copy in that format, which is made on the first
request and sent while it is made: its size is known, so ranges of it are what they will be of the whole copy.

Files are read by the threads of a pool of their own, a chunk in each turn; who is sent one has a place there until its
last byte, and beyond the places there are the answer is 429 or 503.

Links are secrets, so nothing here logs the address of a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.types import Receive, Scope, Send

from wavstream.api.conditions import ByteRange, Unsatisfiable, Validators, Verdict, byte_range
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.problems import problem
from wavstream.conversion.conversion import Conversion
from wavstream.errors import DependencyError, Forbidden, InternalError, WavstreamError
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.recorder.file_snapshot import SharedFd
from wavstream.retention.expiry import is_expired
from wavstream.storage.links import file_name_as
from wavstream.storage.object_keys import copy_key
from wavstream.turns.fair_pool import FairPool

CHUNK_BYTES = 262_144
"""A read is a trip to a worker thread and back: this makes a 4-hour stereo call 1,800 of them."""
PIECE_BYTES = 65_536
"""Sent at a time. Two of them are all that a caller who takes nothing keeps in memory, after ``PATIENCE_S``."""
PATIENCE_S = 1.0
"""How long the rest of a chunk is kept for a caller who does not take it; then it is read again. Who takes it is not
slowed by this, and 150 who read nothing had 77 MB kept for them: a chunk in the socket's buffer and one read ahead."""
_MEDIA_TYPES = {FileFormat.WAV: "audio/wav", FileFormat.MP3: "audio/mpeg"}
_AUDIO = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _MEDIA_TYPES.values()}
Reading = Callable[[], AbstractAsyncContextManager[Callable[[int], None]]]
_GONE = (Status.EXPIRED, Status.DELETED)

log = structlog.get_logger(__name__)


def routes(parts: ApiDependencies) -> APIRouter:
    """Return the route of files."""
    router = APIRouter(prefix="/files", tags=["files"])

    @router.get(
        "/{link:path}",
        operation_id="playFile",
        summary="Play a file",
        description="The bytes of a finished recording, by an address that the API gave; `Range` is honoured.",
        response_class=Response,
        responses={
            200: {"description": "The file", "content": _AUDIO},
            206: {"description": "The range that was asked for", "content": _AUDIO},
            304: {"description": "The caller's copy is right"},
            **problems(403, 404, 412, 416, 422, 429, 503),
        },
    )
    @router.head("/{link:path}", include_in_schema=False)
    async def play(request: Request, link: str) -> Response:
        now = parts.now()
        verified = parts.urls.links.verify(request.scope["path"], request.query_params)
        recording = await parts.recordings.get(verified.recording_id)
        if recording is None or parts.authenticator.was_removed(recording.app_id):
            return Response(status_code=404)
        recording = as_of(now, recording)
        if recording.status in _GONE:
            return Response(status_code=404)
        if verified.is_over(now):
            raise Forbidden("The link has ended: ask for a new one.")
        return refusal(recording) or await file_response(parts, recording, request, verified.ext)

    return router


def as_of(now: datetime, recording: Recording) -> Recording:
    """Return the recording with its retention applied, whether or not the sweeper has come by."""
    if recording.status is Status.AVAILABLE and is_expired(recording, now):
        assert recording.expires_at is not None
        return recording.became(Status.EXPIRED, recording.expires_at)
    return recording


def refusal(recording: Recording) -> Response | None:
    """Return the answer that says why there is no file to give; None: there is one."""
    if recording.status is Status.AVAILABLE:
        return None
    if recording.status in _GONE:
        return Response(status_code=404)
    if recording.status is Status.COMPLETED:
        return problem(404, "The file is being finished.", headers={"Retry-After": "1"})
    if recording.status.is_running:
        return problem(404, "The recording has not been stopped yet.", headers={"Retry-After": "5"})
    return problem(404, f"The recording ended without a file: it is {recording.status}.")


def to_file(parts: ApiDependencies, recording: Recording, file_format: FileFormat) -> Response:
    """Return the redirection to a finished file, by a link that is signed for a while."""
    path = parts.urls.links.signed_path(recording, ext=file_format, now=parts.now(), ttl_s=parts.link_ttl_s)
    return RedirectResponse(parts.urls.public_url + path, 307, headers={"Cache-Control": "no-store"})


async def file_response(parts: ApiDependencies, recording: Recording, request: Request, ext: str) -> Response:
    """Return the file of an available recording in that format, or what of it is asked for."""
    receipt = recording.receipt
    if receipt is None or recording.ended_at is None:
        raise InternalError(f"recording {recording.id} is available without a receipt or an end")
    reader = FileReader(parts.downloads, recording.app_id)
    answer: Response | None = None
    try:
        answer = await _answer(parts, recording, request, ext, reader)
    finally:
        if not isinstance(answer, FilePart):
            reader.close()
    return answer


async def _answer(
    parts: ApiDependencies, recording: Recording, request: Request, ext: str, reader: FileReader
) -> Response:
    receipt = recording.receipt
    assert receipt is not None
    assert recording.ended_at is not None
    size_bytes = await reader.open(parts.storage.path(recording.object_key))
    if size_bytes is None:
        log.error(
            "recording_file_missing",
            recording_id=recording.id,
            session_id=recording.session_id,
            app_id=recording.app_id,
        )
        return Response(status_code=404)
    is_copy = ext != recording.options.format
    etag = f'"{receipt.audio_sha256}-{ext}"' if is_copy else f'"{receipt.audio_sha256}"'
    validators = Validators(etag, recording.ended_at.replace(microsecond=0))
    if is_copy:
        size_bytes = Conversion.of(recording).size_bytes
    headers = _headers(recording, FileFormat(ext), validators)
    verdict = validators.judge(request.headers)
    if verdict is Verdict.SEND and request.method == "GET":
        asked = request.headers.get("range") if validators.allow_range(request.headers.get("if-range")) else None
        try:
            part = byte_range(asked, size_bytes=size_bytes)
        except Unsatisfiable:
            detail = f"The file has {size_bytes} bytes."
            return problem(416, detail, headers={"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"})
        if not is_copy:
            return FilePart(
                reader, part, size_bytes=size_bytes, headers=headers, reading=_reading(parts, recording, ext)
            )
        return await _copy(parts, recording, ext, part, reader, size_bytes=size_bytes, headers=headers)
    if verdict is Verdict.PRECONDITION_FAILED:
        return problem(412, "The file is another one than the caller means.")
    if verdict is Verdict.NOT_MODIFIED:
        return Response(status_code=304, headers={name: headers[name] for name in _KEPT_BY_304})
    return Response(headers=headers | {"Content-Length": str(size_bytes)})


async def _copy(
    parts: ApiDependencies,
    recording: Recording,
    ext: str,
    part: ByteRange | None,
    reader: FileReader,
    *,
    size_bytes: int,
    headers: dict[str, str],
) -> Response:
    path = parts.storage.path(copy_key(recording.object_key, ext))
    reading = _reading(parts, recording, ext)
    if await reader.open(path) is not None:
        return FilePart(reader, part, size_bytes=size_bytes, headers=headers, reading=reading)
    parts.boundary.check_here(recording.session_id)  # one worker converts it, however many are asked for it
    growing = parts.conversions.begin(recording)
    await growing.past(part.start if part else 0)
    # It moves to its path as soon as it is whole.
    if await reader.open(growing.path) is None and await reader.open(path) is None:
        await growing.past(size_bytes - 1)  # raises what it failed with; else the recording was erased meanwhile
        return Response(status_code=404)
    return FilePart(reader, part, size_bytes=size_bytes, headers=headers, reading=reading, past=growing.past)


def _reading(parts: ApiDependencies, recording: Recording, ext: str) -> Reading:
    """Return what the reading of a file is done in: its erasure breaks it off, and the log tells of it."""

    @asynccontextmanager
    async def reading() -> AsyncIterator[Callable[[int], None]]:
        async with parts.open_files.reading(recording.id):
            with parts.fetches.fetching(recording, ext) as sent:
                yield sent

    return reading


class FileReader:
    """A file that is read for one answer, in turns of the app that it belongs to."""

    def __init__(self, pool: FairPool, app_id: str) -> None:
        """Take a place among those who are sent files, until ``close``; raise LimitReached."""
        self._pool = pool
        self._app_id = app_id
        self._place = pool.enter(app_id)
        self._file: SharedFd | None = None

    async def open(self, path: Path) -> int | None:
        """Open the file in place of the one before and return its size; None: there is none."""
        self._close_file()
        try:
            self._file = SharedFd(await self._pool.run(self._app_id, _open, path))
            return await self._pool.run(self._app_id, self._file.size_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DependencyError(f"storage: {path.name} could not be read: {error.strerror}") from error

    async def read(self, length_bytes: int, offset: int) -> bytes:
        """Return what lies there, less at the end of the file."""
        assert self._file is not None
        return await self._pool.run(self._app_id, self._file.read, length_bytes, offset)

    async def is_linked(self) -> bool:
        """Return whether the file is still in its folder."""
        assert self._file is not None
        return await self._pool.run(self._app_id, self._file.is_linked)

    def close(self) -> None:
        """Close the file and give the place back."""
        self._close_file()
        self._place.leave()

    def _close_file(self) -> None:
        if self._file is not None:
            self._pool.later(self._file.close)
            self._file = None


def _open(path: Path) -> int:
    with path.open("rb") as file:  # unlike os.open it refuses a folder
        return os.dup(file.fileno())


_KEPT_BY_304 = ("ETag", "Last-Modified", "Cache-Control")


def _headers(recording: Recording, file_format: FileFormat, validators: Validators) -> dict[str, str]:
    return {
        "Content-Type": _MEDIA_TYPES[file_format],
        "Content-Disposition": content_disposition(file_name_as(file_format, recording)),
        "Accept-Ranges": "bytes",
        "ETag": validators.etag,
        "Last-Modified": validators.last_modified,
        # Not kept by proxies, and by browsers only to ask again: no copy is to outlive the retention.
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }


def content_disposition(file_name: str) -> str:
    """Return the header that names the download (RFC 6266), with a fallback where the name is not plain ASCII."""
    plain = "".join(character if character in _PLAIN else "_" for character in file_name)
    header = f'inline; filename="{plain}"'
    return header if plain == file_name else f"{header}; filename*=UTF-8''{quote(file_name, safe='')}"


_PLAIN = frozenset(string.ascii_letters + string.digits + " !#$&+-.^_`(),;=@[]{}~")
"""Within quotes these mean themselves; a quote, a backslash, a percent sign or a slash is read differently."""


class FilePart(Response):
    """The whole of an open file (200), or a part of it (206), read in chunks; closes the file, whatever happens.

    The file may still be made while it is sent, or be erased. Its size is known, so if it comes to nothing the answer
    ends before its ``Content-Length``, and the caller knows.
    """

    def __init__(
        self,
        reader: FileReader,
        part: ByteRange | None,
        *,
        size_bytes: int,
        headers: Mapping[str, str],
        reading: Reading,
        past: Callable[[int], Awaitable[int]] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take a whole file, or one that grows: ``past(n)`` then waits for more than n bytes, and returns how many.

        ``reading`` is what reading the file is done in: it breaks it off when the recording is erased, and is told of
        the bytes that are sent.
        """
        self._reader = reader
        self._reading = reading
        self._part = part or ByteRange(0, size_bytes)
        self._past = past
        self._patience_s = patience_s
        more = {"Content-Length": str(self._part.length_bytes)}
        if part:
            more["Content-Range"] = part.content_range(size_bytes)
        super().__init__(status_code=206 if part else 200, headers={**headers, **more})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        try:
            async with self._reading() as sent:
                # One that was erased before it was marked as being read is not in its folder any more.
                if await self._reader.is_linked():
                    await self._send(scope, receive, send, sent)
                else:
                    await Response(status_code=404)(scope, receive, send)
        finally:
            self._reader.close()

    async def _send(self, scope: Scope, receive: Receive, send: Send, sent: Callable[[int], None]) -> None:
        request = Request(scope, receive)
        offset, end = self._part.start, self._part.start + self._part.length_bytes
        there = end if self._past is None else offset
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while offset < end:
            # Without a look at it the rest of a large file would be read for a caller who has gone.
            if await request.is_disconnected():
                return
            if self._past is not None and offset == there:
                try:
                    there = await self._past(offset)
                except WavstreamError:
                    return
            chunk = await self._reader.read(min(CHUNK_BYTES, end - offset, there - offset), offset)
            if not chunk:
                raise DependencyError(f"storage: a file became {end - offset} bytes shorter while it was read")
            taken_bytes = await self._send_pieces(chunk, send)
            del chunk
            offset += taken_bytes
            sent(taken_bytes)
            # A send waits until what was sent before has been taken; so does this one of nothing, with nothing in hand.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_pieces(self, chunk: bytes, send: Send) -> int:
        """Send a chunk for as long as the caller takes it, and return how much of it: the rest is read again."""
        sent_bytes = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                while sent_bytes < len(chunk):
                    piece = chunk[sent_bytes : sent_bytes + PIECE_BYTES]
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    sent_bytes += len(piece)
        return sent_bytes
