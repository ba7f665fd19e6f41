"""Server-sent events, read as a page reads them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from tests.support.waiting import WAIT_S


class Events:
    """What a page has been told of an app."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.last_id = ""
        self.sessions: dict[str, dict[str, Any]] = {}
        self.meters: dict[int, list[Any]] = {}
        self.is_whole = False
        self.has_ended = False
        self._news = asyncio.Event()

    def take(self, name: str, number: str, data: dict[str, Any]) -> None:
        """Take in an event."""
        self.told.append((name, data))
        self.last_id = number or self.last_id
        if name == "reset":
            self.sessions.clear()
            self.is_whole = False
        elif name == "sessions":
            for session_id in data["gone"]:
                self.sessions.pop(session_id, None)
            self.sessions.update((session["session_id"], session) for session in data["sessions"])
        elif name == "meters":
            self.meters.update((row[0], row) for row in data["legs"])
        elif name == "whole":
            self.is_whole = True
        self._news.set()

    def end(self) -> None:
        self.has_ended = True
        self._news.set()

    async def until(self, condition: Callable[[Events], object]) -> None:
        """Wait until what was told fulfils this."""
        async with asyncio.timeout(WAIT_S):
            while not condition(self):
                self._news.clear()
                await self._news.wait()

    def names(self) -> list[str]:
        """Return the names of all events."""
        return [name for name, _ in self.told]

    def codes(self, session_id: str) -> list[str | None]:
        """Return why the legs of a session are silent."""
        legs = self.sessions.get(session_id, {"legs": []})["legs"]
        return [None if leg["silent_because"] is None else leg["silent_because"]["code"] for leg in legs]


@contextlib.asynccontextmanager
async def events(client: httpx.AsyncClient, *, last_id: str | None = None, **more: str) -> AsyncIterator[Events]:
    """Look at what is live for as long as the block lasts; the answer must be 200."""
    seen, begun = Events(), asyncio.get_running_loop().create_future()

    async def read() -> None:
        headers = {**more, **({} if last_id is None else {"Last-Event-ID": last_id})}
        async with client.stream("GET", "/v1/live", headers=headers) as answer:
            begun.set_result(answer.status_code)
            name = number = text = ""
            async for line in answer.aiter_lines():
                field, _, value = line.partition(": ")
                if not line:
                    if name:
                        seen.take(name, number, json.loads(text))
                    name = number = text = ""
                elif field == "event":
                    name = value
                elif field == "id":
                    number = value
                elif field == "data":
                    text = value
        seen.end()

    reading = asyncio.create_task(read())
    try:
        assert await asyncio.wait_for(asyncio.shield(begun), WAIT_S) == 200
        yield seen
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
