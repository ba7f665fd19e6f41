"""Every way in which a file may differ from what was recorded is named."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from tests.support.command_line import CommandLine
from tests.support.sessions import a_recording, at
from wavstream.catalog.catalog import Catalog
from wavstream.cli.verify import NotVerified, check
from wavstream.model.document import recording_document
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import EndReason, Integrity, Receipt, Recording, Status
from wavstream.model.times import utc
from wavstream.rendering.encoders.encoder import new_encoder
from wavstream.service.data_folder import DataFolder

HEADER_BYTES = 44
SAMPLES = np.random.default_rng(1).integers(-9000, 9000, (8000, 2), np.int16)
RECEIPT = Receipt(
    sample_rate=8000,
    channels=2,
    samples=8000,
    audio_sha256=hashlib.sha256(SAMPLES.tobytes()).hexdigest(),
    size_bytes=HEADER_BYTES + SAMPLES.nbytes,
    integrity=Integrity(samples=16000),
)
RECORDING = replace(
    a_recording(),
    status=Status.AVAILABLE,
    end_reason=EndReason.HANGUP,
    started_at=utc(at(0)),
    ended_at=utc(at(1)),
    expires_at=utc(at(2)),
    receipt=RECEIPT,
)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, SAMPLES, 8000)
    return path


def recorded(data_dir: Path) -> Recording:
    """Return the finished recording in the catalog, with its file."""
    folder = DataFolder(data_dir)
    folder.make()

    async def enter() -> None:
        catalog = await Catalog.open(folder.catalog)
        await catalog.recordings.add(RECORDING)
        await catalog.database.close()

    asyncio.run(enter())
    put(folder.recordings / RECORDING.object_key)
    return RECORDING


def test_a_file_that_is_as_recorded_passes(tmp_path: Path) -> None:
    check(put(tmp_path / "rec.wav"), RECORDING)


def test_an_mp3_is_verified_behind_its_info_frame(tmp_path: Path) -> None:
    encoder = new_encoder(FileFormat.MP3, sample_rate_hz=8000, channels=2)
    audio = encoder.encode(SAMPLES) + encoder.finish()
    path = tmp_path / "rec.mp3"
    path.write_bytes(encoder.header(8000) + audio)
    receipt = replace(
        RECEIPT, audio_sha256=hashlib.sha256(audio).hexdigest(), size_bytes=len(encoder.header(8000) + audio)
    )
    recording = replace(RECORDING, options=RecordingOptions(format=FileFormat.MP3), receipt=receipt)

    check(path, recording)

    path.write_bytes(encoder.header(7000) + audio)
    with pytest.raises(NotVerified, match=r"rec\.mp3: its header says 7000 samples, [^;]*$"):
        check(path, recording)


@pytest.mark.parametrize(
    ("receipt", "difference"),
    [
        (replace(RECEIPT, sample_rate=16000), "its header says 8000 samples, 2 channels, 8000 Hz instead of"),
        (replace(RECEIPT, audio_sha256="0" * 64), "its audio has another hash"),
    ],
    ids=["rate", "hash"],
)
def test_one_difference_is_the_only_one_named(tmp_path: Path, receipt: Receipt, difference: str) -> None:
    with pytest.raises(NotVerified) as refusal:
        check(put(tmp_path / "rec.wav"), replace(RECORDING, receipt=receipt))

    assert difference in str(refusal.value)
    assert ";" not in str(refusal.value)


def test_a_file_that_was_cut_short_is_wrong_in_size_header_and_hash(tmp_path: Path) -> None:
    path = put(tmp_path / "rec.wav")
    path.write_bytes(path.read_bytes()[:-400])

    with pytest.raises(NotVerified) as refusal:
        check(path, RECORDING)

    assert "31644 bytes instead of 32044" in str(refusal.value)
    assert "7900 samples" in str(refusal.value)
    assert "another hash" in str(refusal.value)


def test_a_file_without_a_header_is_said_to_have_none_beside_what_else_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rec.wav"
    path.write_bytes(b"")

    with pytest.raises(NotVerified, match=r"0 bytes instead of 32044; its header cannot be read .*; its audio has"):
        check(path, RECORDING)


def test_one_changed_sample_is_seen(tmp_path: Path) -> None:
    path = put(tmp_path / "rec.wav")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(NotVerified, match=r"rec\.wav: its audio has another hash$"):
        check(path, RECORDING)


def test_a_recording_is_verified_by_its_id(wavstream: CommandLine, data_dir: Path) -> None:
    recording = recorded(data_dir)

    said = wavstream("verify", recording.id)

    assert said.code == 0
    assert "as recorded (1.000 s)" in said.out


def test_a_recording_that_does_not_verify_ends_with_code_1(wavstream: CommandLine, data_dir: Path) -> None:
    recording = recorded(data_dir)
    path = DataFolder(data_dir).recordings / recording.object_key
    path.write_bytes(path.read_bytes()[:-2])

    said = wavstream("verify", recording.id)

    assert (said.code, said.out) == (1, "")
    assert "another hash" in said.err
    path.unlink()
    assert wavstream("verify", recording.id).code == 1


def test_a_file_is_verified_by_its_sidecar(wavstream: CommandLine, data_dir: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "copied.wav")
    sidecar = path.with_name("copied.wav.json")
    sidecar.write_bytes(msgspec.json.encode(recording_document(recorded(data_dir), url="http://x/y").as_json()))

    assert wavstream("verify", path).code == 0


@pytest.mark.parametrize("sidecar", [None, b"", b"{}", b"[1]"], ids=["none", "empty", "of nothing", "of another kind"])
def test_a_file_whose_sidecar_says_nothing_cannot_be_verified(
    wavstream: CommandLine, tmp_path: Path, sidecar: bytes | None
) -> None:
    path = put(tmp_path / "rec.wav")
    if sidecar is not None:
        path.with_name("rec.wav.json").write_bytes(sidecar)

    said = wavstream("verify", path)

    assert said.code == 2
    assert "sidecar" in said.err


@pytest.mark.usefixtures("used_folder")
def test_a_recording_that_nobody_knows_is_a_failure(wavstream: CommandLine) -> None:
    said = wavstream("verify", "no-such-recording")

    assert said.code == 1
    assert "no-such-recording" in said.err
