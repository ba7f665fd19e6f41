"""``wavstream demo``: the whole path on real sockets and real speech, and a check of the file that it makes."""

from __future__ import annotations

import asyncio
import time
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wavstream.cli.verify import check
from wavstream.errors import DependencyError
from wavstream.rendering.codecs.encode import Samples
from wavstream.service.logs import configure
from wavstream.service.server import running
from wavstream.settings import LogSettings, Settings
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import Leg, play_call
from wavstream.simulator.control import Control
from wavstream.simulator.send import read_wav
from wavstream.storage.sidecar import read_sidecar

SPEED = 2.0
"""Times real time: the conversation is short, but nobody likes to wait."""
FINISH_S = 15.0
POLL_S = 0.02
VOICES = {"a": "caller.wav", "b": "callee.wav"}


async def run_demo(data_dir: Path, console: Console) -> int:
    """Play, record, fetch and check; return the exit code."""
    configure(LogSettings(level="warning"))
    legs = [Leg(name, *_voice(file)) for name, file in VOICES.items()]
    async with running(Settings(port=0, data_dir=data_dir)) as (service, _):
        server = ServerAddress.parse(service.settings.base_url)
        console.print(f"server   {service.settings.base_url}", highlight=False)
        session_id = f"demo-{int(time.time())}"
        recording_id = (await asyncio.to_thread(Control(server).start, session_id))["id"]
        await _play(legs, server, session_id, console)
        recording, fetched = await asyncio.to_thread(_fetch, Control(server), recording_id)
    return await asyncio.to_thread(_show, service.folder.recordings, recording, fetched, console)


def _fetch(control: Control, recording_id: str) -> tuple[dict[str, Any], bytes]:
    """Return the recording, once its file is available (it ends with the call), and the file behind its link."""
    give_up = time.monotonic() + FINISH_S
    while (recording := control.recording(recording_id))["status"] != "available":
        if recording["status"] in ("absent", "failed") or time.monotonic() > give_up:
            raise DependencyError(f"the recording is {recording['status']}: {recording['error']}")
        time.sleep(POLL_S)
    return recording, control.fetch(recording["url"])


async def _play(legs: list[Leg], server: ServerAddress, session_id: str, console: Console) -> None:
    columns = (
        TextColumn("leg {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[at]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars = {leg.name: progress.add_task(leg.name, total=len(leg.samples), at="") for leg in legs}

        def advance(leg: str, position: int) -> None:
            progress.update(bars[leg], completed=position, at=f"{position / 8000:.1f} s")

        await play_call(legs, server=server, session_id=session_id, speed=SPEED, progress=advance)


def _voice(file: str) -> tuple[Samples, int]:
    with resources.as_file(resources.files("wavstream.simulator") / "voices" / file) as path:
        return read_wav(path)


def _show(storage: Path, recording: dict[str, Any], fetched: bytes, console: Console) -> int:
    """Compare the stored file with the fetched one and with its receipt, and print what it holds."""
    path = next(storage.resolve().rglob(f"{recording['id']}.wav"))
    if fetched != path.read_bytes():
        raise DependencyError(f"what its link gave is not what is in {path}")
    check(path, read_sidecar(msgspec.json.encode(recording), object_key=path.name))
    samples, rate_hz = soundfile.read(path, dtype="float64", always_2d=True)
    length = f"{len(samples) / rate_hz:.2f} s, {samples.shape[1]} channels, {rate_hz} Hz"
    console.print(f"recorded {path}", highlight=False, soft_wrap=True)
    console.print(f"length   {length}, ended by {recording['end_reason']}", highlight=False)
    table = Table("channel", "leg", "speech", "peak", box=None)
    legs = {leg["channel"]: leg["leg"] for leg in recording["legs"]}
    for name, channel in zip(("left", "right"), samples.T, strict=True):
        table.add_row(name, legs[name], _dbfs(_speech_rms(channel)), _dbfs(float(np.abs(channel).max())))
    console.print(table)
    console.print(
        f"kept     {recording['retention_hours']} hours, then it is erased; retention.hours says how long",
        soft_wrap=True,
    )
    console.print("checked  its link gives the stored file; hash, header and length are right", soft_wrap=True)
    return 0


def _speech_rms(channel: NDArray[np.float64]) -> float:
    """Return the root mean square of the part that is not silence."""
    spoken = channel[np.abs(channel) > 1e-3]
    return float(np.sqrt(np.mean(spoken**2))) if len(spoken) else 0.0


def _dbfs(level: float) -> str:
    return f"{20 * np.log10(level):.1f} dBFS" if level > 0 else "silent"
