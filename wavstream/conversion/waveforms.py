"""The waveforms of recordings: those that grow, those beside finished files, and those that have to be made again.

A waveform that is not there (its file was recorded by an earlier version, or restored without it, or a power cut has
left a part of it) is made from the file, once, when it is asked for first: minutes of audio in each turn of the app.
Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import soundfile
import structlog

from wavstream.conversion.decoding import decoded
from wavstream.errors import DependencyError
from wavstream.model.recording import Recording
from wavstream.recorder.recorder import Recorder
from wavstream.rendering.waveform import Ending, Waveform
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import waveform_key
from wavstream.storage.stores import FinishedFiles
from wavstream.storage.waveform_file import Stretch, Window, read_waveform, whole_file
from wavstream.turns.fair_pool import FairPool

BLOCK_SAMPLES = 1 << 19
"""Of each channel, read in a turn: some 20 ms."""
_AT_ONCE = 2

log = structlog.get_logger(__name__)


class Waveforms:
    """Reads them."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        storage: LocalStorage,
        files: FinishedFiles,
        spool: Path,
        live_reads: FairPool,
        downloads: FairPool,
        stored_downloads: FairPool,
    ) -> None:
        self._recorder = recorder
        self._storage = storage
        self._files = files
        self._spool = spool
        self._live_reads = live_reads
        self._downloads = downloads
        self._stored_downloads = stored_downloads
        self._making: dict[str, asyncio.Task[None]] = {}
        self._may_make = asyncio.Semaphore(_AT_ONCE)

    async def growing(self, recording: Recording, window: Window) -> Stretch | None:
        """Return what is wanted of a recording that is being made here; None: there is nothing yet.

        Raises InvalidFields, and DependencyError if the disk refuses.
        """
        live = self._recorder.get(recording.id)
        if live is None or live.job is None:
            return None
        try:
            return await self._live_reads.run(recording.app_id, live.job.waveform.read, window)
        except OSError as error:
            raise DependencyError(f"spool: a waveform could not be read: {error.strerror}") from error

    async def finished(self, recording: Recording, window: Window) -> Stretch | None:
        """Return what is wanted of the file of an available recording; None: the file is gone.

        Raises InvalidFields, and DependencyError if the disk refuses, or the file cannot be read.
        """
        found = await self._read(recording, window)
        if found is None:
            await self._make(recording)
            found = await self._read(recording, window)
        return found

    async def stop(self) -> None:
        """Give up those that are being made."""
        for task in [*self._making.values()]:
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def _read(self, recording: Recording, window: Window) -> Stretch | None:
        key = waveform_key(recording.object_key)
        opening = functools.partial(self._files.open, recording, key)
        try:
            found = await self._pool(recording).run(recording.app_id, read_waveform, opening, window)
        except OSError as error:
            raise DependencyError(f"storage: {key} could not be read: {error.strerror}") from error
        receipt = recording.receipt
        # One of another length is that of another file: a waveform from before a power cut, perhaps.
        return found if found is not None and (receipt is None or found.samples == receipt.samples) else None

    async def _make(self, recording: Recording) -> None:
        making = self._making.get(recording.id)
        if making is None:
            making = asyncio.create_task(self._make_now(recording), name=f"waveform of {recording.id}")
            self._making[recording.id] = making
            making.add_done_callback(lambda _: self._making.pop(recording.id, None))
        await asyncio.shield(making)

    async def _make_now(self, recording: Recording) -> None:
        app_id = recording.app_id
        waveform, points = Waveform(), bytearray()
        async with self._may_make:
            blocks = _blocks(functools.partial(self._files.open, recording), waveform)
            try:
                while (made := await self._pool(recording).run(app_id, next, blocks, None)) is not None:
                    points += made
                ending = waveform.ending(waveform.samples)
                if ending is not None and recording.stored is not None:
                    await self._files.put_waveform(recording, whole_file(ending, bytes(points)))
                elif ending is not None:
                    await self._downloads.run(
                        app_id, functools.partial(self._publish, recording, ending, bytes(points))
                    )
            except FileNotFoundError:
                return
            except soundfile.LibsndfileError as error:
                raise DependencyError(
                    f"storage: {recording.object_key} cannot be read: {error.error_string}"
                ) from error
            except OSError as error:
                raise DependencyError(f"storage: a waveform could not be made: {error.strerror}") from error
        log.info("waveform_made", recording_id=recording.id, session_id=recording.session_id, app_id=app_id)

    def _pool(self, recording: Recording) -> FairPool:
        return self._downloads if recording.stored is None else self._stored_downloads

    def _publish(self, recording: Recording, ending: Ending, points: bytes) -> None:
        made = self._spool / waveform_key(f"{recording.id}-again")
        try:
            made.write_bytes(whole_file(ending, points))
            self._storage.publish_waveform(made, recording.object_key)
        finally:
            made.unlink(missing_ok=True)


def _blocks(opening: Callable[[], io.BufferedReader], waveform: Waveform) -> Iterator[bytes]:
    """Yield the points of a file, in turns of some samples."""
    with opening() as recorded, decoded(recorded) as file:
        waveform.open(file.samplerate, file.channels)
        while len(block := file.read(BLOCK_SAMPLES, dtype="int16", always_2d=True)):
            waveform.take(block)
            yield waveform.collect()
