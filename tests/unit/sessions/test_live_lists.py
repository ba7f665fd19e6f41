"""Lists of what is live, on every worker the same: sessions a page at a time, recordings as they are now."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.recordings import a_recording
from tests.support.sessions import TIMING, Handle, QuietRecorder, QuietWriter, at, introduction
from tests.support.waiting import until
from tests.support.workers import workers
from wavstream.catalog.catalog import Catalog
from wavstream.errors import InvalidFields
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.model.times import utc
from wavstream.sessions.admission import DiskReserve, NewRecordings
from wavstream.sessions.live_lists import LiveLists, SessionPage
from wavstream.sessions.registry import SessionLimits, Sessions
from wavstream.storage.object_keys import KeyTemplate
from wavstream.workers.boundary import Alone, Boundary


class Place:
    """The sessions and recordings of one worker."""

    def __init__(self, boundary: Boundary, catalog: Catalog) -> None:
        self.boundary = boundary
        self.seconds = itertools.count(60)
        self.recorder = QuietRecorder()
        self.sessions = Sessions(
            timing=TIMING,
            limits=SessionLimits(sessions=100, streams_per_session=3),
            recorder=self.recorder,
            writer=QuietWriter(),
            new_recordings=NewRecordings(keys=KeyTemplate(), reserve=DiskReserve(Path(), 0), now_us=lambda: at(0)),
            options_of=lambda _: RecordingOptions(),
        )
        self.lists = LiveLists(
            boundary,
            sessions=self.sessions,
            recorder=self.recorder,
            recordings=catalog.recordings,
            now_us=lambda: at(next(self.seconds)),
        )

    def begin(self, number: int, *, at_s: float, app_id: str = "one") -> None:
        self.sessions.find_or_make(app_id, f"call-{number}", at(at_s))

    async def page(self, limit: int, cursor: str | None = None) -> SessionPage:
        return await self.lists.sessions("one", limit=limit, cursor=cursor)

    async def all_pages(self, limit: int) -> list[str]:
        found, cursor = [], None
        while True:
            page = await self.page(limit, cursor)
            found += names(page)
            if (cursor := page.next_cursor) is None:
                return found


def names(page: SessionPage) -> list[str]:
    return [each["session_id"] for each in page.data]


@asynccontextmanager
async def places(count: int, catalog: Catalog, *, wait_s: float = 5.0) -> AsyncIterator[list[Place]]:
    async with workers(count, wait_s=wait_s) as made:
        yield [Place(each, catalog) for each in made]


async def test_a_list_that_is_read_a_page_at_a_time_has_each_session_once_while_others_come_and_go(
    catalog: Catalog,
) -> None:
    alone = Place(Alone(), catalog)
    for number in range(12):
        alone.begin(number, at_s=0, app_id="one" if number % 3 else "two")

    first = await alone.page(3)
    assert names(first) == ["call-1", "call-2", "call-4"]
    for number in (1, 4):  # the second is that of the cursor
        session = alone.sessions.find("one", f"call-{number}")
        assert session is not None
        alone.sessions._drop(session)
    alone.begin(1, at_s=1)
    second = await alone.page(4, first.next_cursor)
    assert names(second) == ["call-5", "call-7", "call-8", "call-10"]
    third = await alone.page(4, second.next_cursor)
    assert (names(third), third.next_cursor, third.left_out) == (["call-11", "call-1"], None, ())


@pytest.mark.parametrize("cursor", ["", "-1", "x", "1.5", " 1", "\u0661", "1" * 19, "1-2"])
async def test_a_cursor_that_is_not_of_this_list_is_refused(cursor: str, catalog: Catalog) -> None:
    with pytest.raises(InvalidFields, match="cursor"):
        await Place(Alone(), catalog).page(1, cursor)


async def test_every_worker_lists_the_sessions_of_all_in_the_order_in_which_they_began(catalog: Catalog) -> None:
    async with places(3, catalog) as made:
        for number in range(20):
            made[number * 7 % 3].begin(number, at_s=number)
        made[0].begin(99, at_s=5, app_id="two")
        expected = [f"call-{number}" for number in range(20)]
        for place in made:
            assert [await place.all_pages(limit) for limit in (1, 3, 19, 20, 50)] == [expected] * 5


async def test_a_session_of_a_worker_whose_clock_is_behind_is_in_the_next_page(catalog: Catalog) -> None:
    async with places(2, catalog) as (ahead, behind):
        for number in range(3):
            ahead.begin(number, at_s=10 + number)
        first = await ahead.page(2)
        behind.begin(50, at_s=3)
        second = await behind.page(9, first.next_cursor)
        assert names(first) + names(second) == ["call-0", "call-1", "call-50", "call-2"]
        with pytest.raises(InvalidFields):
            await behind.page(1, "17")  # of a server that has one worker


async def test_a_worker_that_does_not_answer_is_left_out_and_the_page_says_so(catalog: Catalog) -> None:
    async with places(2, catalog, wait_s=0.05) as (here, gone):
        here.begin(1, at_s=1)
        gone.begin(2, at_s=2)
        gone.boundary._inbox.close()  # type: ignore[attr-defined]
        first = await here.page(5)
        assert (names(first), first.left_out, first.next_cursor) == (["call-1"], (1,), None)


async def test_recordings_of_a_page_are_as_their_workers_have_them_now_asked_once_each(catalog: Catalog) -> None:
    async with places(2, catalog) as made:
        rows = []
        for number in range(6):
            row = a_recording(f"rec-{number}", session_id=f"call-{number}")
            await catalog.recordings.add(row)
            rows.append(row)
            owner = made[made[0].boundary.owner(row.session_id)]
            if number < 4:
                owner.recorder.accept(row).row = replace(row, status=Status.COMPLETED)
        assert {made[0].boundary.owner(row.session_id) for row in rows[:4]} == {0, 1}
        asked = []
        ask = made[0].boundary.ask

        async def counted(worker: int, question: str, body: bytes = b"", *, wait_s: float | None = None) -> bytes:
            asked.append(worker)
            return await ask(worker, question, body, wait_s=wait_s)

        made[0].boundary.ask = counted  # type: ignore[method-assign]
        held = replace(rows[0], hold=LegalHold("law", "case", utc(at(1))))
        done = replace(rows[5], status=Status.AVAILABLE)
        await catalog.recordings.save(done)
        seen = await made[0].lists.as_they_are([held, *rows[1:]])

        assert asked == [1]
        assert [row.status for row in seen] == [Status.COMPLETED] * 4 + [rows[4].status, Status.AVAILABLE]
        assert seen[0].hold == held.hold
        assert [row.id for row in seen] == [row.id for row in rows]


async def test_who_waits_in_vain_is_told_of_a_similar_id_that_streamed_on_another_worker(catalog: Catalog) -> None:
    async with places(2, catalog) as (here, there):
        there.sessions.open_stream(introduction("a", session_id="CALL-77"), app_id="one", handle=Handle(), now_us=at(1))
        session = here.sessions.find_or_make("one", "call-77", at(2))
        waiting = [here.recorder.accept(a_recording())]
        assert here.sessions._similar(session, waiting, at(3)) is None  # it is asked for
        assert await until(lambda: here.sessions._similar(session, waiting, at(4))) == ["CALL-77"]

        other = here.sessions.find_or_make("two", "call-77", at(2))  # no app learns of another's calls
        assert here.sessions._similar(other, waiting, at(5)) is None
        await until(lambda: here.sessions._similar(other, waiting, at(6)) is not None)
        assert here.sessions._similar(other, waiting, at(6)) == []


async def test_where_another_worker_does_not_answer_nobody_says_that_there_is_no_similar_id(catalog: Catalog) -> None:
    async with places(2, catalog, wait_s=0.05) as (here, gone):
        gone.boundary._inbox.close()  # type: ignore[attr-defined]
        session = here.sessions.find_or_make("one", "call-77", at(2))
        waiting = [here.recorder.accept(a_recording())]
        assert here.sessions._similar(session, waiting, at(3)) is None
        await until(here.sessions._asked_elsewhere[session].done)
        assert here.sessions._similar(session, waiting, at(4)) is None


async def test_rows_are_as_the_catalog_has_them_where_their_worker_does_not_answer(catalog: Catalog) -> None:
    async with places(2, catalog, wait_s=0.05) as made:
        made[1].boundary._inbox.close()  # type: ignore[attr-defined]
        rows: list[Recording] = [a_recording(f"rec-{number}", session_id=f"call-{number}") for number in range(6)]
        await asyncio.gather(*(catalog.recordings.add(row) for row in rows))
        seen = await made[0].lists.as_they_are(rows)
        assert [(row.id, row.status) for row in seen] == [(row.id, row.status) for row in rows]
