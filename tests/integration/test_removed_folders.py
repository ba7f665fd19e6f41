"""Folders of ours are removed, or moved away, while calls are recorded."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.recorder import Recorder, hear, recorder
from tests.support.speech import noise
from tests.support.talking import speak
from tests.support.waiting import until
from wavstream.journal.segments import journals_in
from wavstream.service.data_folder import DataFolder

# In all of these the words are said in real time: a stop cuts off what is ahead of its moment, and a busy machine makes
# that of words that are sent at once.


def move_away(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def put_a_file_there(folder: Path) -> None:
    while not folder.is_file():  # it may be made again in between
        shutil.rmtree(folder)
        folder.touch()


def frames_of(samples: NDArray[np.int16], word: NDArray[np.int16]) -> int:
    """How many of the word's 25 frames are in the file."""
    file = np.ascontiguousarray(samples[:, 0]).tobytes()
    return sum(word[at : at + 160].tobytes() in file for at in range(0, len(word), 160))


async def told(client: Recorder, folder: Path) -> dict[str, Any]:
    """Return what readiness says, once it tells of this folder."""

    async def look() -> dict[str, Any] | None:
        answer: dict[str, Any] = (await client.http.get("/readyz")).json()
        return answer if any(str(folder) in loss for loss in answer.get("lost", ())) else None

    said = await until(look)
    assert said is not None
    return said


@pytest.mark.parametrize("harm", [shutil.rmtree, move_away], ids=["removed", "moved away"])
@pytest.mark.parametrize("name", ["journal", "spool", "recordings"])
async def test_a_folder_that_is_gone_is_made_again_and_what_runs_loses_nothing(
    tmp_path: Path, name: str, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.service.watch.FOLDERS_S", 0.05)
    words = [noise(0.5, seed=seed) for seed in (1, 2)]
    data = tmp_path / "data"
    async with recorder(data) as (client, service), client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77")
        await speak(socket, words[0])
        await client.until_received("call-77", 500)
        job = service.recorder.get(recording["id"])
        assert job is not None
        await asyncio.to_thread(harm, data / name)

        ready = await told(client, data / name)
        await speak(socket, words[1])
        await client.until_received("call-77", 1000)
        later = await client.start("call-77")
        done = [await client.act(each, "stop") for each in (recording, later)]
        samples, _ = hear(await client.fetch(done[0]))

    assert ready["ready"]
    assert (data / name).stat().st_mode & 0o777 == 0o700
    assert [frames_of(samples, word) for word in words] == [25, 25]
    assert done[0]["status"] == "available"


def rename_segments(folder: Path) -> None:
    for segment in folder.glob("*.wsj"):
        segment.rename(segment.with_suffix(".elsewhere"))


def remove_segments(folder: Path) -> None:
    for segment in folder.glob("*.wsj"):
        segment.unlink()


@pytest.mark.parametrize(
    "harm",
    [shutil.rmtree, move_away, rename_segments, remove_segments],
    ids=["folder removed", "folder moved away", "segment renamed", "segment removed"],
)
async def test_a_recording_that_is_stopped_before_its_journal_was_put_back_is_whole(
    tmp_path: Path, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.service.watch.FOLDERS_S", 3600.0)
    monkeypatch.setattr("wavstream.recorder.recorder.Recorder.fold", lambda recorder, journals: None)
    word = noise(0.5, seed=1)
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77")
        await speak(socket, word)
        await client.until_received("call-77", 500)
        await asyncio.to_thread(harm, tmp_path / "journal")
        done = await client.act(recording, "stop")
        samples, _ = hear(await client.fetch(done))
    assert done["status"] == "available"
    assert frames_of(samples, word) == 25


async def test_a_journal_whose_folder_was_removed_is_whole_again_for_the_start_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.service.watch.FOLDERS_S", 0.05)
    words = [noise(0.5, seed=seed) for seed in (1, 2)]
    data, copy = tmp_path / "data", tmp_path / "copy"
    async with recorder(data) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77")
        await speak(socket, words[0])
        await client.until_received("call-77", 500)
        await asyncio.to_thread(shutil.rmtree, data / "journal")
        await told(client, data / "journal")
        await speak(socket, words[1])
        await client.until_received("call-77", 1000)
        await client.start("call-77")  # upon the answer all of it is written
        await asyncio.to_thread(shutil.copytree, data, copy, ignore=shutil.ignore_patterns("spool"))
    assert [len(segments) for segments in journals_in(copy / "journal").journals.values()] == [1]
    async with recorder(copy, reconnect_wait_s=0) as (client, _):
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))
    assert [frames_of(samples, word) for word in words] == [25, 25]


async def test_a_data_folder_that_is_gone_altogether_is_told_by_readiness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.service.watch.FOLDERS_S", 0.05)
    data = tmp_path / "data"
    async with recorder(data) as (client, _):
        await asyncio.to_thread(move_away, data)
        said = await told(client, data / "journal")
    assert not said["ready"]
    assert any("catalog.db was removed" in reason for reason in said["reasons"])


async def test_a_folder_that_cannot_be_made_again_turns_readiness_red_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.service.watch.FOLDERS_S", 0.05)
    async with recorder(tmp_path) as (client, _):
        await asyncio.to_thread(put_a_file_there, tmp_path / "journal")

        async def status_is(status: int) -> bool:
            return (await client.http.get("/readyz")).status_code == status

        await until(lambda: status_is(503))
        await asyncio.to_thread((tmp_path / "journal").unlink)
        await until(lambda: status_is(200))


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.claim()
    assert folder.mend(datetime.now(UTC)) == set()
    assert folder.losses == []
    folder.release()
