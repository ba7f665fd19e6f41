"""A node's connection to a real NATS, for tests of what lies between the cluster's rules and the engine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.nats import NatsCluster, NatsServer
from tests.support.waiting import until
from wavstream.cluster.engine import EngineAway, Entry
from wavstream.cluster.jetstream import JetStream

_numbers = itertools.count(1)


def a_name() -> str:
    """Return the name of a cluster that no other test has."""
    return f"test{next(_numbers)}"


@asynccontextmanager
async def connected(
    nats: NatsServer | NatsCluster, *, name: str | None = None, **more: Any
) -> AsyncIterator[JetStream]:
    """Connect a node, of a cluster of this name, for as long as the body runs."""
    settings = nats.settings(name=name or a_name(), **more)
    engine = await JetStream.connect(settings, node=settings.node or "a")
    try:
        yield engine
    finally:
        await engine.close()


class Told:
    """What a watch has told: all of it, and what is there by that."""

    def __init__(self) -> None:
        self.all: list[Entry] = []
        self.there: dict[str, Entry] = {}

    def __call__(self, entry: Entry) -> None:
        self.all.append(entry)
        if entry.revision:
            self.there[entry.key] = entry
        else:
            self.there.pop(entry.key, None)

    def values(self) -> dict[str, bytes]:
        """Return what is there, by key."""
        return {key: entry.value for key, entry in self.there.items()}

    async def becomes(self, values: dict[str, bytes]) -> None:
        """Wait until this is there."""
        await until(lambda: self.values() == values)


async def written(write: Callable[[], Any]) -> Any:
    """Return what a write is answered; while the engine is away it is written again, the same."""

    async def tried() -> tuple[Any] | None:
        try:
            return (await write(),)
        except EngineAway:
            return None

    return (await until(tried))[0]
