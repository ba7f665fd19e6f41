"""The worker program as the server has it: one that hangs, crashes or talks nonsense is ended, the next one works."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wavstream.transcription.engines.base import EngineFailed
from wavstream.transcription.engines.choice import EngineChoice
from wavstream.transcription.process import WorkerProcess
from wavstream.transcription.wire import Job

JOB = Job(None, "")
_TAKE = """
import os, sys, time, msgspec
from wavstream.transcription.wire import *
from wavstream.transcription.transcript import HeardSpan, HeardWord
out = sys.stdout.buffer
chosen = sys.stdin.buffer.readline()
def take():
    assert read(sys.stdin.buffer)[0] is Kind.JOB
    while read(sys.stdin.buffer)[1]:
        pass
def done():
    write(out, Kind.DONE, msgspec.json.encode(Done("en", "word", 1, 1)))
"""


SAYS_ITS_ENGINE = """
while True:
    take()
    engine = msgspec.json.decode(chosen)["engine"]
    write(out, Kind.DONE, msgspec.json.encode(Done(f"{engine} {os.getpid()}", "word", 1, 1)))
"""


def program(text: str, *, limit_s: float = 30.0) -> WorkerProcess:
    return WorkerProcess(EngineChoice("test"), limit_s=limit_s, command=(sys.executable, "-c", _TAKE + text))


def tones(seconds: float = 1.0, *, channels: int = 2) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((round(8_000 * seconds), channels), np.int16), 8_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def run(worker: WorkerProcess, content: bytes = b"RIFF" * 50_000) -> object:
    return worker.run(JOB, lambda: io.BytesIO(content), lambda _percent: None)


@pytest.fixture
def workers() -> Iterator[list[WorkerProcess]]:
    made: list[WorkerProcess] = []
    yield made
    for worker in made:
        worker.close()


def test_a_file_that_wants_another_engine_has_a_program_of_its_own_and_the_next_is_back(
    workers: list[WorkerProcess],
) -> None:
    # A program that says which engine it was given, and its own number, as the language of the transcript.
    workers.append(worker := program(SAYS_ITS_ENGINE))

    def heard(choice: EngineChoice | None = None) -> str:
        result: Any = worker.run(JOB, lambda: io.BytesIO(b"RIFF"), lambda _percent: None, choice=choice)
        return str(result.done.language)

    first, again, other, back = heard(), heard(), heard(EngineChoice("other")), heard()

    assert [each.split()[0] for each in (first, again, other, back)] == ["test", "test", "other", "test"]
    assert first == again
    assert len({first, other, back}) == 3


def test_one_program_works_off_file_after_file(workers: list[WorkerProcess]) -> None:
    worker = program("while True:\n    take(); print('chatter', file=sys.stderr); done()")
    workers.append(worker)
    run(worker)
    first = worker._process
    run(worker)
    assert worker._process is first


@pytest.mark.parametrize(
    ("text", "why", "is_lasting"),
    [
        ("take(); time.sleep(600)", "the engine hangs", False),
        ("time.sleep(600)", "the engine hangs", False),
        ("take(); os.kill(os.getpid(), 11)", "the program that transcribes ended", False),
        ("sys.exit('no such library')", "no such library", False),
        ("take(); out.write(b'words words words'); out.flush(); time.sleep(600)", "cannot be", False),
        ("take(); write(out, Kind.SPAN, b'{}'); time.sleep(600)", "the program that transcribes ended", False),
        ("take(); write(out, Kind.FAILED, msgspec.json.encode(Failed('no', True)))", "no", True),
        (
            "take()\nspan = msgspec.json.encode(HeardSpan(0, 0, 9, (HeardWord('w', 0, 1),) * 20_000))\n"
            "while True: write(out, Kind.SPAN, span)",
            "more than 400000 words",
            True,
        ),
    ],
)
def test_a_program_that_does_not_work_is_a_failure_with_its_reason_and_the_next_one_works(
    workers: list[WorkerProcess], tmp_path: Path, text: str, why: str, is_lasting: bool
) -> None:
    (tmp_path / "first").touch()
    first = str(tmp_path / "first")
    once = f"import pathlib\nfirst = pathlib.Path({first!r})\nif first.exists():\n    first.unlink()\n"
    worker = program(once + "".join(f"    {line}\n" for line in text.split("\n")) + "take(); done()", limit_s=5.0)
    workers.append(worker)

    with pytest.raises(EngineFailed, match=why) as failed:
        run(worker)

    assert failed.value.is_lasting is is_lasting
    if not is_lasting or "more than" in why:
        run(worker)


def test_a_program_that_is_killed_while_it_works_is_a_failure_at_once(workers: list[WorkerProcess]) -> None:
    read_end, write_end = os.pipe()
    worker = program(f"take(); open('/proc/{os.getpid()}/fd/{write_end}', 'wb').write(b'!'); time.sleep(600)")
    workers.append(worker)

    def kill() -> None:
        os.read(read_end, 1)
        worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()

    with pytest.raises(EngineFailed, match="the program that transcribes ended"):
        run(worker)

    killer.join()
    os.close(read_end)
    os.close(write_end)


def test_no_setting_of_the_server_is_in_the_programs_environment(
    workers: list[WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVSTREAM_MASTER_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    text = "take(); found = [each for each in os.environ.values() if 'secret' in each]\n"
    worker = program(text + "write(out, Kind.FAILED, msgspec.json.encode(Failed(str(found), True)))")
    workers.append(worker)
    with pytest.raises(EngineFailed, match=r"^\[\]$"):
        run(worker)


def test_a_file_that_is_no_sound_and_one_without_speech_are_told_by_the_real_program(
    workers: list[WorkerProcess],
) -> None:
    worker = WorkerProcess(EngineChoice("faster-whisper", model="/nowhere"), limit_s=60)
    workers.append(worker)

    with pytest.raises(EngineFailed, match="no sound") as failed:
        run(worker, b"this is no sound")
    result = worker.run(JOB, lambda: io.BytesIO(tones()), lambda _percent: None)

    assert failed.value.is_lasting
    assert result.spans == ()  # and the engine, which is not there, was not asked


def test_the_program_never_imports_the_server() -> None:
    code = (
        "import sys, wavstream.transcription.worker\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('wavstream.')}\n"
        "assert not rooms & {'service', 'api', 'sessions', 'recorder', 'catalog', 'storage', 'settings'}, rooms"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
