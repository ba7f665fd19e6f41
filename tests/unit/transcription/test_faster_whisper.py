"""The real faster-whisper package on a model that knows nothing: loaded, asked, and refused where it is broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_whisper import write_tiny_whisper
from wavstream.transcription.engines.base import EngineFailed
from wavstream.transcription.engines.faster_whisper_engine import FasterWhisperEngine

SPEECH = np.random.default_rng(2).normal(0, 3_000, 48_000).astype(np.int16)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("faster_whisper", reason="pip install faster-whisper")
    folder = tmp_path_factory.mktemp("whisper") / "model"
    write_tiny_whisper(folder)
    return folder


@pytest.mark.parametrize("language", ["en-US", "auto", None])
def test_words_with_their_times_come_out_of_a_model_of_this_machine(english: Path, language: str | None) -> None:
    engine = FasterWhisperEngine(str(english))
    heard = [engine.hear(SPEECH, language) for _ in range(3)]  # what it says is drawn anew
    words = [word for each in heard for word in each.words]
    assert words
    assert all(0 <= word.start_ms <= word.end_ms and 0 <= (word.confidence or 0) <= 1 for word in words)
    assert {(each.timing, each.language) for each in heard} == {("word", "en-US" if language == "en-US" else "en")}


def test_a_language_that_the_model_does_not_have_is_refused_and_not_taken_for_english(english: Path) -> None:
    with pytest.raises(EngineFailed, match="English alone, and this is de-DE") as failed:
        FasterWhisperEngine(str(english)).hear(SPEECH, "de-DE")
    assert failed.value.is_lasting


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda folder: (folder / "model.bin").write_bytes(b"nonsense" * 100), "cannot be loaded"),
        (lambda folder: (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:5_000]), "cannot be"),
        (lambda folder: (folder / "vocabulary.json").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be loaded"),
    ],
)
def test_a_model_that_is_broken_is_a_failure_that_names_its_folder(
    english: Path, tmp_path: Path, harm: Callable[[Path], object], why: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(english, broken)
    harm(broken)
    with pytest.raises(EngineFailed, match=why) as failed:
        FasterWhisperEngine(str(broken))
    assert failed.value.is_lasting
    assert str(broken) in str(failed.value)


@pytest.mark.parametrize("lacking", ["model.bin", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused_before_the_package_would_download_it(
    tmp_path: Path, lacking: str
) -> None:
    for name in {"model.bin", "tokenizer.json"} - {lacking}:
        (tmp_path / name).touch()
    with pytest.raises(EngineFailed, match=f"no folder with a {lacking}") as failed:
        FasterWhisperEngine(str(tmp_path))
    assert failed.value.is_lasting
