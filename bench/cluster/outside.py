"""What the nodes of the simulation share beside the engine: a store and a database, both away at times."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from wavstream.catalog.nodes import Owner
from wavstream.errors import CatalogAway, StoreError

APP = "app"
OVER = {"stored", "failed"}
"""The last states of a recording."""
_AWAY_S = 1.0
"""How long it takes to find out that somebody is away."""

FILES = "files"
"""The folder of finished files in the store."""


class Store:
    """A bucket; ``ObjectStore`` as far as the nodes use it."""

    url = "sim://bucket"

    def __init__(self, dice: random.Random) -> None:
        self.is_away = False
        self.slow_s = 0.0
        """How much longer everything takes."""
        self.folders: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._dice = dice

    async def put(self, key: str, source: Path | bytes, *, attributes: object = None, is_checked: bool = True) -> None:
        """Write an object."""
        content = source if isinstance(source, bytes) else await asyncio.to_thread(source.read_bytes)
        await self._work()
        folder, _, name = key.rpartition("/")
        self.folders[folder][name] = content

    async def read(self, key: str) -> bytes | None:
        """Return an object; None: there is none."""
        await self._work()
        folder, _, name = key.rpartition("/")
        return self.folders.get(folder, {}).get(name)

    async def list(self, prefix: str) -> list[str]:
        """Return the names of a folder's objects."""
        await self._work()
        folder = prefix.rstrip("/")
        return [f"{folder}/{name}" for name in self.folders.get(folder, {})]

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        await self._work()
        for key in keys:
            folder, _, name = key.rpartition("/")
            its = self.folders.get(folder, {})
            its.pop(name, None)
            if not its:
                self.folders.pop(folder, None)

    async def _work(self) -> None:
        await asyncio.sleep(self._dice.uniform(0.005, 0.05) + self.slow_s * self._dice.random())
        if self.is_away:
            await asyncio.sleep(_AWAY_S)
            raise StoreError("the store does not answer")


class Row(NamedTuple):
    """A recording, as far as take-overs ask for it."""

    id: str
    """The key of its journal: each has one recording."""
    session_id: str
    app_id: str = APP


class Database:
    """The rows of all recordings, guarded as ``catalog.nodes`` guards them."""

    def __init__(self, dice: random.Random) -> None:
        self.is_away = False
        self.owners: dict[str, Owner] = {}
        """Of each recording."""
        self.of: defaultdict[str, list[str]] = defaultdict(list)
        """The recordings of each session."""
        self.states: defaultdict[str, list[str]] = defaultdict(list)
        """What a receiver of webhooks is told of each recording, in order."""
        self._session_of: dict[str, str] = {}
        self._dice = dice

    async def take(self, session_id: str, owner: Owner, *, held_by: Iterable[str]) -> int:
        """Write who has the recordings of those who had a session, but for those that are stored."""
        await self._work()
        taken = [
            each
            for each in self.of[session_id]
            if self.owners[each].node in held_by
            and (self.owners[each].epoch or 0) < (owner.epoch or 0)
            and OVER.isdisjoint(self.states[each])
        ]
        self.owners |= dict.fromkeys(taken, owner)
        return len(taken)

    async def of_session(self, session_id: str, node: str) -> list[Row]:
        """Return the recordings of a session that a node has and that are not in the store."""
        await self._work()
        return self._unfinished(self.of.get(session_id, ()), node)

    async def of_node(self, node: str) -> list[Row]:
        """Return the recordings that a node has and that are not over."""
        await self._work()
        return self._unfinished(self.owners, node)

    def _unfinished(self, recordings: Iterable[str], node: str) -> list[Row]:
        return [
            Row(each, self._session_of[each])
            for each in recordings
            if self.owners[each].node == node and OVER.isdisjoint(self.states[each])
        ]

    async def is_over(self, recording: str) -> bool:
        """Return whether a recording has its file in the store, or has none for good."""
        await self._work()
        return not OVER.isdisjoint(self.states.get(recording, ()))

    async def save(self, session_id: str, recording: str, owner: Owner, state: str) -> bool:
        """Write a state, once; return False if the row is another's."""
        await self._work()
        known = self.owners.get(recording)
        if known is not None and known.node != owner.node and (known.epoch or 0) >= (owner.epoch or 0):
            return False
        self.write(session_id, recording, owner, state)
        return True

    def write(self, session_id: str, recording: str, owner: Owner, state: str) -> None:
        """Write a state, once, whoever has the row."""
        if recording not in self.owners:
            self.of[session_id].append(recording)
            self._session_of[recording] = session_id
        self.owners[recording] = owner
        if state not in self.states[recording]:
            self.states[recording].append(state)

    async def _work(self) -> None:
        await asyncio.sleep(self._dice.uniform(0.001, 0.01))
        if self.is_away:
            await asyncio.sleep(_AWAY_S)
            raise CatalogAway("the database does not answer")
