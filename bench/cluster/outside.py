"""What the nodes of the simulation share beside the engine: a store and a database, both away at times."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from wavstream.catalog.nodes import Owner
from wavstream.errors import CatalogAway, StoreError
from wavstream.model.recording import Recording

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


class Database:
    """The rows of all recordings: one for each session, guarded as ``catalog.nodes`` guards them."""

    def __init__(self, dice: random.Random) -> None:
        self.is_away = False
        self.owners: dict[str, Owner] = {}
        self.states: defaultdict[str, list[str]] = defaultdict(list)
        """What a receiver of webhooks is told of each session, in order."""
        self._dice = dice

    async def take(self, session_id: str, owner: Owner) -> int:
        """Write who has a session now."""
        await self._work()
        known = self.owners.get(session_id)
        if known is None or (known.epoch or 0) >= (owner.epoch or 0) or "stored" in self.states[session_id]:
            return 0
        self.owners[session_id] = owner
        return 1

    def keep(self, _session_id: str) -> None:
        """Do nothing."""

    async def of_session(self, session_id: str) -> list[Recording]:
        """Return no recordings: what the nodes ask this for is their apps alone."""
        await self._work()
        return []

    async def are_settled(self, recording_ids: Sequence[str]) -> bool:
        """Return whether nobody needs the journal of these any more."""
        await self._work()
        return False

    async def is_stored(self, session_id: str) -> bool:
        """Return whether a session has its file in the store."""
        await self._work()
        return "stored" in self.states.get(session_id, ())

    async def save(self, session_id: str, owner: Owner, state: str) -> bool:
        """Write a state, once; return False if the row is another's."""
        await self._work()
        known = self.owners.setdefault(session_id, owner)
        if known != owner and (known.epoch or 0) >= (owner.epoch or 0):
            return False
        self.owners[session_id] = owner
        if state not in self.states[session_id]:
            self.states[session_id].append(state)
        return True

    async def _work(self) -> None:
        await asyncio.sleep(self._dice.uniform(0.001, 0.01))
        if self.is_away:
            await asyncio.sleep(_AWAY_S)
            raise CatalogAway("the database does not answer")
