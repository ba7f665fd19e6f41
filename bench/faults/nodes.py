"""Three nodes of a cluster and what they stand on, each a real process: NATS, PostgreSQL and a server of S3."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import nats
import nats.errors
from nats.aio.client import Client

from bench.faults.pulse import EVERY_S, Pulse
from bench.faults.victim import DidNotStart, Victim
from tests.support.nats import NatsCluster, NatsServer, free_ports
from tests.support.postgres import Postgres
from tests.support.weed import Weed

KEY = "wsk_of_the_faults_of_a_cluster"
_EVERY_S = 0.1
_WHOLE_S = 120.0
"""Until a cluster is whole again; on a machine that is busy a node takes 20 s to start."""
AWAY = "wavstream_cluster_engine_away"
BEHIND = "wavstream_cluster_tail_seconds"
JOINING = "wavstream_cluster_sessions_joining"
"""Metrics of a node: whether NATS answers it, how old what it has not taken yet is, and how many calls it has taken of
which what was said before is not all there."""
_BEHIND_S = 0.25
_PROBED = "wavstream.tail.of-nobody.0"
"""A subject of the stream that has the tails, and of no node."""
_ANSWERS_S = 2.0


class NotWhole(Exception):
    """The cluster was not whole again in time; the text says what lacked."""


class ToAnyNode(httpx.AsyncBaseTransport):
    """Asks one node after the other, whatever address is asked for: any node answers for all."""

    def __init__(self, nodes: Sequence[Victim]) -> None:
        self._nodes = nodes
        self._turn = itertools.count()
        limits = httpx.Limits(max_connections=200, keepalive_expiry=1.0)
        self._http = httpx.AsyncHTTPTransport(verify=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the nodes that take connections, the next one first; raise what the last one brings about."""
        content = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        first = next(self._turn)
        error: httpx.HTTPError = httpx.ConnectError("no node runs")
        for number in range(len(self._nodes)):
            node = self._nodes[(first + number) % len(self._nodes)]
            if not node.is_answering:
                continue
            url = request.url.copy_with(scheme="http", host="127.0.0.1", port=node.port)
            again = httpx.Request(request.method, url, headers=headers, content=content, extensions=request.extensions)
            try:
                return await self._http.handle_async_request(again)
            except httpx.ConnectError as failed:
                error = failed
        raise error

    async def aclose(self) -> None:
        await self._http.aclose()


