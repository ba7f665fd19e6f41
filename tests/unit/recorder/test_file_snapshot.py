"""What there is of an MP3 file that is being made, joined with what its encoder holds back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from wavstream.errors import DependencyError
from wavstream.recorder.file_snapshot import FileSnapshot, SharedFd
from wavstream.rendering.encoders.mp3 import RATES_HZ, Mp3Encoder
from wavstream.rendering.tap import Tap


def so_far(folder: Path, rate_hz: int, channels: int, cuts: list[int]) -> tuple[FileSnapshot, np.ndarray]:
    """Return a file of blocks that end at these samples, not finished; and what was recorded, a tone that rises."""
    time = np.arange(cuts[-1]) / rate_hz
    tone = np.rint(6000 * np.sin(2 * np.pi * (200 + 150 * time) * time)).astype(np.int16)
    recorded = np.repeat(tone[:, None], channels, axis=1)
    encoder, tap, encoded = Mp3Encoder(sample_rate_hz=rate_hz, channels=channels), Tap(), b""
    tap.open(sample_rate_hz=rate_hz, channels=channels, is_held_back=True)
    for start, end in zip([0, *cuts], cuts, strict=False):
        tap.pass_on(start, recorded[start:end])
        encoded += encoder.encode(recorded[start:end])
    path = folder / "spool"
    path.write_bytes(b"head" + encoded)
    moment = FileSnapshot(
        sample_rate_hz=rate_hz, channels=channels, samples=tap.samples, is_mp3=True,
        file=SharedFd(os.open(path, os.O_RDONLY)), header_bytes=4, audio_bytes=len(encoded), rest=tap.recent(),
    )  # fmt: skip
    return moment, recorded


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_decoded_and_remembered_samples_join_without_a_seam(tmp_path: Path, rate_hz: int, channels: int) -> None:
    moment, recorded = so_far(tmp_path, rate_hz, channels, [rate_hz, 2 * rate_hz + 7, 2 * rate_hz + 20])
    heard = np.frombuffer(b"".join(moment.pieces(0)), "<i2").reshape(-1, channels)
    assert heard.shape == recorded.shape
    assert np.abs(heard.astype(int) - recorded)[rate_hz // 10 :].max() < 900


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_range_of_an_mp3_is_what_the_whole_has_there_and_is_decoded_without_complaints(
    tmp_path: Path, rate_hz: int, channels: int, capfd: pytest.CaptureFixture[str]
) -> None:
    moment, recorded = so_far(tmp_path, rate_hz, channels, [rate_hz, 9 * rate_hz + 7])
    step = 2 * channels
    heard = np.frombuffer(b"".join(moment.pieces(0)), "<i2").astype(int)
    for first in (0, 1, 700, 2 * rate_hz + 11, 5 * rate_hz, 5 * rate_hz + 501, len(recorded) - 20):
        for last in (first + 1, first + 3000, len(recorded)):
            part = np.frombuffer(b"".join(moment.pieces(first * step, last * step)), "<i2")
            whole = heard[first * channels : last * channels]
            # Floating point of another piece of the file rounds differently, now and then.
            assert part.shape == whole.shape
            assert np.abs(part - whole).max() <= 1
    assert capfd.readouterr().err == ""


def test_a_range_of_a_long_mp3_is_not_decoded_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment, _ = so_far(tmp_path, 8000, 1, [8000 * second for second in range(1, 301)])
    read_bytes = 0
    read = SharedFd.read

    def count(file: SharedFd, length_bytes: int, offset: int) -> bytes:
        nonlocal read_bytes
        read_bytes += len(piece := read(file, length_bytes, offset))
        return piece

    monkeypatch.setattr(SharedFd, "read", count)
    for first in (0, 8000 * 150, 8000 * 290):
        assert len(b"".join(moment.pieces(2 * first, 2 * first + 100))) == 100

    assert moment.audio_bytes > 1_000_000
    assert read_bytes < 30_000


def test_a_file_too_short_to_be_known_as_mp3_is_heard_from_memory(tmp_path: Path) -> None:
    moment, recorded = so_far(tmp_path, 8000, 1, [100, 900])
    assert b"".join(moment.pieces(0)) == recorded.tobytes()


def test_what_the_disk_has_not_taken_yet_is_missed_loudly(tmp_path: Path) -> None:
    moment, _ = so_far(tmp_path, 8000, 1, [24_000])
    os.truncate(tmp_path / "spool", 2000)
    with pytest.raises(DependencyError, match="has not taken"):
        list(moment.pieces(0))


def test_a_file_that_is_closed_while_it_is_read_ends_the_reading_and_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"head" + bytes(200_000))
    file = SharedFd(os.open(tmp_path / "spool", os.O_RDONLY))
    moment = FileSnapshot(
        sample_rate_hz=8000,
        channels=1,
        samples=100_000,
        is_mp3=False,
        file=file,
        header_bytes=4,
        audio_bytes=199_000,
        rest=bytes(1_000),
    )
    pieces = moment.pieces(0)
    first = next(pieces)

    file.close()
    file.close()

    assert len(first) < 199_000
    assert list(pieces) == []
    assert (file.is_closed, file.size_bytes(), file.read(10, 0)) == (True, 0, b"")


@pytest.mark.parametrize("after_reads", [1, 2, 3, 5, 8, 13, 21])
def test_an_mp3_that_is_closed_at_any_read_of_the_decoder_ends_the_reading_and_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_reads: int
) -> None:
    moment, recorded = so_far(tmp_path, 8000, 1, [8000, 160_007])
    read, reads = SharedFd.read, 0

    def close_then(file: SharedFd, length_bytes: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads == after_reads:
            file.close()
        return read(file, min(length_bytes, 1_001), offset)

    monkeypatch.setattr(SharedFd, "read", close_then)

    assert len(b"".join(moment.pieces(0))) < 2 * len(recorded)


def test_a_closed_file_is_closed_for_good_and_its_number_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"spool")
    number = os.open(tmp_path / "spool", os.O_RDONLY)
    file = SharedFd(number)
    file.close()
    (tmp_path / "another").write_bytes(b"another")
    another = os.open(tmp_path / "another", os.O_RDONLY)  # the kernel gives the lowest number that is free

    file.close()

    assert another == number
    assert file.read(7, 0) == b""
    assert os.pread(another, 7, 0) == b"another"
    os.close(another)
