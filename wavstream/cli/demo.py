"""``wavstream demo``: the whole path on real sockets and real speech, and a look at the file it made."""

from __future__ import annotations

import asyncio
import time
from importlib import resources
from pathlib import Path

import httpx
import numpy as np
import soundfile
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wavstream.cli.verify import Expected, check
from wavstream.errors import DependencyError
from wavstream.service.logs import configure
from wavstream.service.server import running
from wavstream.settings import LogSettings, Settings
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import Leg, play_call
from wavstream.simulator.send import read_wav

SPEED = 2.0
"""Times real time: the conversation is short, but nobody likes to wait."""
VOICES = {"a": "caller.wav", "b": "callee.wav"}


async def run_demo(data_dir: Path, console: Console) -> int:
    """Play, record, fetch and check; the exit code."""
    configure(LogSettings(level="warning"))
    settings = Settings(port=0, data_dir=data_dir)
    legs = [Leg(name, *_voice(file)) for name, file in VOICES.items()]
    async with running(settings) as (service, _):
        base = service.settings.base_url
        console.print(f"server   {base}, data in {data_dir.resolve()}", highlight=False, soft_wrap=True)
        async with httpx.AsyncClient(base_url=base, timeout=30.0) as http:
            session_id = f"demo-{int(time.time())}"
            started = await http.post("/v1/recordings", json={"session_id": session_id})
            started.raise_for_status()
            recording_id = started.json()["id"]
            await _play(legs, base, session_id, console)
            recording = await _finished(http, recording_id)
            answer = await http.get(recording["url"])
            answer.raise_for_status()
        path = service.folder.recordings / next(service.folder.recordings.glob(f"*/*/{recording_id}.wav")).relative_to(
            service.folder.recordings
        )
        if answer.content != path.read_bytes():
            raise DependencyError("what was fetched is not what is in storage")
        channels = 2 if recording["channels"] == "stereo" else 1
        check(
            path,
            Expected(
                size_bytes=recording["size_bytes"],
                audio_sha256=recording["audio_sha256"],
                samples=recording["integrity"]["samples"] // channels,
                channels=channels,
                sample_rate=recording["sample_rate"],
            ),
        )
        _show(path, recording, console)
    return 0


async def _play(legs: list[Leg], base: str, session_id: str, console: Console) -> None:
    columns = (TextColumn("leg {task.description}"), BarColumn(), TextColumn("{task.fields[at]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bars = {leg.name: progress.add_task(leg.name, total=len(leg.samples), at="") for leg in legs}

        def advance(leg: str, position: int) -> None:
            progress.update(bars[leg], completed=position, at=f"{position / 8000:.1f} s")

        await play_call(
            legs, server=ServerAddress.parse(base), session_id=session_id, speed=SPEED, progress=advance
        )


async def _finished(http: httpx.AsyncClient, recording_id: str) -> dict[str, object]:
    """The recording once its file is there: it ends with the call."""
    async with asyncio.timeout(15.0):
        while True:
            recording = (await http.get(f"/v1/recordings/{recording_id}")).json()
            if recording["status"] == "available":
                return recording
            if recording["status"] in ("absent", "failed"):
                raise DependencyError(f"the recording is {recording['status']}: {recording['error']}")
            await asyncio.sleep(0.02)


def _voice(file: str) -> tuple[np.ndarray, int]:
    with resources.as_file(resources.files("wavstream.simulator") / "voices" / file) as path:
        return read_wav(path)


def _show(path: Path, recording: dict[str, object], console: Console) -> None:
    samples, rate_hz = soundfile.read(path, dtype="float64", always_2d=True)
    console.print(f"recorded {path.resolve()}", highlight=False, soft_wrap=True)
    console.print(
        f"length   {len(samples) / rate_hz:.2f} s, {samples.shape[1]} channels, {rate_hz} Hz, "
        f"ended by {recording['end_reason']}",
        highlight=False,
    )
    table = Table("channel", "leg", "speech level", "peak", box=None)
    legs = {leg["channel"]: leg["leg"] for leg in recording["legs"]}  # type: ignore[attr-defined]
    for number, name in enumerate(("left", "right")[: samples.shape[1]]):
        table.add_row(name, legs.get(name, "-"), _dbfs(_speech_rms(samples[:, number])), _dbfs(np.abs(samples[:, number]).max()))
    console.print(table)
    console.print("checked  the file fetched by its link is the stored one; hash, header and length are right")


def _speech_rms(channel: np.ndarray) -> float:
    """Root mean square of the part that is not silence."""
    spoken = channel[np.abs(channel) > 1e-3]
    return float(np.sqrt(np.mean(spoken**2))) if len(spoken) else 0.0


def _dbfs(level: float) -> str:
    return f"{20 * np.log10(level):.1f} dBFS" if level > 0 else "silent"
