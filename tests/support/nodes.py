"""Real nodes of a cluster: servers in processes of their own, with one NATS, one PostgreSQL and one bucket."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.nats import NatsServer, free_ports, running_nats
from tests.support.postgres import lent_catalog
from tests.support.recorder import Recorder, ServerProcess
from tests.support.waiting import until
from tests.support.weed import Weed
from wavstream.settings import variable

MASTER_KEY = "the same on all nodes of this test, 0123456789abcdef"


class Cluster:
    """The nodes, by name, and who speaks to each."""

    def __init__(self, folder: Path, settings: Mapping[str, object], names: Sequence[str]) -> None:
        self._folder = folder
        self._settings = settings
        self.names = [*names]
        self.nodes: dict[str, ServerProcess] = {}
        self.clients: dict[str, Recorder] = {}
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    @property
    def database(self) -> str:
        """The name of the database that they share."""
        return urlsplit(str(self._settings["catalog__url"])).path.strip("/")

    def __getitem__(self, name: str) -> Recorder:
        return self.clients[name]

    def listens(self, name: str) -> str:
        """Return where a node listens for the others."""
        return f"127.0.0.1:{self._ports[name]}"

    def made(self, name: str, **more: object) -> ServerProcess:
        """Return a node that is not started."""
        given = {
            **self._settings,
            "cluster__node": name,
            "cluster__listen": self.listens(name),
            **more,
        }
        return ServerProcess(self._folder / name, **given)

    async def start(self, *names: str, **more: object) -> None:
        """Start these nodes, None: all, side by side; return when each knows all that run."""

        async def begin(name: str) -> None:
            self.nodes[name] = self.made(name, **more)
            self.clients[name] = await self.nodes[name].start()
            self.clients[name].http.follow_redirects = True  # to the bucket

        await asyncio.gather(*(begin(name) for name in names or self.names))

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of a command on a node's data folder."""
        given = {variable(key.replace("__", ".")): str(value) for key, value in self._settings.items()}
        return given | {"WAVSTREAM_DATA_DIR": str(self._folder / name)}

    def run(self, name: str, *words: str) -> str:
        """Run a command on a node's data folder, beside it; return what it said."""
        environment = {**os.environ, **self.environment(name)}
        said = subprocess.run(
            [sys.executable, "-m", "wavstream", *words], env=environment, capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stderr
        return said.stdout

    async def kill(self, name: str) -> None:
        """End a node at once, as if its machine had died."""
        await self.nodes[name].end(signal.SIGKILL)
        await self._forget(name)

    async def stop(self, name: str) -> int:
        """End a node as an operator does; return the exit code."""
        code = await self.nodes[name].end(signal.SIGTERM)
        print(name, *self.nodes[name].last_words, sep="\n")  # noqa: T201 - seen where a test fails
        await self._forget(name)
        return code

    async def _forget(self, name: str) -> None:
        del self.nodes[name]
        await self.clients.pop(name).http.aclose()


@asynccontextmanager
async def cluster(
    folder: Path, weed: Weed, *names: str, starts: bool = True, **settings: object
) -> AsyncIterator[tuple[Cluster, NatsServer]]:
    """Run nodes of these names; three, if none is named."""
    with running_nats(folder / "nats") as nats, lent_catalog() as catalog:
        bucket = weed.settings(uuid.uuid4().hex)
        given: dict[str, object] = {
            "catalog__url": catalog.url,
            "master_key": MASTER_KEY,
            "cluster__nats_url": nats.url,
            "cluster__replicas": 1,
            "http__shutdown_timeout_s": 1,
            **{f"storage__{name}": text for name, text in bucket.items()},
            **settings,
        }
        nodes = Cluster(folder, given, names or ("a", "b", "c"))
        try:
            if starts:
                await nodes.start()
            yield nodes, nats
        finally:
            await asyncio.gather(*(nodes.stop(name) for name in [*nodes.nodes]), return_exceptions=True)


async def owner_of(nodes: Cluster, session_id: str) -> str:
    """Return the node that has a live session, by the node's own word: it relays nothing for it."""
    found: list[str] = []

    async def looked() -> bool:
        for client in nodes.clients.values():
            answer = await client.http.get(f"/v1/sessions/{session_id}")
            if answer.status_code == 200:
                url = answer.json()["media_url"]
                found.extend(name for name, each in nodes.clients.items() if each.base_url.replace("http", "ws") == url)
                return True
        return False

    await until(looked)
    return found[0]
