"""What a write of the catalog takes on SQLite and on PostgreSQL: its CPU in this process, and the time of its caller.

``python -m bench.catalog_writes [--writes N]``. PostgreSQL is one of this machine (``tests/support/postgres.py``), with
``fsync`` on, so that both wait for the same disk.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.support.postgres import a_folder_for_postgres, running_postgres
from tests.support.recordings import a_recording
from wavstream.catalog import postgres_schema
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Announcement, Fact, FactKind
from wavstream.model.recording import Status

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)


def fact(name: str, number: int) -> Fact:
    return Fact(
        id=f"{name}-{number}", app_id="shop", session_id=name, kind=FactKind.RECORDING_FINISHED, at=NOW, body={}
    )


async def start(catalog: Catalog, name: str) -> None:
    assert await catalog.recordings.add(a_recording(name, app_id="shop", session_id=name))


async def stop(catalog: Catalog, name: str) -> None:
    """Write what a stop writes: the row, two facts, and that both were told."""
    ended = a_recording(name, app_id="shop", session_id=name, status=Status.AVAILABLE)
    assert await catalog.recordings.save(ended, [fact(name, 1), fact(name, 2)])
    for number in (1, 2):
        told = Announcement(fact=fact(name, number), sequence=number, attempts=0, begun_at=NOW, error=None)
        await catalog.outbox.mark_delivered(told, NOW)


async def read(catalog: Catalog, name: str) -> None:
    assert await catalog.recordings.get(name) is not None


async def measure(label: str, where: Path | PostgresPlace, writes: int) -> None:
    catalog = await Catalog.open(where, is_wanted=lambda _fact, _target: True)
    await catalog.apps.add(App("shop", NOW, webhook=WebhookTarget("https://a.example")), key_hash="h", key_lookup="l")
    steps: dict[str, Callable[[Catalog, str], Awaitable[None]]] = {"start": start, "stop": stop, "read": read}
    for how in ("one after the other", "200 at once"):
        for what, step in steps.items():
            names = [f"{how[0]}{number}" for number in range(writes)]
            spent_s, took_s = time.process_time(), []
            size = 1 if how.startswith("one") else 200
            for first in range(0, writes, size):
                begun_s = time.perf_counter()
                await asyncio.gather(*(step(catalog, name) for name in names[first : first + size]))
                took_s.append((time.perf_counter() - begun_s) / len(names[first : first + size]))
            cpu_ms = (time.process_time() - spent_s) * 1000 / writes
            wall_ms = statistics.median(took_s) * 1000
            print(f"{label:11} {what:6} {how:20} CPU {cpu_ms:6.3f} ms   caller {wall_ms:7.3f} ms")
    await catalog.database.close()


async def main(writes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await measure("SQLite", Path(folder) / "catalog.db", writes)
    with a_folder_for_postgres() as place, running_postgres(place, fsync="on") as server:
        made = server.place(server.database())
        postgres_schema.upgrade(made)
        await measure("PostgreSQL", replace(made, turns_of="bench"), writes)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--writes", type=int, default=600)
    asyncio.run(main(arguments.parse_args().writes))
