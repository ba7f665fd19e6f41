"""A finished file that is sent: opened for one answer, read a chunk at a time, wherever it lies, and sent in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import structlog
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from wavstream.api.conditions import ByteRange
from wavstream.errors import DependencyError, StoreError, WavstreamError
from wavstream.recorder.file_snapshot import SharedFd
from wavstream.storage.object_store import READ_BYTES, ObjectFile
from wavstream.turns.fair_pool import FairPool

log = structlog.get_logger(__name__)

CHUNK_BYTES = 262_144
"""A read is a trip to a worker thread and back: this makes a 4-hour stereo call 1,800 of them."""
PIECE_BYTES = 65_536
"""Sent at a time. Two of them are all that a caller who takes nothing keeps in memory, after ``PATIENCE_S``."""
PATIENCE_S = 1.0
"""How long the rest of a chunk is kept for a caller who does not take it; then it is read again. Who takes it is not
slowed by this, and 150 who read nothing had 77 MB kept for them: a chunk in the socket's buffer and one read ahead."""
Reading = Callable[[], AbstractAsyncContextManager[Callable[[int], None]]]


class FileReader:
    """A file that is read for one answer, in turns of the app that it belongs to."""

    chunk_bytes = CHUNK_BYTES
    """Read in a turn."""

    def __init__(self, pool: FairPool, app_id: str) -> None:
        """Take a place among those who are sent files, until ``close``; raise LimitReached."""
        self._pool = pool
        self._app_id = app_id
        self._place = pool.enter(app_id)
        self._file: SharedFd | ObjectFile | None = None

    async def open(self, opening: Callable[[], io.BufferedReader]) -> int | None:
        """Open a file in place of the one before and return its size; None: there is none.

        Raise DependencyError.
        """
        self._close_file()
        try:
            self._file, size_bytes = await self._pool.run(self._app_id, _open, opening)
        except FileNotFoundError:
            return None
        except OSError as error:
            name = Path(error.filename or "a file").name
            raise DependencyError(f"storage: {name} could not be read: {error.strerror}") from error
        self.chunk_bytes = CHUNK_BYTES if isinstance(self._file, SharedFd) else READ_BYTES
        return size_bytes

    async def read(self, length_bytes: int, offset: int) -> bytes:
        """Return what lies there, less at the end of the file."""
        assert self._file is not None
        read = self._file.read if isinstance(self._file, SharedFd) else self._file.read_at
        return await self._pool.run(self._app_id, read, length_bytes, offset)

    async def is_linked(self) -> bool:
        """Return whether the file, which is one of this machine, is still in its folder."""
        assert isinstance(self._file, SharedFd)
        return await self._pool.run(self._app_id, self._file.is_linked)

    def close(self) -> None:
        """Close the file and give the place back."""
        self._close_file()
        self._place.leave()

    def _close_file(self) -> None:
        if isinstance(self._file, SharedFd):  # an object is not open: each read of it is a request
            self._pool.later(self._file.close)
        self._file = None


def opened(path: Path) -> io.BufferedReader:
    """Open a file of this machine. Blocks; raise OSError."""
    return path.open("rb")


def _open(opening: Callable[[], io.BufferedReader]) -> tuple[SharedFd | ObjectFile, int]:
    with opening() as file:
        if isinstance(file.raw, ObjectFile):
            return file.raw, file.raw.facts.size_bytes
        number = os.dup(file.fileno())
        return SharedFd(number), os.fstat(number).st_size


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
        is_there: Callable[[], Awaitable[bool]] | None = None,
        past: Callable[[int], Awaitable[int]] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take a whole file, or one that grows: ``past(n)`` then waits for more than n bytes, and returns how many.

        ``reading`` is what reading the file is done in: it breaks it off when the recording is erased, and is told of
        the bytes that are sent. ``is_there`` tells within it whether that has happened before; None: the file's name.
        """
        self._reader = reader
        self._is_there = is_there or reader.is_linked
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
                # One that was erased before it was marked as being read is not there any more.
                if await self._is_there():
                    await self._send(scope, receive, send, sent)
                else:
                    await Response(status_code=404)(scope, receive, send)
        finally:
            self._reader.close()

    async def _send(self, scope: Scope, receive: Receive, send: Send, sent: Callable[[int], None]) -> None:
        request = Request(scope, receive)
        offset, end = self._part.start, self._part.start + self._part.length_bytes
        there = end if self._past is None else offset
        # A file that cannot be read at all is told by the status: it is read before that is sent.
        first = await self._read(offset, end) if self._past is None and offset < end else b""
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
            try:
                chunk = first or await self._read(offset, there)
            except (StoreError, FileNotFoundError) as error:
                log.warning("stored_file_broken_off", error=str(error))
                return
            first = b""
            if not chunk:
                raise DependencyError(f"storage: a file became {end - offset} bytes shorter while it was read")
            taken_bytes = await self._send_pieces(chunk, send)
            del chunk
            offset += taken_bytes
            sent(taken_bytes)
            # A send waits until what was sent before has been taken; so does this one of nothing, with nothing in hand.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read(self, offset: int, end: int) -> bytes:
        return await self._reader.read(min(self._reader.chunk_bytes, end - offset), offset)

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
