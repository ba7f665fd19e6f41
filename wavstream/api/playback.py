"""``/files/...``: the finished file, by capability URL or signed link, without a key.

The order of the checks is part of the contract, since each answer tells its reader something:

1. a signature that is not ours: 403, whether or not there is such a recording;
2. the recording is expired, deleted or unknown: 404 with an empty body, from the second its retention ends;
3. the link has ended: 403;
4. the file is still to come: 404 with ``Retry-After``.

A link whose name ends otherwise than the recording's file is to its copy in that format, which is made on the first
request and sent while it is made: its size is known, so ranges of it are what they will be of the whole copy.

Files are read by the threads of a pool of their own, a chunk in each turn; who is sent one has a place there until its
last byte, and beyond the places there are the answer is 429 or 503. Those in a store have a pool of their own.

A link to a file that was uploaded answers as ``storage.links`` says: 307 to an address of the store that is signed for
a while, once the store has said that the file is there, or the file, as one that lies here. The copy in the other
format is made here, and sent from here.

Links are secrets, so nothing here logs the address of a request.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from wavstream.api.conditions import ByteRange, Unsatisfiable, Validators, Verdict, byte_range
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.file_part import FilePart, FileReader, Reading, opened
from wavstream.api.problems import problem
from wavstream.api.routes import Router
from wavstream.conversion.conversion import Conversion
from wavstream.errors import Forbidden, InternalError, LimitReached
from wavstream.model.file_names import MEDIA_TYPES, content_disposition
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.retention.expiry import is_expired
from wavstream.storage.links import file_name_as
from wavstream.storage.object_keys import copy_key

_AUDIO = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in MEDIA_TYPES.values()}
_GONE = (Status.EXPIRED, Status.DELETED)

log = structlog.get_logger(__name__)


def routes(parts: ApiDependencies) -> Router:
    """Return the route of files."""
    router = Router(prefix="/files", tags=["files"])

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
            307: {"description": "The file is in a store: its address there"},
            **problems(403, 404, 412, 416, 422, 429, 502, 503),
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
        if (refused := refusal(recording)) is not None:
            return refused
        is_uploaded = recording.stored is not None and verified.ext == recording.options.format
        if is_uploaded and parts.redirects_for is not None:
            return await _to_store(parts, recording, request, parts.redirects_for)
        return await file_response(parts, recording, request, verified.ext)

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


async def _to_store(parts: ApiDependencies, recording: Recording, request: Request, ttl: timedelta) -> Response:
    """Return the redirection to the file's own address in its store, once that has said that it is there."""
    place = parts.stored_downloads.enter(recording.app_id)
    try:
        await parts.files.check(recording)
        address = await parts.files.sign(recording, ttl, method="HEAD" if request.method == "HEAD" else "GET")
    except FileNotFoundError:
        if (moved := await where_now(parts, recording)) is not None:
            return await file_response(parts, moved, request, moved.options.format)
        return gone_from_store()
    finally:
        place.leave()
    with parts.fetches.fetching(recording, recording.options.format):
        return RedirectResponse(address, 307, headers={"Cache-Control": "no-store"})


def gone_from_store() -> Response:
    """Return the answer for an uploaded file that is not in its store any more."""
    return problem(
        404,
        "The file of the recording is gone from the store: somebody removed it there. Whoever runs the server has to "
        "put it back.",
    )


async def where_now(parts: ApiDependencies, recording: Recording) -> Recording | None:
    """Return the recording whose file was not found, if it was moved since its row was read; else None."""
    now = await parts.recordings.get(recording.id)
    is_moved = now is not None and now.status is Status.AVAILABLE and now.stored != recording.stored
    return now if is_moved else None


async def look_again(parts: ApiDependencies, recording: Recording) -> Recording | None:
    """Return the recording whose file was not found, to be looked for once more; None: it is gone from its store.

    Raise LimitReached if it cannot be said yet that the file is missing, Elsewhere if that is not ours to say.
    """
    if (moved := await where_now(parts, recording)) is not None:
        return moved
    if recording.stored is not None:
        return None
    await parts.check_missing(recording)
    return recording


