"""The conversions that are under way: one of each recording, however many ask for it.

Whoever asks is sent the file while it grows. When it is whole it moves beside the recording's own file, and stays as
long as that does. One that fails leaves nothing, and the next request begins it anew.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from wavstream.conversion.conversion import Conversion
from wavstream.errors import InternalError, LimitReached, NotFound, WavstreamError
from wavstream.model.recording import Recording
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.quotas import Quota, Quotas, Tally
from wavstream.storage.local import LocalStorage

log = structlog.get_logger(__name__)

MAX_CONCURRENT_CONVERSIONS = 2
"""Threads that convert; who comes later waits for a turn."""
MAX_WAITING_CONVERSIONS = 200
RETRY_AFTER_S = 60


class GrowingFile:
    """A file that is made from its first byte to its last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made_bytes = 0
        self._failure: WavstreamError | None = None
        self._news = asyncio.Event()

    async def past(self, offset: int) -> int:
        """Return how many bytes are there, once there are more than ``offset``; raises what it failed with."""
        while self._made_bytes <= offset:
            if self._failure is not None:
                raise self._failure
            await self._news.wait()
        return self._made_bytes

    def grow(self, made_bytes: int) -> None:
        """Note that so many bytes are there."""
        self._made_bytes = made_bytes
        self._tell()

    def fail(self, failure: WavstreamError) -> None:
        """Note that it does not grow any more."""
        self._failure = failure
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Conversions:
    """Converts files in threads of its own. Its methods are for the event loop."""

    def __init__(
        self,
        *,
        storage: LocalStorage,
        spool: Path,
        reserve: DiskReserve,
        max_waiting: int = MAX_WAITING_CONVERSIONS,
        quotas: Quotas | None = None,
    ) -> None:
        """Begin without one; ``max_waiting`` may run and wait."""
        self._max_waiting = max_waiting
        self._quotas = quotas or Quotas()
        self._of_app = Tally()
        self._storage = storage
        self._spool = spool
        self._reserve = reserve
        self._growing: dict[str, GrowingFile] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(MAX_CONCURRENT_CONVERSIONS, thread_name_prefix="convert")
        self._stopping = threading.Event()

    def begin(self, recording: Recording) -> GrowingFile:
        """Return the file in the other format, as it grows; raise LimitReached if there is no room for it."""
        growing = self._growing.get(recording.id)
        if growing is None:
            conversion = Conversion.of(recording)
            self._check_room(conversion.size_bytes)
            self._quotas.check(
                Quota.CONVERSIONS,
                recording.app_id,
                used=self._of_app.of(recording.app_id),
                used_by_all=self._of_app.total,
            )
            if self._of_app.total >= self._max_waiting:
                raise LimitReached("As many files are converted, or wait for it, as may: try again.", retry_after_s=5)
            self._of_app.add(recording.app_id)
            path = self._spool / f"{recording.id}.{conversion.file_format}-copy"
            growing = self._growing[recording.id] = GrowingFile(path)
            task = asyncio.create_task(self._make(recording, conversion, growing), name=f"convert {recording.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return growing

    async def stop(self) -> None:
        """Break off the conversions that are under way."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self._pool.shutdown)

    def _check_room(self, size_bytes: int) -> None:
        if self._stopping.is_set():
            raise LimitReached("The server is shutting down.", retry_after_s=RETRY_AFTER_S)
        if not self._reserve.has_room(size_bytes):
            raise LimitReached(
                "The disk has no room for the recording in a second format: ask for the one it was made in.",
                retry_after_s=RETRY_AFTER_S,
            )

    async def _make(self, recording: Recording, conversion: Conversion, growing: GrowingFile) -> None:
        loop = asyncio.get_running_loop()

        def grown(made_bytes: int) -> None:
            if self._stopping.is_set():
                raise _Stopped
            loop.call_soon_threadsafe(growing.grow, made_bytes)

        try:
            await loop.run_in_executor(self._pool, self._convert, recording.object_key, conversion, growing.path, grown)
        except _Stopped:
            growing.fail(LimitReached("The server is shutting down.", retry_after_s=RETRY_AFTER_S))
        except FileNotFoundError:
            growing.fail(NotFound("The recording was erased."))
        except OSError as error:
            log.error("conversion_write_failed", recording_id=recording.id, error=str(error))
            growing.fail(LimitReached("The file could not be converted: try again.", retry_after_s=RETRY_AFTER_S))
        except Exception as error:  # ours: others are waiting for their files
            log.exception("conversion_failed", recording_id=recording.id)
            growing.fail(error if isinstance(error, WavstreamError) else InternalError(str(error)))
        finally:
            del self._growing[recording.id]
            self._of_app.remove(recording.app_id)

    def _convert(self, object_key: str, conversion: Conversion, path: Path, grown: Callable[[int], None]) -> None:
        try:
            grown(0)
            conversion.write(self._storage.path(object_key), path, grown=grown)
            self._storage.publish_copy(path, object_key, conversion.file_format)
        finally:
            path.unlink(missing_ok=True)


class _Stopped(Exception):
    """The server stops."""