class Nodes:
    """The cluster. Commands and questions go to any of its nodes, as to one server (``calls.Server``)."""

    ended = False

    def __init__(self, folder: Path, postgres_folder: Path, *, count: int = 3, **settings: Any) -> None:
        """Prepare it; its files lie in these folders."""
        self.nats = NatsCluster(folder / "nats")
        self.weed = Weed(folder / "weed", volumes=500)
        self.postgres = Postgres(postgres_folder, fsync="on")
        self._folder, self._settings = folder, settings
        self._count = count
        self.victims: list[Victim] = []
        self._client: Client | None = None
        self._pulse = Pulse(self._writes)
        self.http = httpx.AsyncClient()

    async def start(self) -> None:
        """Start everything, and return when it is whole."""
        await asyncio.to_thread(self.postgres.make)
        await asyncio.to_thread(self.postgres.start)
        database = await asyncio.to_thread(self.postgres.database)
        await asyncio.gather(asyncio.to_thread(self.nats.start), asyncio.to_thread(self.weed.start))
        shared: dict[str, Any] = {
            "api_key": KEY,
            "master_key": secrets.token_hex(32),
            "catalog__url": self.postgres.url(database),
            "cluster__nats_url": self.nats.url,
            **{f"storage__{name}": each for name, each in self.weed.settings("calls", timeout_s=5).items()},
            **self._settings,
        }
        for number, port in enumerate(free_ports(self._count)):
            own = shared | {"cluster__node": f"node-{number}", "cluster__listen": f"127.0.0.1:{port}"}
            self.victims.append(Victim(self._folder / f"node-{number}", **own))
        self.http = httpx.AsyncClient(base_url="http://cluster", timeout=60, transport=ToAnyNode(self.victims))
        await self.victims[0].start()  # it makes the tables
        await asyncio.gather(*(victim.start() for victim in self.victims[1:]))
        self._client = await nats.connect(
            self.nats.url.split(","), max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_is_no_news
        )
        self._pulse.begin()
        await self.whole()

    @property
    def ports(self) -> list[int]:
        """Where media servers dial."""
        return [victim.port for victim in self.victims]

    @property
    def processes(self) -> list[Victim | NatsServer]:
        """What may be killed: everything that is there more than once."""
        return [*self.victims, *self.nats.servers]

    def slowness_s(self, from_s: float, to_s: float) -> float:
        """Return the longest that an answer of any node took (``Victim.slowness_s``), or a write to the tails."""
        return max(self.nats_slowness_s(from_s, to_s), *(victim.slowness_s(from_s, to_s) for victim in self.victims))

    def nats_slowness_s(self, from_s: float, to_s: float) -> float:
        """Return the longest that NATS took for a write of one byte to the stream of the tails."""
        return self._pulse.slowness_s(from_s, to_s)

    async def _writes(self) -> bool:
        """Write to the stream of the tails, until that is taken: three servers have it then, as a node's own."""
        assert self._client is not None
        stream = self._client.jetstream(timeout=_ANSWERS_S)
        while True:
            with contextlib.suppress(nats.errors.Error):
                await stream.publish(_PROBED, b"x")
                return True
            await asyncio.sleep(EVERY_S)

    async def start_again(self, process: Victim | NatsServer) -> None:
        """Start what was killed; raise DidNotStart."""
        if isinstance(process, NatsServer):
            await asyncio.to_thread(process.start)
            return
        try:
            await process.start()
        except DidNotStart:
            if not any(server.is_running for server in self.nats.servers):
                raise
            await process.start()  # NATS had no leader in these seconds: systemd would try again too

    async def whole(self, *, is_joined: bool = False) -> None:
        """Wait until every node is ready, has NATS, and NATS has what the node wrote; raise NotWhole.

        ``is_joined``: and each has all that was said in the calls that it has taken.
        """
        give_up_s = time.monotonic() + _WHOLE_S
        while (lacks := await self._lacks(is_joined=is_joined)) is not None:
            if time.monotonic() > give_up_s:
                raise NotWhole(lacks)
            await asyncio.sleep(_EVERY_S)

    async def _lacks(self, *, is_joined: bool) -> str | None:
        for number, victim in enumerate(self.victims):
            try:
                ready = await victim.http.get("/readyz")
                metrics = (await victim.http.get("/metrics")).text
            except httpx.HTTPError as error:
                return f"node {number} does not answer: {error!r}"
            if ready.status_code != 200:
                return f"node {number}: {ready.text}"
            figures = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line and line[0] != "#")
            if float(figures.get(AWAY, 0)):
                return f"node {number} has no NATS"
            if float(figures.get(BEHIND, 0)) > _BEHIND_S:
                return f"node {number} has something for {figures[BEHIND]} s that NATS has not"
            if is_joined and float(figures.get(JOINING, 0)):
                return f"node {number} lacks what was said before in {figures[JOINING]} calls"
        return None

    async def close(self) -> None:
        """End everything."""
        self._pulse.end()
        with contextlib.suppress(Exception):
            await self.http.aclose()
        with contextlib.suppress(Exception):
            if self._client is not None:
                await self._client.close()
        await asyncio.gather(*(victim.close() for victim in self.victims), return_exceptions=True)
        await asyncio.to_thread(self.nats.kill)
        await asyncio.to_thread(self.weed.kill)
        await asyncio.to_thread(self.postgres.kill)


async def _is_no_news(_: Exception) -> None:
    """Take it that NATS is killed here."""