async def file_response(
    parts: ApiDependencies, recording: Recording, request: Request, ext: str, *, is_again: bool = False
) -> Response:
    """Return the file of an available recording in that format, or what of it is asked for.

    ``is_again``: it was not found, and is missing unless it has come since.
    """
    parts.check_disk_of(recording)
    receipt = recording.receipt
    if receipt is None or recording.ended_at is None:
        raise InternalError(f"recording {recording.id} is available without a receipt or an end")
    reader = FileReader(parts.reads(recording), recording.app_id)
    answer: Response | None = None
    try:
        answer = await _answer(parts, recording, request, ext, reader)
    finally:
        if not isinstance(answer, FilePart):
            reader.close()
    if answer is not None:
        return answer
    if (found := await look_again(parts, recording)) is None:
        return gone_from_store()
    if not is_again or found is not recording:
        return await file_response(parts, found, request, ext, is_again=True)
    log.error(
        "recording_file_missing",
        recording_id=recording.id,
        session_id=recording.session_id,
        app_id=recording.app_id,
    )
    return Response(status_code=404)


async def _answer(
    parts: ApiDependencies, recording: Recording, request: Request, ext: str, reader: FileReader
) -> Response | None:
    """Return the answer; None: the file is not where it should be."""
    receipt = recording.receipt
    assert receipt is not None
    assert recording.ended_at is not None
    size_bytes = await reader.open(functools.partial(parts.files.open, recording))
    if size_bytes is None:
        return None
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
        if is_copy:
            return await _copy(parts, recording, ext, part, reader, size_bytes=size_bytes, headers=headers)
        return FilePart(
            reader,
            part,
            size_bytes=size_bytes,
            headers=headers,
            reading=_reading(parts, recording, ext),
            is_there=_is_there(parts, recording, reader),
        )
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
) -> Response | None:
    is_stored = recording.stored is not None
    if is_stored:  # its copy is in the hands of the worker that makes it
        parts.boundary.check_not_elsewhere(recording.session_id)
        kept = parts.conversions.kept(recording)
    else:
        kept = parts.storage.path(copy_key(recording.object_key, ext))
    past = None
    if kept is None or await reader.open(functools.partial(opened, kept)) is None:
        parts.boundary.check_not_elsewhere(
            recording.session_id
        )  # one worker converts it, however many are asked for it
        growing = parts.conversions.begin(recording)
        await growing.past(part.start if part else 0)
        past = growing.past
        # It moves to its path as soon as it is whole.
        if await reader.open(functools.partial(opened, growing.path)) is None and (
            kept is None or await reader.open(functools.partial(opened, kept)) is None
        ):
            await growing.past(size_bytes - 1)  # raises what it failed with; else it went away meanwhile
            if await where_now(parts, recording) is not None:
                return None
            if is_stored and await _is_there(parts, recording, reader)():
                raise LimitReached("The disk has no room for the recording in this format.", retry_after_s=60)
            return Response(status_code=404)
    return FilePart(
        reader,
        part,
        size_bytes=size_bytes,
        headers=headers,
        reading=_reading(parts, recording, ext),
        is_there=_is_there(parts, recording, reader),
        past=past,
    )


def _is_there(parts: ApiDependencies, recording: Recording, reader: FileReader) -> Callable[[], Awaitable[bool]]:
    """Return what tells, of a file that was opened, whether the recording was not erased before it is read.

    One that is here is in its folder. Of one in a store the row tells: it says that it is erased before that begins.
    """

    async def row_is_there() -> bool:
        now = await parts.recordings.get(recording.id)
        return now is not None and now.status is Status.AVAILABLE

    return reader.is_linked if recording.stored is None else row_is_there


def _reading(parts: ApiDependencies, recording: Recording, ext: str) -> Reading:
    """Return what the reading of a file is done in: its erasure breaks it off, and the log tells of it."""

    @asynccontextmanager
    async def reading() -> AsyncIterator[Callable[[int], None]]:
        async with parts.open_files.reading(recording.id):
            with parts.fetches.fetching(recording, ext) as sent:
                yield sent

    return reading


_KEPT_BY_304 = ("ETag", "Last-Modified", "Cache-Control")


def _headers(recording: Recording, file_format: FileFormat, validators: Validators) -> dict[str, str]:
    return {
        "Content-Type": MEDIA_TYPES[file_format],
        "Content-Disposition": content_disposition(file_name_as(file_format, recording)),
        "Accept-Ranges": "bytes",
        "ETag": validators.etag,
        "Last-Modified": validators.last_modified,
        # Not kept by proxies, and by browsers only to ask again: no copy is to outlive the retention.
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
