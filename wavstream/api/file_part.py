"""A stretch of a file as the body of a response, read in chunks off the event loop.

The file may still be made while it is sent. Its size is known, so if it comes to nothing the answer ends before its
``Content-Length``, and the caller knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiofiles.threadpool.binary import AsyncBufferedReader
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from wavstream.api.ranges import ByteRange
from wavstream.errors import DependencyError, WavstreamError

CHUNK_BYTES = 262_144
"""A read is a trip to a worker thread and back: this makes a 4-hour stereo call 1,800 of them."""


class FilePart(Response):
    """The whole of an open file (200), or a part of it (206); closes the file, whatever happens."""

    def __init__(
        self,
        file: AsyncBufferedReader,
        part: ByteRange | None,
        *,
        size_bytes: int,
        headers: Mapping[str, str],
        past: Callable[[int], Awaitable[int]] | None = None,
    ) -> None:
        """``past``: of a file that grows, how many bytes are there, once there are more than so many."""
        self._file = file
        self._part = part or ByteRange(0, size_bytes)
        self._past = past
        more = {"Content-Length": str(self._part.length_bytes)}
        if part:
            more["Content-Range"] = part.content_range(size_bytes)
        super().__init__(status_code=206 if part else 200, headers={**headers, **more})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        request = Request(scope, receive)
        offset, end = self._part.start, self._part.start + self._part.length_bytes
        there = end if self._past is None else offset
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._file.seek(offset)
            while offset < end:
                # Without a look at it the rest of a large file would be read for a caller who has gone.
                if await request.is_disconnected():
                    return
                if self._past is not None and offset == there:
                    try:
                        there = await self._past(offset)
                    except WavstreamError:
                        return
                chunk = await self._file.read(min(CHUNK_BYTES, end - offset, there - offset))
                if not chunk:
                    raise DependencyError(f"storage: a file became {end - offset} bytes shorter while it was read")
                offset += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._file.close()
