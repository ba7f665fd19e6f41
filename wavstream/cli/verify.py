"""``wavstream verify``: compare a finished file with its receipt in the catalog, or in its sidecar."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from wavstream.cli.data_folder import found_folder
from wavstream.conversion.verification import differences
from wavstream.errors import NotFound, OperatorError, WavstreamError
from wavstream.model.recording import Receipt, Recording
from wavstream.settings import Settings
from wavstream.storage.object_keys import sidecar_key
from wavstream.storage.sidecar import read_sidecar


class NotVerified(WavstreamError):
    """The file differs from its receipt: the text says in what."""


async def run_verify(what: str, settings: Settings, console: Console) -> None:
    """Check hash, header and length; raise NotVerified, NotFound or OperatorError."""
    found = await asyncio.to_thread(_from_file, Path(what))
    path, recording = found if found is not None else await _from_catalog(what, settings)
    try:
        await asyncio.to_thread(check, path, recording)
    except OSError as error:
        raise OperatorError(f"{path} cannot be read ({error.strerror}): verify as a user who may read it") from error
    receipt = _receipt(recording)
    console.print(f"{path}: as recorded ({receipt.samples / receipt.sample_rate:.3f} s)", markup=False, soft_wrap=True)


def check(path: Path, recording: Recording) -> None:
    """Compare the file with an available recording's receipt; raise NotVerified with every difference."""
    if wrong := [each for each in differences(path, recording) if each is not None]:
        raise NotVerified(f"{path}: {'; '.join(wrong)}")


def _receipt(recording: Recording) -> Receipt:
    assert recording.receipt is not None
    return recording.receipt


def _from_file(path: Path) -> tuple[Path, Recording] | None:
    if not path.exists():
        return None
    sidecar = path.with_name(sidecar_key(path.name))
    if not sidecar.exists():
        raise OperatorError(f"{path} has no sidecar {sidecar.name} beside it: verify it by the recording's id")
    try:
        return path, read_sidecar(sidecar.read_bytes(), object_key=path.name)
    except (OSError, ValueError) as error:
        raise OperatorError(f"{sidecar} is not the sidecar of a recording ({error}): verify it by its id") from error


async def _from_catalog(recording_id: str, settings: Settings) -> tuple[Path, Recording]:
    folder = found_folder(settings)
    async with folder.open_catalog() as catalog:
        recording = await catalog.recordings.get(recording_id)
    if recording is None:
        raise NotFound(f"there is no recording {recording_id} in {folder.catalog}, and no file of that name")
    path = folder.recordings / recording.object_key
    if recording.receipt is None or not path.exists():
        raise NotVerified(f"recording {recording_id} is {recording.status}: it has no file")
    return path, recording
