"""What ends leaves no ring of objects behind, for which nobody but the collector would look (``service.garbage``)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.support.every_dialect import legs_of, rate_of
from tests.support.recorder import Recorder, recorder
from tests.support.waiting import until
from wavstream.dialects.registry import DIALECTS
from wavstream.service.service import Service

UPGRADE = (
    b"GET /media/pcm/%b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n%b\r\n"
)
SPARED = ("wavstream.simulator.", "wavstream.cli.")
"""Those that play the peers, in the same process."""


@contextmanager
def looked_for_rings() -> Iterator[set[str]]:
    """Let Python not look meanwhile, and look at the end; what it finds is in the set then, by names of classes."""
    rings: set[str] = set()
    gc.collect()
    gc.disable()
    try:
        yield rings
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        rings |= {
            type(each).__qualname__
            for each in gc.garbage
            if type(each).__module__.startswith("wavstream.") and not type(each).__module__.startswith(SPARED)
        }
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def until_nothing_is_open(client: Recorder, service: Service) -> None:
    await client.http.aclose()
    await until(lambda: service.endpoint.counters.open_sockets == 0 and not len(service.sessions))
    await asyncio.sleep(0)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_a_recorded_call_that_is_over(tmp_path: Path, dialect: str) -> None:
    legs = legs_of(dialect, np.ones(rate_of(dialect) // 2, np.int16), stereo=False)
    async with recorder(tmp_path, reconnect_wait_s=0.2) as (client, service):
        with looked_for_rings() as rings:
            started = await client.start("call", format="mp3" if dialect == "pcm" else "wav")
            await client.play_at_once("call", *legs, dialect=dialect)
            await client.until(started, "available", "absent")
            await until_nothing_is_open(client, service)
            del started

    assert rings == set()


async def test_connections_of_every_end(tmp_path: Path) -> None:
    async with recorder(tmp_path, http={"head_timeout_s": 0.2}) as (client, service):
        port = service.settings.port
        with looked_for_rings() as rings:
            assert (await client.http.get("/v1/recordings")).status_code == 200
            assert (await client.http.get("/v1/recordings/none")).status_code == 404
            async with httpx.AsyncClient(base_url=client.base_url, headers={"connection": "close"}) as closing:
                await closing.get("/v1/sessions")
            opened = UPGRADE % (b"call", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
            for said in (
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
                b"not HTTP\r\n\r\n",
                b"GET /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3,
                UPGRADE % (b"call", b""),
                UPGRADE % (b"no-such-dialect/call", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
                opened,
                opened + b"\xff\xff\xff",
                opened + b"\x81\x01x",
                opened + b"\x81\x81\0\0\0\0\xff",
                opened + b"\x82\x82\0\0\0\0ab" * 9,
                opened + b"\x88\x82\0\0\0\0\x03\xe8",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(said)
                writer.write_eof()
                await reader.read()
                writer.close()
            await until_nothing_is_open(client, service)

    assert rings == set()
