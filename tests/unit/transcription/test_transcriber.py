"""What transcribes, over a catalog that fails: nothing is left under way of which nobody knows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.recordings import START, a_recording
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.transcriptions import TranscriptionStatus
from wavstream.model.audio import Track
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Integrity, LegReceipt, Receipt, Recording, Status
from wavstream.storage.local import LocalStorage
from wavstream.storage.stores import FinishedFiles, Stores
from wavstream.transcription import transcriber
from wavstream.transcription.engines.base import EngineFailed
from wavstream.transcription.engines.choice import EngineChoice
from wavstream.transcription.process import Result, WorkerProcess
from wavstream.transcription.transcriber import Transcriber
from wavstream.transcription.wire import Done


class Program(WorkerProcess):
    """Hears nothing, or fails, at once."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__(EngineChoice("test"), limit_s=1.0)
        self._fails = fails

    def run(self, *_: Any, **__: Any) -> Result:
        if self._fails:
            raise EngineFailed("no key", is_lasting=True)
        return Result((), Done("en", "word", 1, 0))


def recorded(name: str) -> Recording:
    leg = LegReceipt("a", Track.INBOUND, None, "pcm", "l16", 8_000, 0, 60_000)
    recording = a_recording(name, RecordingOptions(transcription=True), status=Status.AVAILABLE)
    receipt = Receipt(8_000, 1, 480_000, "9f", 1, (leg,), Integrity())
    return replace(recording, receipt=receipt, ended_at=START, kept_since=START)


@pytest.mark.parametrize("method", ["finish", "fail"])
async def test_what_a_catalog_that_fails_for_a_while_did_not_take_is_done_once_it_takes_it(
    database: FaultyDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(transcriber, "_CATALOG_WAIT_S", 0.0)
    catalog = await Catalog.over(database, is_wanted=USUAL, transcribes=True)
    storage = LocalStorage(tmp_path / "recordings")
    files = FinishedFiles(storage, Stores())

    def choice_of(_recording: Recording) -> EngineChoice:
        if not database.faults:
            database.faults = {f"Transcriptions.{method}": 2, "Transcriptions.begin_again": 4}
        return EngineChoice("test")

    works = Transcriber(
        catalog=catalog,
        files=files,
        storage=storage,
        spool=tmp_path,
        processes=[Program(fails=method == "fail") for _ in range(2)],
        choice_of=choice_of,
        language=None,
        facts_of=lambda _recording, _said: (),
        now=lambda: START,
    )
    for name in ("r1", "r2"):
        await catalog.recordings.save(recorded(name))

    works.start()
    try:
        for name in ("r1", "r2"):
            while (work := await catalog.transcriptions.get(name)) is None or not work.status.is_over:
                await asyncio.sleep(0.01)
            assert work.status is (TranscriptionStatus.FAILED if method == "fail" else TranscriptionStatus.DONE)
    finally:
        await works.stop()
    assert not any(database.faults.values())
