"""A script of commands, and a crash at each of its points: after every write to the journal, whole or torn, after every
commit of the catalog, and upon every answer.

After the restart the recording is as was answered (or, for the command that was not answered yet, as before or after
it); what was said in an answered pause, or after an answered stop, is not in the file; what had been written of the
rest is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from tests.support.erasing import an_eraser
from tests.support.faulty_database import FaultyDatabase
from tests.support.journals import FRAME, RATE_HZ, noise
from tests.support.recorder_harness import RecorderHarness, written
from tests.support.sessions import Handle, at, introduction
from tests.support.speech import silence
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.engine import Write
from wavstream.dialects.events import Frame
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.model.times import utc
from wavstream.retention.sweeper import Sweeper
from wavstream.sessions.admission import DiskReserve, NewRecordings
from wavstream.sessions.commands import Commands
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.openers.base import OpenRequest
from wavstream.sessions.session import SessionStream
from wavstream.storage.object_keys import KeyTemplate

WORD_S = 0.2
COMMANDS = ("start", "pause", "resume", "pause", "resume", "stop", "delete")
BECOMES = {
    "start": {Status.ACCEPTED, Status.ONGOING},
    "pause": {Status.PAUSED},
    "resume": {Status.ONGOING},
    "stop": {Status.COMPLETED, Status.AVAILABLE},
    "delete": {Status.DELETED},
}


@dataclass
class Point:
    """What a crash leaves, and what had been said and answered by then."""

    folder: Path
    what: str
    now_s: float
    recording: Recording | None
    answered: tuple[str, ...]
    asked: tuple[str, ...]
    kept: tuple[int, ...]
    """Words that are safe: they were said while it was ongoing, by the answers, and have been written."""
    forbidden: tuple[int, ...]
    """Words that were said in an answered pause, or after an answered stop."""


class CrashingDatabase(FaultyDatabase):
    """A database that says when something has been committed."""

    committed: Callable[[], None] = staticmethod(lambda: None)

    async def write(self, write: Write[object]) -> object:  # type: ignore[override]
        result = await super().write(write)
        self.committed()
        return result


@dataclass
class Script:
    """Runs the commands on one call, and takes a copy of the data folder at every point."""

    root: Path
    harness: RecorderHarness
    points: list[Point] = field(default_factory=list)
    recording: Recording | None = None
    answered: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    forbidden: list[int] = field(default_factory=list)
    words: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.harness.writer._write_at = self._write_at
        assert isinstance(self.harness.database, CrashingDatabase)
        self.harness.database.committed = lambda: self.crash("a commit")

    def crash(self, what: str) -> None:
        """Keep what a crash at this moment would leave."""
        with self._lock:
            folder = self.root.parent / f"point-{len(self.points)}"
            recording, answered, kept = self.recording, tuple(self.answered), tuple(self.kept)
            # Other threads go on meanwhile. In this order the copy is a state that there may be: a journal is deleted
            # after its row is written, and a row is written after its file.
            copy_folder(self.root / "journal", folder / "journal")
            for database in ("catalog.db", "catalog.db-wal"):
                shutil.copy(self.root / database, folder / database)
            copy_folder(self.root / "recordings", folder / "recordings")
            self.points.append(
                Point(
                    folder,
                    what,
                    self.harness.now_s,
                    recording,
                    answered=answered,
                    asked=tuple(self.asked),
                    kept=kept,
                    forbidden=tuple(self.forbidden),
                )
            )

    def _write_at(self, fd: int, content: memoryview, offset: int) -> int:
        done = os.pwrite(fd, content[: max(len(content) // 2, 1)], offset)
        self.crash("half a write" if done < len(content) else "a write")
        return done + os.pwrite(fd, content[done:], offset + done)

    async def run(self, *, stream_first: bool) -> None:
        harness = self.harness
        commands = commands_of(harness)
        stream = open_leg(harness) if stream_first else None
        for command in COMMANDS:
            self.asked.append(command)
            if command == "start":
                self.recording = await commands.start(
                    app_id="default", session_id="call-77", options=RecordingOptions()
                )
            else:
                assert self.recording is not None
                act = getattr(commands, command)
                await act(app_id="default", recording_id=self.recording.id)
            self.answered.append(command)
            self.crash("an answer")
            stream = stream or open_leg(harness)
            word = self.words
            if command != "delete":
                self.words += 1
                if command in ("pause", "stop"):
                    self.forbidden.append(word)
                say(harness, stream, word)
                await beat(harness)
                if command in ("start", "resume"):
                    self.kept.append(word)
                self.crash("a word")


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder in which files come and go."""

    def copy_if_there(path: str, to: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, to)

    shutil.copytree(source, target, copy_function=copy_if_there)


def say(harness: RecorderHarness, stream: SessionStream, word: int) -> None:
    """Let the leg say a word of its own, in real time, with a little silence around it: no command cuts it."""
    samples = np.concatenate((silence(0.06), noise(WORD_S, seed=word), silence(0.06)))
    for start in range(0, len(samples), FRAME):
        harness.now_s += FRAME / RATE_HZ
        stream.frame(Frame(0, stream.position, FRAME, samples[start : start + FRAME].tobytes()), at(harness.now_s))


