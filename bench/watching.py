"""What pages that look cost the recordings: 20 of them at 500 legs.

    python -m bench.watching [--legs 500] [--pages 20] [--seconds 20] [--rounds 3]

A server records calls of two legs; for as long nobody looks, then as many pages as are asked for read ``/v1/live``, in
turns. Its CPU in both is read from its metrics. The pages read in this process, which is not counted. Must be less than
5 % more; exits 1 when it is not.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

import httpx

from tests.support.recorder import Recorder, ServerProcess
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import CPU, Control

BUDGET = 0.05
SETTLE_S = 3.0


async def cpu_s(url: str) -> float:
    """Return the CPU time of the server so far."""
    control = Control(ServerAddress.parse(url))
    try:
        return (await asyncio.to_thread(control.metrics))[CPU]
    finally:
        control.close()


async def look(client: httpx.AsyncClient, read: list[int]) -> None:
    """Read what is live until cancelled."""
    async with client.stream("GET", "/v1/live") as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_raw():
            read[0] += len(piece)


async def spent(recorder: Recorder, *, pages: int, seconds: float) -> tuple[float, int]:
    """Return the CPU of a second with so many pages, and the bytes that they read in all."""
    read = [0]
    looking = [asyncio.create_task(look(recorder.http, read)) for _ in range(pages)]
    await asyncio.sleep(SETTLE_S)
    before_s, before_bytes = await cpu_s(recorder.base_url), read[0]
    await asyncio.sleep(seconds)
    used_s = await cpu_s(recorder.base_url) - before_s
    for task in looking:
        task.cancel()
    await asyncio.gather(*looking, return_exceptions=True)
    return used_s / seconds, read[0] - before_bytes


async def measure(*, legs: int, pages: int, seconds: float, rounds: int) -> bool:
    """Print what pages cost; return whether that is little enough."""
    with tempfile.TemporaryDirectory() as name:
        async with ServerProcess(Path(name)) as server:
            recorder = await server.start()
            recorder.http.timeout = httpx.Timeout(60, pool=None)
            load = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "wavstream", "load", "--url", recorder.base_url,
                "--legs", str(legs), "--duration", str(round(2 * rounds * (seconds + SETTLE_S) + 30)),
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await asyncio.sleep(10)
            without, with_pages, sent = [], [], 0
            for _ in range(rounds):
                without.append((await spent(recorder, pages=0, seconds=seconds))[0])
                used, sent = await spent(recorder, pages=pages, seconds=seconds)
                with_pages.append(used)
            load.terminate()
            await load.wait()
            await recorder.http.aclose()
    base, more = statistics.median(without), statistics.median(with_pages)
    share = more / base - 1
    print(f"{legs} legs: {base * 100:.1f} % of a core, with {pages} pages {more * 100:.1f} %: {share * 100:+.1f} %, "
          f"{sent / pages / seconds / 1000:.0f} kB a second for each page")  # fmt: skip
    return share < BUDGET


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", type=int, default=500)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    holds = asyncio.run(measure(legs=given.legs, pages=given.pages, seconds=given.seconds, rounds=given.rounds))
    raise SystemExit(0 if holds else 1)


if __name__ == "__main__":
    main()
