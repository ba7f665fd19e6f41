"""A node's connection to a real NATS, for tests of what lies between the cluster's rules and the engine."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from tests.support.nats import NatsCluster, NatsServer
from tests.support.waiting import until
from wavstream.cluster.engine import EngineAway, Entry
from wavstream.cluster.jetstream import JetStream
from wavstream.cluster.membership import NodeState
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.owners import Owners

T = TypeVar("T")

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


async def written(write: Callable[[], Awaitable[T]]) -> T:
    """Return what a write is answered; while the engine is away it is written again, the same."""
    answers: list[T] = []

    async def tried() -> bool:
        with suppress(EngineAway):
            answers.append(await write())
        return bool(answers)

    await until(tried)
    return answers[0]


def a_node(name: str, **more: Any) -> NodeState:
    """Return what a node says of itself."""
    told = {"installation": f"of {name}", "address": "10.0.0.1:8090", "version": "0"} | more
    return NodeState(name=name, **told)


@asynccontextmanager
async def living(
    nats: NatsServer | NatsCluster,
    node: str,
    *,
    name: str,
    is_killed: bool = False,
    state: dict[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[NodeLife]:
    """Let a node live in a cluster of this name; ``is_killed``: it does not leave at the end."""
    async with connected(nats, name=name, node=node) as engine:
        life = NodeLife(engine.table, state=a_node(node, **(state or {})), lease_s=2.0, **(_CALM | more))
        try:
            await life.start()
            yield life
        finally:
            if is_killed:
                life.leave = _nothing  # type: ignore[method-assign]
            await life.stop()


async def _nothing() -> None:
    pass


_CALM: dict[str, Any] = {"load": lambda: 0.25, "is_draining": lambda: False}


@asynccontextmanager
async def owning(
    nats: NatsServer | NatsCluster, node: str, *, name: str, claim_wait_s: float = 5.0
) -> AsyncIterator[Owners]:
    """Let a node own sessions in a cluster of this name."""
    async with connected(nats, name=name, node=node) as engine:
        owners = Owners(engine.table, node=node, shards=4, claim_wait_s=claim_wait_s)
        await owners.start()
        try:
            yield owners
        finally:
            await owners.stop()
