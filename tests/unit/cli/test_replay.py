"""Which recording a replay folds, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.command_line import CommandLine
from tests.support.journals import a_started_recording, call, leave, noise
from wavstream.journal.segments import segment_path
from wavstream.model.recording import EndReason


def test_the_only_recording_of_a_journal_is_folded_to_a_file_of_its_id(wavstream: CommandLine, tmp_path: Path) -> None:
    recording = a_started_recording()
    key = leave(tmp_path / "journal", call(recording, stop=EndReason.HANGUP))

    said = wavstream("replay", segment_path(tmp_path / "journal", key, 1))

    assert said.code == 0
    assert "1.000 s, 2 channels, 8000 Hz" in said.out
    heard, _ = soundfile.read(tmp_path / f"{recording.id}.wav", dtype="int16")
    assert np.array_equal(heard[:, 0], noise(1.0))


def test_a_journal_that_ends_in_the_middle_is_folded_to_its_end(wavstream: CommandLine, tmp_path: Path) -> None:
    key = leave(tmp_path / "journal", call(a_started_recording()))

    said = wavstream("replay", segment_path(tmp_path / "journal", key, 1), "-o", "out.wav")

    assert said.code == 0
    heard, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert np.array_equal(heard[:, 0], noise(1.0))


def test_one_of_several_recordings_must_be_chosen(wavstream: CommandLine, tmp_path: Path) -> None:
    first, second = a_started_recording(), a_started_recording()
    key = leave(tmp_path / "journal", call(first, second, stop=EndReason.HANGUP))
    segment = segment_path(tmp_path / "journal", key, 1)

    unchosen = wavstream("replay", segment)
    wrong = wavstream("replay", segment, "--recording", "another")
    chosen = wavstream("replay", segment, "--recording", second.id)

    assert (unchosen.code, wrong.code, chosen.code) == (2, 2, 0)
    assert all(recording.id in said.err for recording in (first, second) for said in (unchosen, wrong))
    assert [path.name for path in tmp_path.glob("*.wav")] == [f"{second.id}.wav"]


def test_a_recording_without_audio_leaves_no_file(wavstream: CommandLine, tmp_path: Path) -> None:
    key = leave(tmp_path / "journal", call(a_started_recording(), length_s=0.0, stop=EndReason.HANGUP))

    said = wavstream("replay", segment_path(tmp_path / "journal", key, 1))

    assert said.code == 2
    assert "no audio" in said.err
    assert list(tmp_path.glob("*.wav")) == []


@pytest.mark.parametrize("name", ["nowhere", "k-000001.wsj"], ids=["not a segment", "not there"])
def test_what_is_not_a_segment_is_refused(wavstream: CommandLine, tmp_path: Path, name: str) -> None:
    said = wavstream("replay", tmp_path / name)

    assert said.code == 2
    assert "not a segment" in said.err


def test_a_segment_that_cannot_be_read_is_refused(wavstream: CommandLine, tmp_path: Path) -> None:
    segment = tmp_path / "k-000001.wsj"
    segment.write_bytes(b"not ours, and long enough")

    said = wavstream("replay", segment)

    assert said.code == 2
    assert "cannot be read" in said.err


def test_a_file_that_cannot_be_written_is_one_line(wavstream: CommandLine, tmp_path: Path) -> None:
    key = leave(tmp_path / "journal", call(a_started_recording(), stop=EndReason.HANGUP))

    said = wavstream("replay", segment_path(tmp_path / "journal", key, 1), "-o", tmp_path / "no" / "such.wav")

    assert said.code == 2
    assert "--output" in said.err
    assert said.err.count("\n") == 1
