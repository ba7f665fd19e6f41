"""``wavstream verify``: is a finished file what the catalog, or its sidecar, says it is?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from rich.console import Console

from wavstream.catalog.catalog import Catalog
from wavstream.errors import NotFound, OperatorError, WavstreamError
from wavstream.finishing.sidecar import read_sidecar
from wavstream.model.recording import Receipt
from wavstream.service.data_folder import DataFolder
from wavstream.settings import Settings
from wavstream.storage.keys import sidecar_key

CHUNK_BYTES = 1 << 20


class NotVerified(WavstreamError):
    """The file is not what it should be: the text says in what."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the file should be."""

    size_bytes: int
    audio_sha256: str
    samples: int
    """Of each channel."""
    channels: int
    sample_rate: int
    """Hertz."""

    @classmethod
    def of(cls, recording: Mapping[str, Any]) -> Expected:
        """What the API says of a recording."""
        channels = 2 if recording["channels"] == "stereo" else 1
        return cls(
            size_bytes=recording["size_bytes"],
            audio_sha256=recording["audio_sha256"],
            samples=recording["integrity"]["samples"] // channels,
            channels=channels,
            sample_rate=recording["sample_rate"],
        )

    @classmethod
    def from_receipt(cls, receipt: Receipt) -> Expected:
        """What the catalog, or a sidecar, says of a recording."""
        return cls(
            size_bytes=receipt.size_bytes,
            audio_sha256=receipt.audio_sha256,
            samples=receipt.samples,
            channels=receipt.channels,
            sample_rate=receipt.sample_rate,
        )


async def run_verify(what: str, settings: Settings, console: Console) -> None:
    """Check hash, header and length; raises NotVerified, NotFound or OperatorError."""
    found = await asyncio.to_thread(_from_file, Path(what))
    path, expected = found if found is not None else await _from_catalog(what, settings)
    try:
        await asyncio.to_thread(check, path, expected)
    except OSError as error:
        raise OperatorError(f"{path} cannot be read ({error.strerror}): verify as a user who may read it") from error
    console.print(
        f"{path}: as recorded ({expected.samples / expected.sample_rate:.3f} s)", markup=False, soft_wrap=True
    )


def check(path: Path, expected: Expected) -> None:
    """Compare the file with what is expected of it; raises NotVerified with every difference."""
    size_bytes = path.stat().st_size
    wrong = []
    if size_bytes != expected.size_bytes:
        wrong.append(f"it has {size_bytes} bytes instead of {expected.size_bytes}")
    try:
        with soundfile.SoundFile(path) as file:
            found = (file.frames, file.channels, file.samplerate)
        if found != (expected.samples, expected.channels, expected.sample_rate):
            wrong.append(
                f"its header says {found[0]} samples, {found[1]} channels, {found[2]} Hz instead of "
                f"{expected.samples}, {expected.channels}, {expected.sample_rate}"
            )
    except soundfile.LibsndfileError as error:
        wrong.append(f"its header cannot be read ({error.error_string})")
    audio_bytes = expected.samples * expected.channels * 2
    if _sha256(path, after=expected.size_bytes - audio_bytes) != expected.audio_sha256:
        wrong.append("its audio has another hash")
    if wrong:
        raise NotVerified(f"{path}: {'; '.join(wrong)}")


def _sha256(path: Path, *, after: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(after)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _from_file(path: Path) -> tuple[Path, Expected] | None:
    if not path.exists():
        return None
    sidecar = path.with_name(sidecar_key(path.name))
    if not sidecar.exists():
        raise OperatorError(f"{path} has no sidecar {sidecar.name} beside it: verify it by the recording's id")
    try:
        receipt = read_sidecar(sidecar.read_bytes(), object_key=path.name).receipt
    except (OSError, ValueError) as error:
        raise OperatorError(f"{sidecar} is not the sidecar of a recording ({error}): verify it by its id") from error
    assert receipt is not None
    return path, Expected.from_receipt(receipt)


async def _from_catalog(recording_id: str, settings: Settings) -> tuple[Path, Expected]:
    folder = DataFolder(settings.data_dir)
    folder.make()
    catalog = await Catalog.open(folder.catalog)
    try:
        recording = await catalog.get_recording(recording_id)
    finally:
        await catalog.close()
    if recording is None:
        raise NotFound(f"there is no recording {recording_id} in {folder.catalog}, and no file of that name")
    receipt = recording.receipt
    path = folder.recordings / recording.object_key
    if receipt is None or not path.exists():
        raise NotVerified(f"recording {recording_id} is {recording.status}: it has no file")
    return path, Expected.from_receipt(receipt)
