"""Pages look at boards that somebody looks after, and what that costs has a bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.events import Events
from tests.support.waiting import until
from wavstream.errors import LimitReached
from wavstream.listening import live_pages
from wavstream.listening.live import Live
from wavstream.listening.live_pages import SHARE, LivePages
from wavstream.model.times import utc
from wavstream.sessions.registry import Sessions
from wavstream.workers.boundary import Alone, Answer


class NoSessions(Sessions):
    """A server without a call."""

    def __init__(self) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def held_back(self, app_id: str) -> dict[str, list[Any]]:
        return {}


class NobodyLive(Live):
    """Live listening on a server that makes no recording."""

    def __init__(self) -> None:
        pass


def pages(*, most: int = 2, boundary: Alone | None = None) -> LivePages:
    boundary = boundary or Alone()
    return LivePages(NoSessions(), live=NobodyLive(), boundary=boundary, max_pages=most, now_us=lambda: 0, tick_s=0.001)


async def test_a_page_too_many_is_refused_and_one_that_left_makes_room() -> None:
    all_pages = pages(most=1)
    first = all_pages.look("shop")
    with pytest.raises(LimitReached, match="as many look"):
        all_pages.look("shop")
    first.leave()
    first.leave()
    all_pages.look("shop").leave()
    assert all_pages.pages == 0
    all_pages.stop()
    with pytest.raises(LimitReached, match="restarting"):
        all_pages.look("shop")


async def test_a_page_is_told_that_there_is_nothing_and_ends_when_its_key_does() -> None:
    all_pages = pages()
    page, told = all_pages.look("shop", key_id="k1"), bytearray()

    async def read() -> None:
        async for piece in page.events(last_event_id=None, now=lambda: utc(0)):
            told.extend(piece)

    reading = asyncio.create_task(read())

    async def is_whole() -> bool:
        return b"event: whole" in told

    await until(is_whole)
    all_pages.end_without(lambda key_id: True)
    assert not page.is_over
    all_pages.end_without(lambda key_id: key_id != "k1")
    await asyncio.wait_for(reading, 30)
    assert b"event: reset" in told
    all_pages.stop()


async def test_a_look_that_takes_long_is_followed_by_a_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    spent = iter(range(1_000))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise asyncio.CancelledError

    class Clock:
        monotonic = staticmethod(lambda: 0.0)
        thread_time = staticmethod(lambda: float(next(spent)))

    monkeypatch.setattr(live_pages, "time", Clock)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    all_pages = pages()
    all_pages.look("shop")
    running = all_pages._running
    assert running is not None
    await asyncio.wait([running])
    assert SHARE * 1.0 in slept
    all_pages.stop()


class Between(Alone):
    """Two workers of one process, as one of them sees them."""

    is_alone = False

    def __init__(self, index: int) -> None:
        self.index = index
        self.others = (1 - index,)
        self.other: Between | None = None
        self.is_away = False
        self._answers: dict[str, Answer] = {}

    def answers(self, question: str, answer: Answer) -> None:
        self._answers[question] = answer

    async def ask_all(self, question: str, body: bytes = b"", *, wait_s: float | None = None) -> dict[int, bytes]:
        assert self.other is not None
        return {} if self.other.is_away else {self.other.index: await self.other._answers[question](body)}


async def test_what_another_worker_has_is_told_too_until_it_is_away_and_again_when_it_is_back() -> None:
    here, there = Between(0), Between(1)
    here.other, there.other = there, here
    mine, others = pages(boundary=here), pages(boundary=there)
    page, seen = mine.look("shop"), Events()

    async def read() -> None:
        async for piece in page.events(last_event_id=None, now=lambda: utc(0)):
            for told in piece.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in told.splitlines() if line[:1] != ":")
                if "event" in fields:
                    seen.take(fields["event"], fields["id"], json.loads(fields["data"]))

    reading = asyncio.create_task(read())
    await seen.until(lambda told: told.is_whole)
    board = others._watch("shop").own.board
    board.show("call-b", b'{"session_id":"call-b","legs":[]}')
    board.set_meter("call-b", 1, "[1,-20,-10,1.0,50,0.5,null]")
    await seen.until(lambda told: "call-b" in told.sessions and 1 in told.meters)
    board.show("call-c", b'{"session_id":"call-c","legs":[]}')
    board.remove("call-b")
    await seen.until(lambda told: {*told.sessions} == {"call-c"})
    there.is_away = True
    await seen.until(lambda told: not told.sessions)
    there.is_away = False
    await seen.until(lambda told: {*told.sessions} == {"call-c"})
    page.leave()
    await asyncio.wait_for(reading, 30)
    mine.stop()
    others.stop()
