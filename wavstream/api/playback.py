"""``/files/...``: the finished file, by capability URL or signed link, without a key.

The order of the checks is part of the contract, since each answer tells its reader something:

1. a signature that is not ours: 403, whether or not there is such a recording;
2. the recording is expired, deleted or unknown: 404 with an empty body, from the second its retention ends;
3. the link has ended: 403;
4. the file is still to come: 404 with ``Retry-After``.

A link whose name ends otherwise than the recording's file is to its copy in that format, which is made on the first
request and sent while it is made: its size is known, so ranges of it are what they will be of the whole copy.

Links are secrets, so nothing here logs the address of a request.
"""

from __future__ import annotations

import os
import string
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import aiofiles
import structlog
from aiofiles.threadpool.binary import AsyncBufferedReader
from fastapi import APIRouter, Request, Response

from wavstream.api.conditions import Validators, Verdict
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.file_part import FilePart
from wavstream.api.problems import problem
from wavstream.api.ranges import ByteRange, Unsatisfiable, byte_range
from wavstream.conversion.conversion import Conversion
from wavstream.errors import DependencyError, Forbidden, InternalError
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.retention.expiry import is_expired
from wavstream.storage.keys import copy_key
from wavstream.storage.links import file_name_as

_MEDIA_TYPES = {FileFormat.WAV: "audio/wav", FileFormat.MP3: "audio/mpeg"}
_AUDIO = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _MEDIA_TYPES.values()}
_GONE = (Status.EXPIRED, Status.DELETED)

_log = structlog.get_logger("wavstream.api")


def routes(parts: ApiDependencies) -> APIRouter:
    """The route of files."""
    router = APIRouter(prefix="/files", tags=["files"])

    @router.get(
        "/{link:path}",
        operation_id="playFile",
        summary="Play a file",
        response_class=Response,
        responses={
            200: {"description": "The file", "content": _AUDIO},
            206: {"description": "The range that was asked for", "content": _AUDIO},
            304: {"description": "The caller's copy is right"},
            **problems(403, 404, 412, 416, 422, 503),
        },
    )
    @router.head("/{link:path}", include_in_schema=False)
    async def play(request: Request, link: str) -> Response:
        """The bytes of a finished recording, by an address that the API gave; `Range` is honoured."""
        now = parts.now()
        verified = parts.links.verify(request.scope["path"], request.query_params)
        recording = await parts.find_recording(verified.recording_id)
        if recording is None:
            return Response(status_code=404)
        recording = as_of(now, recording)
        if recording.status in _GONE:
            return Response(status_code=404)
        if verified.is_over(now):
            raise Forbidden("The link has ended: ask for a new one.")
        return refusal(recording) or await _file(parts, recording, request, verified.ext)

    return router


def as_of(now: datetime, recording: Recording) -> Recording:
    """The recording with its retention applied, whether or not the sweeper has come by."""
    if recording.status is Status.AVAILABLE and is_expired(recording, now):
        return replace(recording, status=Status.EXPIRED)
    return recording


def refusal(recording: Recording) -> Response | None:
    """Why there is no file to give; None: there is one."""
    if recording.status is Status.AVAILABLE:
        return None
    if recording.status in _GONE:
        return Response(status_code=404)
    if recording.status is Status.COMPLETED:
        return problem(404, "The file is being finished.", headers={"Retry-After": "1"})
    if recording.status.is_running:
        return problem(404, "The recording has not been stopped yet.", headers={"Retry-After": "5"})
    return problem(404, f"The recording ended without a file: it is {recording.status}.")


async def _file(parts: ApiDependencies, recording: Recording, request: Request, ext: str) -> Response:
    receipt = recording.receipt
    if receipt is None or recording.ended_at is None:
        raise InternalError(f"recording {recording.id} is available without a receipt or an end")
    file = await _opened(parts.storage.path(recording.object_key))
    if file is None:
        _log.error("the file of an available recording is gone", recording_id=recording.id, app_id=recording.app_id)
        return Response(status_code=404)
    is_copy = ext != recording.options.format
    etag = f'"{receipt.audio_sha256}-{ext}"' if is_copy else f'"{receipt.audio_sha256}"'
    validators = Validators(etag, recording.ended_at.replace(microsecond=0))
    size_bytes = Conversion.of(recording).size_bytes if is_copy else os.fstat(file.fileno()).st_size
    headers = _headers(recording, FileFormat(ext), validators)
    verdict = validators.judge(request.headers)
    if verdict is Verdict.SEND and request.method == "GET":
        asked = request.headers.get("range") if validators.allow_range(request.headers.get("if-range")) else None
        try:
            part = byte_range(asked, size_bytes=size_bytes)
        except Unsatisfiable:
            await file.close()
            detail = f"The file has {size_bytes} bytes."
            return problem(416, detail, headers={"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"})
        if not is_copy:
            return FilePart(file, part, size_bytes=size_bytes, headers=headers)
        await file.close()
        return await _copy(parts, recording, ext, part, size_bytes=size_bytes, headers=headers)
    await file.close()
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
    *,
    size_bytes: int,
    headers: dict[str, str],
) -> Response:
    path = parts.storage.path(copy_key(recording.object_key, ext))
    if (file := await _opened(path)) is not None:
        return FilePart(file, part, size_bytes=size_bytes, headers=headers)
    growing = parts.conversions.begin(recording)
    await growing.past(part.start if part else 0)
    file = await _opened(growing.path) or await _opened(path)  # moved there as soon as it is whole
    if file is None:
        await growing.past(size_bytes - 1)  # raises what it failed with; else the recording was erased meanwhile
        return Response(status_code=404)
    return FilePart(file, part, size_bytes=size_bytes, headers=headers, past=growing.past)


async def _opened(path: Path) -> AsyncBufferedReader | None:
    try:
        return await aiofiles.open(path, "rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DependencyError(f"storage: {path.name} could not be read: {error.strerror}") from error


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
    """The header that names the download (RFC 6266), with a plain fallback where the name is not plain ASCII."""
    plain = "".join(character if character in _PLAIN else "_" for character in file_name)
    header = f'inline; filename="{plain}"'
    return header if plain == file_name else f"{header}; filename*=UTF-8''{quote(file_name, safe='')}"


_PLAIN = frozenset(string.ascii_letters + string.digits + " !#$&+-.^_`(),;=@[]{}~")
"""Within quotes these mean themselves; a quote, a backslash, a percent sign or a slash is read differently."""
