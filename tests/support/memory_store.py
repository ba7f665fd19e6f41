"""A store in memory, which is away, refuses, hangs or loses its answer when a test says so."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from wavstream.errors import StoreError
from wavstream.storage.object_store import ObjectFacts, ObjectStore


class MemoryStore(ObjectStore):
    """One bucket."""

    def __init__(self, url: str = "s3://calls/a") -> None:
        super().__init__(url, None)
        self.objects: dict[str, bytes] = {}
        self.attributes: dict[str, Mapping[str, str]] = {}
        self.puts: list[str] = []
        """Keys, in the order in which they were put."""
        self.refuses: set[str] = set()
        """What it refuses for good: ``write``, ``read``, ``range``, ``delete``."""
        self.away: str | None = None
        """What every request fails with; None: it is there."""
        self.refuses_keys: set[str] = set()
        """What is never taken."""
        self.loses_answers = False
        """Whether files of recordings and parts of journals are there, and whoever put them hears that it failed."""
        self.goes_away_then = False
        """Whether the store is away from then on."""
        self.gate: asyncio.Event | None = None
        """What files wait for before they are taken."""
        self.waiting = asyncio.Event()
        """Set when one waits."""
        self.at_once = self.most_at_once = 0
        self.asked = 0

    async def put(
        self, key: str, source: Path | bytes, *, attributes: Mapping[str, str], is_checked: bool = True
    ) -> str | None:
        self._may("write")
        content = source if isinstance(source, bytes) else await asyncio.to_thread(source.read_bytes)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            if self.gate is not None and not isinstance(source, bytes):
                self.waiting.set()
                await self.gate.wait()
                self._may("write")
        finally:
            self.at_once -= 1
        if key in self.refuses_keys:
            raise StoreError(f"{key} is not taken")
        self.objects[key], self.attributes[key] = content, {**attributes}
        self.puts.append(key)
        if self.loses_answers and key.endswith((".wav", ".mp3", ".wsj")):
            self.away = "away" if self.goes_away_then else None
            raise StoreError("the answer was lost")
        return f'"{len(content)}"'

    async def put_first(self, key: str, content: bytes, *, attributes: Mapping[str, str]) -> None:
        if key not in self.objects:
            await self.put(key, content, attributes=attributes)

    async def head(self, key: str) -> ObjectFacts | None:
        self._may("read")
        if key not in self.objects:
            return None
        return ObjectFacts(len(self.objects[key]), '"e"', datetime.now(UTC), self.attributes.get(key, {}))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        self._may("read" if length is None else "range")
        content = self.objects.get(key)
        return None if content is None else content[start:] if length is None else content[start : start + length]

    def open(self, key: str) -> io.BufferedReader:
        if key not in self.objects:
            raise FileNotFoundError(key)
        return io.BufferedReader(io.BytesIO(self.objects[key]))

    async def list(self, prefix: str) -> list[str]:
        self._may("read")
        return sorted(key for key in self.objects if key.startswith(prefix))

    async def delete(self, keys: Iterable[str]) -> None:
        self._may("delete")
        for key in keys:
            self.objects.pop(key, None)
            self.attributes.pop(key, None)

    def _may(self, what: str) -> None:
        self.asked += 1
        if self.away is not None:
            raise StoreError(self.away)
        if what in self.refuses:
            raise StoreError("the store refuses this", is_refusal=True)
