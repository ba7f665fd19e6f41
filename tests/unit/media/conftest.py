"""Every test of the media plane runs on asyncio's own loop and on the one that serves in production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from tests.support.media_plane import MediaHarness, media_plane


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def plane() -> AsyncIterator[MediaHarness]:
    async with media_plane() as running:
        yield running
