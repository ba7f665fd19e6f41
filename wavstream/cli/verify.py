"""``wavstream verify``: compare a finished file with its receipt in the catalog, or in its sidecar."""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from wavstream.cli.data_folder import found_folder
from wavstream.conversion.verification import differences
from wavstream.errors import NotFound, OperatorError, WavstreamError
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.settings import Settings
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import sidecar_key
from wavstream.storage.sidecar import read_sidecar
from wavstream.storage.stores import FinishedFiles, Stores

_Opening = Callable[[], io.BufferedReader]
_Found = tuple[str, _Opening, Recording]
"""Where the file lies, what opens it, and what is known of it."""


class NotVerified(WavstreamError):
    """The file differs from its receipt: the text says in what."""


async def run_verify(what: str, settings: Settings, console: Console) -> None:
    """Check hash, header and length; raise NotVerified, NotFound or OperatorError."""
    found = await asyncio.to_thread(_from_file, Path(what))
    place, opening, recording = found if found is not None else await _from_catalog(what, settings)
    try:
        await asyncio.to_thread(_check, place, opening, recording)
    except FileNotFoundError as error:
        raise NotVerified(f"{place}: it is gone") from error
    except OSError as error:
        raise OperatorError(f"{place} cannot be read ({error.strerror}): verify as a user who may read it") from error
    receipt = _receipt(recording)
    console.print(f"{place}: as recorded ({receipt.samples / receipt.sample_rate:.3f} s)", markup=False, soft_wrap=True)


def check(path: Path, recording: Recording) -> None:
    """Compare the file with an available recording's receipt; raise NotVerified with every difference."""
    _check(str(path), lambda: path.open("rb"), recording)


def _check(place: str, opening: _Opening, recording: Recording) -> None:
    if wrong := [each for each in differences(opening, recording) if each is not None]:
        raise NotVerified(f"{place}: {'; '.join(wrong)}")


def _receipt(recording: Recording) -> Receipt:
    assert recording.receipt is not None
    return recording.receipt


def _from_file(path: Path) -> _Found | None:
    if not path.exists():
        return None
    sidecar = path.with_name(sidecar_key(path.name))
    if not sidecar.exists():
        raise OperatorError(f"{path} has no sidecar {sidecar.name} beside it: verify it by the recording's id")
    try:
        recording = read_sidecar(sidecar.read_bytes(), object_key=path.name)
        return str(path), lambda: path.open("rb"), recording
    except (OSError, ValueError) as error:
        raise OperatorError(f"{sidecar} is not the sidecar of a recording ({error}): verify it by its id") from error


async def _from_catalog(recording_id: str, settings: Settings) -> _Found:
    folder = found_folder(settings)
    async with folder.open_catalog() as catalog:
        recording = await catalog.recordings.get(recording_id)
    if recording is None:
        raise NotFound(f"there is no recording {recording_id} in {folder.catalog}, and no file of that name")
    local = LocalStorage(folder.recordings)
    path, stored = local.path(recording.object_key), recording.stored
    if recording.receipt is None or recording.status is not Status.AVAILABLE or (stored is None and not path.exists()):
        raise NotVerified(f"recording {recording_id} is {recording.status}: it has no file")
    files = FinishedFiles(local, Stores.of(settings.storage) if stored is not None else Stores())
    place = str(path) if stored is None or path.exists() else f"{stored.url}/{recording.object_key}"
    return place, functools.partial(files.open, recording, as_it_is=True), recording
