"""The program that transcribes, and what is known of its engine before it has one."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from wavstream.transcription import worker
from wavstream.transcription.engines.base import RATE_HZ, EngineFailed, Heard, checked
from wavstream.transcription.engines.choice import EngineChoice, make_engine, missing
from wavstream.transcription.transcript import HeardWord
from wavstream.transcription.wire import Job, Kind, message, read

FILE_HZ, HOURS = 8_000, 4
SAID_S = 5
"""Somebody speaks so long, in each minute and on each channel."""
MEMORY_BYTES = 32_000_000


class Loud:
    """Takes for speech whatever is not digital silence."""

    def __init__(self, rate_hz: int, *_: object) -> None:
        self._frame = rate_hz // 50

    def hear(self, samples: NDArray[np.int16]) -> NDArray[np.bool_]:
        return np.asarray(samples[:: self._frame, 0] != 0, np.bool_)


class Once:
    """Hears one word in each stretch."""

    def __init__(self, *_: object) -> None:
        self.longest_s = 0.0

    def hear(self, samples: NDArray[np.int16], _language: str | None) -> Heard:
        self.longest_s = max(self.longest_s, len(samples) / RATE_HZ)
        return Heard((HeardWord("word", 0, 100),), language="en")


def four_hours(path: Path) -> None:
    """Write a stereo call, as a file with holes: only what is said takes room on the disk."""
    frames = HOURS * 3_600 * FILE_HZ
    with soundfile.SoundFile(path, "w", FILE_HZ, 2, subtype="PCM_16", format="WAV") as sound:
        sound.write(np.zeros((1, 2), np.int16))
    said = np.full((SAID_S * FILE_HZ, 2), 5_000, "<i2").tobytes()
    with path.open("r+b") as file:
        head = file.read(44)
        file.seek(0)
        size = 4 * frames
        file.write(head[:4] + (36 + size).to_bytes(4, "little") + head[8:40] + size.to_bytes(4, "little"))
        file.truncate(44 + size)
        for minute in range(60 * HOURS):
            file.seek(44 + 4 * FILE_HZ * (60 * minute + 20))
            file.write(said)


def test_a_call_of_four_hours_is_worked_off_in_stretches_with_progress_and_is_never_whole_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    four_hours(tmp_path / "call.wav")
    heard = Once()
    monkeypatch.setattr(worker, "Detector", Loud)
    monkeypatch.setattr(worker, "make_engine", lambda _choice: heard)
    answers = io.BytesIO()
    program = worker.Worker(EngineChoice("test"), io.BytesIO(), answers)

    tracemalloc.start()
    with (tmp_path / "call.wav").open("rb") as file:
        program._transcribe(file, Job("en", ""))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    answers.seek(0)
    told: list[tuple[Kind, bytes]] = []
    while (message := read(answers)) is not None:
        told.append(message)
    kinds = [kind for kind, _ in told]
    assert kinds.count(Kind.SPAN) == 2 * 60 * HOURS
    assert kinds[-1] is Kind.DONE
    percents = [int(content.partition(b":")[2].strip(b"}")) for kind, content in told if kind is Kind.PROGRESS]
    assert percents == sorted(percents)
    assert {0, 50, 100} <= set(percents)
    assert SAID_S <= heard.longest_s <= SAID_S + 1
    assert most < MEMORY_BYTES < 4 * HOURS * 3_600 * FILE_HZ


class Wrong:
    """Fails as a package would."""

    def hear(self, _samples: NDArray[np.int16], _language: str | None) -> Heard:
        raise RuntimeError("no such layer: 7" + "x" * 10_000)


def test_an_engine_that_raises_what_it_likes_is_a_failure_in_its_words_and_the_program_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "Detector", Loud)
    monkeypatch.setattr(worker, "make_engine", lambda _choice: Wrong())
    sound = io.BytesIO()
    soundfile.write(sound, np.full(FILE_HZ, 5_000, np.int16), FILE_HZ, format="WAV")
    job = message(Kind.JOB, b'{"language": null, "folder": ""}')
    asked = job + message(Kind.FILE, sound.getvalue()) + message(Kind.FILE, b"")
    answers = io.BytesIO()
    program = worker.Worker(EngineChoice("test"), io.BytesIO(asked * 2), answers)

    assert [program.work() for _ in range(3)] == [True, True, False]

    answers.seek(0)
    told = [each for each in iter(lambda: read(answers), None) if each[0] is Kind.FAILED]
    assert len(told) == 2
    for _, content in told:
        assert b"the engine failed: RuntimeError: no such layer: 7" in content
        assert len(content) < 400


@pytest.mark.parametrize(
    ("said", "language", "word", "kept"),
    [
        ("en-US", "en-US", "good", "good"),
        ("english", "english", "a\n\nb", "a b"),
        ("", None, "\x1b[2Jgood\x07", "[2Jgood"),
        ("x" * 100_000, None, "می\u200cروم", "می\u200cروم"),
        ("e\0n", None, " x ", "x"),
    ],
)
def test_words_are_one_line_each_and_a_language_is_a_name_or_none(
    said: str, language: str | None, word: str, kept: str
) -> None:
    heard = checked(Heard((HeardWord(word, 0, 100),), language=said), 1_000)
    assert heard.language == language
    assert [each.word for each in heard.words] == [kept]


@pytest.mark.parametrize(
    ("name", "install"),
    [("pocketsphinx", "pip install 'wavstream[transcribe]'"), ("faster-whisper", "pip install faster-whisper")],
)
def test_an_engine_that_is_not_installed_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, install: str
) -> None:
    def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr("wavstream.transcription.engines.choice.find_spec", nothing)
    choice = EngineChoice(name, model="/models/small")
    assert missing(choice) == f"{name} is not installed: {install}"
    with pytest.raises(EngineFailed, match="is not installed: pip install") as failed:
        make_engine(choice)
    assert failed.value.is_lasting