async def beat(harness: RecorderHarness) -> None:
    """Let all that was said be written."""
    for _ in range(10):
        harness.ticker.tick(harness.now_us())
    for session in harness.sessions:
        if session.notes.journal is not None:
            await written(harness, session.notes.journal)


def open_leg(harness: RecorderHarness) -> SessionStream:
    stream = harness.sessions.open_stream(introduction("a"), app_id="default", handle=Handle(), now_us=harness.now_us())
    assert isinstance(stream, SessionStream)
    return stream


def open_request(recording: Recording) -> OpenRequest:
    raise AssertionError("nothing is opened here")


def commands_of(harness: RecorderHarness) -> Commands:
    return Commands(
        sessions=harness.sessions,
        recorder=harness.recorder,
        opened=OpenedStreams(None, request_for=open_request, sessions=harness.sessions, now_us=harness.now_us),
        catalog=harness.catalog,
        eraser=an_eraser(harness.catalog, harness.storage, harness.recorder),
        new_recordings=NewRecordings(keys=KeyTemplate(), reserve=DiskReserve(harness.spool, 0), now_us=harness.now_us),
        now_us=harness.now_us,
    )


async def a_harness(root: Path) -> RecorderHarness:
    database = await CrashingDatabase.open(root / "catalog.db")
    return RecorderHarness(root, await Catalog.over(database, is_wanted=USUAL), database)


async def close(harness: RecorderHarness) -> None:
    await harness.recorder.stop(0.0)
    await asyncio.to_thread(harness.writer.stop)
    await harness.database.close()


def heard_words(harness: RecorderHarness, recording: Recording, words: int) -> dict[int, int]:
    """How many frames of each word are in the file."""
    samples, _ = soundfile.read(harness.storage.path(recording.object_key), dtype="int16")
    file = np.ascontiguousarray(samples[:, 0]).tobytes()
    return {word: frames_in(file, word) for word in range(words)}


def frames_in(file: bytes, word: int) -> int:
    samples = noise(WORD_S, seed=word)
    return sum(samples[at : at + FRAME].tobytes() in file for at in range(0, len(samples), FRAME))


async def check(point: Point, words: int) -> None:
    """Restart on what the crash left, and see that every answer holds."""
    harness = await a_harness(point.folder)
    harness.now_s = point.now_s + 1
    await harness.recover()
    told = f"{point.what}, answered {point.answered}, asked {point.asked}"
    recordings = await harness.catalog.recordings.list("default", limit=10)
    rows = {row.id: row for row in recordings.data}
    if point.recording is None:  # the start was not answered
        assert len(rows) <= 1, told
        await close(harness)
        return
    row = await harness.row(point.recording)
    allowed = set(BECOMES[point.answered[-1]])
    for command in point.asked[len(point.answered) :]:
        allowed |= BECOMES[command]
    live = harness.recorder.get(row.id)
    assert (row.status if live is None else live.row.status) in allowed, told
    if row.status is Status.DELETED:
        eraser = an_eraser(harness.catalog, harness.storage, harness.recorder)
        await Sweeper(harness.catalog, harness.storage, eraser).sweep(utc(harness.now_us()))
        assert not harness.storage.path(row.object_key).exists(), told
    else:
        await go_on(harness, row, point, words, told)
    await close(harness)


async def go_on(harness: RecorderHarness, row: Recording, point: Point, words: int, told: str) -> None:
    """Let the leg come back, and listen to the file in the end."""
    commands = commands_of(harness)
    stream = open_leg(harness)
    live = harness.recorder.get(row.id)
    kept, forbidden = list(point.kept), list(point.forbidden)
    if live is None:
        say(harness, stream, words)
        forbidden.append(words)
    else:
        if live.row.status is Status.PAUSED:
            say(harness, stream, words)
            await beat(harness)
            forbidden.append(words)
            await commands.resume(app_id="default", recording_id=row.id)
        say(harness, stream, words + 1)
        await beat(harness)
        kept.append(words + 1)
        await commands.stop(app_id="default", recording_id=row.id)
        await harness.settled()
    row = await harness.row(row)
    assert row.status is Status.AVAILABLE, told
    heard = heard_words(harness, row, words + 2)
    assert all(heard[word] == WORD_S * RATE_HZ // FRAME for word in kept), (told, heard, kept)
    assert not any(heard[word] for word in forbidden), (told, heard, forbidden)


async def every_point(tmp_path: Path, *, stream_first: bool) -> None:
    root = tmp_path / "data"
    harness = await a_harness(root)
    harness.now_s = 50.0  # what restarts later finds only rows of before its start
    script = Script(root, harness)
    await script.run(stream_first=stream_first)
    await close(harness)
    answers = [point.answered for point in script.points if point.what == "an answer"]
    assert answers == [COMMANDS[: number + 1] for number in range(len(COMMANDS))]
    assert len(script.points) > 4 * len(COMMANDS)
    for point in script.points:
        await check(point, script.words)


async def test_every_answer_holds_after_a_crash_at_any_point_of_a_call(tmp_path: Path) -> None:
    await every_point(tmp_path, stream_first=True)


async def test_every_answer_holds_where_the_recording_waits_for_its_first_stream(tmp_path: Path) -> None:
    await every_point(tmp_path, stream_first=False)
