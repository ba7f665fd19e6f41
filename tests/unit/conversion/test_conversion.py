"""A finished file in the other format, listened to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.support.files import recorded_file
from tests.support.listening import beeps, find_beeps
from tests.support.sessions import a_recording
from wavstream.conversion.conversion import BLOCK_SAMPLES, Conversion
from wavstream.errors import InternalError
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import Recording, Status

PITCHES_HZ = (500, 1200)
LENGTH_S = 20.0


def said(rate_hz: int, length_s: float = LENGTH_S) -> NDArray[np.int16]:
    """Two parties that beep at moments of their own."""
    return np.stack(
        [
            beeps(length_s, rate_hz=rate_hz, frequency_hz=pitch_hz, offset_s=0.2 + 0.3 * column, every_s=1.7)
            for column, pitch_hz in enumerate(PITCHES_HZ)
        ],
        axis=1,
    )


def recorded(
    folder: Path, rate_hz: int, file_format: FileFormat, *, length_s: float = LENGTH_S
) -> tuple[Recording, Path]:
    file, receipt = recorded_file(said(rate_hz, length_s), rate_hz, file_format)
    source = folder / f"recorded.{file_format}"
    source.write_bytes(file)
    options = RecordingOptions(format=file_format)
    return replace(a_recording(), status=Status.AVAILABLE, options=options, receipt=receipt), source


def convert(
    conversion: Conversion, source: Path, target: Path, *, grown: Callable[[int], None] = lambda _: None
) -> None:
    with source.open("rb") as file:
        conversion.write(file, target, grown=grown)


@pytest.mark.parametrize("recorded_as", list(FileFormat))
@pytest.mark.parametrize("rate_hz", [8000, 22_050, 48_000])
def test_each_party_says_the_same_at_the_same_places(tmp_path: Path, rate_hz: int, recorded_as: FileFormat) -> None:
    recording, source = recorded(tmp_path, rate_hz, recorded_as)
    conversion, target = Conversion.of(recording), tmp_path / "copy"

    convert(conversion, source, target)

    assert conversion.file_format is not recorded_as
    assert target.stat().st_size == conversion.size_bytes
    copy, copy_hz = soundfile.read(target, dtype="int16", always_2d=True)
    original = said(rate_hz)
    assert (copy.shape, copy_hz) == (original.shape, rate_hz)
    assert len(copy) > 2 * BLOCK_SAMPLES
    for column, pitch_hz in enumerate(PITCHES_HZ):
        expected = find_beeps(original[:, column], rate_hz, pitch_hz)
        assert find_beeps(copy[:, column], rate_hz, pitch_hz) == pytest.approx(expected, abs=0.001)


def test_a_wav_of_a_rate_that_mp3_does_not_have_is_resampled(tmp_path: Path) -> None:
    recording, source = recorded(tmp_path, 9600, FileFormat.WAV)
    conversion, target = Conversion.of(recording), tmp_path / "copy"

    convert(conversion, source, target)

    copy, copy_hz = soundfile.read(target, dtype="int16", always_2d=True)
    assert (copy_hz, len(copy)) == (11_025, 20 * 11_025)
    for column, pitch_hz in enumerate(PITCHES_HZ):
        expected = find_beeps(said(9600)[:, column], 9600, pitch_hz)
        assert find_beeps(copy[:, column], copy_hz, pitch_hz) == pytest.approx(expected, abs=0.001)


def test_an_mp3_is_decoded_in_one_go_without_complaints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(1).normal(0, 3000, (3 * BLOCK_SAMPLES, 1)).astype(np.int16)
    file, receipt = recorded_file(noise, 8000, FileFormat.MP3)
    source, target = tmp_path / "recorded.mp3", tmp_path / "copy"
    source.write_bytes(file)
    recording = replace(a_recording(), options=RecordingOptions(format=FileFormat.MP3), receipt=receipt)

    convert(Conversion.of(recording), source, target)

    assert capfd.readouterr().err == ""
    whole, _ = soundfile.read(source, dtype="int16", always_2d=True)
    copy, _ = soundfile.read(target, dtype="int16", always_2d=True)
    # Reading it whole starts with a seek, after which rounding may differ.
    assert np.max(np.abs(whole.astype(int) - copy)) <= 1


@pytest.mark.parametrize("recorded_as", list(FileFormat))
def test_what_is_said_to_be_there_is_there_for_good(tmp_path: Path, recorded_as: FileFormat) -> None:
    # The last block is so short that a buffer could hold it back.
    recording, source = recorded(tmp_path, 8000, recorded_as, length_s=(2 * BLOCK_SAMPLES + 100) / 8000)
    target = tmp_path / "copy"
    seen: list[bytes] = []

    def look(made_bytes: int) -> None:
        seen.append(target.read_bytes()[:made_bytes])
        assert len(seen[-1]) == made_bytes

    conversion = Conversion.of(recording)
    convert(conversion, source, target, grown=look)

    assert len(seen) > 2
    assert len(seen[-1]) == conversion.size_bytes
    assert all(seen[-1].startswith(earlier) for earlier in seen)


@pytest.mark.parametrize("recorded_as", list(FileFormat))
@pytest.mark.parametrize("missing", [1, -1])
def test_a_file_that_is_not_as_long_as_its_receipt_says_is_not_converted(
    tmp_path: Path, recorded_as: FileFormat, missing: int
) -> None:
    recording, source = recorded(tmp_path, 8000, recorded_as)
    assert recording.receipt is not None
    receipt = replace(recording.receipt, samples=recording.receipt.samples + missing)

    with pytest.raises(InternalError, match="receipt"):
        convert(Conversion.of(replace(recording, receipt=receipt)), source, tmp_path / "copy")


def test_a_file_that_is_no_audio_is_not_converted(tmp_path: Path) -> None:
    recording, source = recorded(tmp_path, 8000, FileFormat.WAV)
    source.write_bytes(b"nothing of the kind")

    with pytest.raises(InternalError, match="cannot be read"):
        convert(Conversion.of(recording), source, tmp_path / "copy")
