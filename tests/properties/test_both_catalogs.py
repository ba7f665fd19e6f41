"""SQLite and PostgreSQL give the same answers to the same requests, whatever is asked in whatever order."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import lent_catalog
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.catalog.deliveries import DeliveryFilters
from wavstream.clock import BootClocks, ClockJump
from wavstream.model.app import App, WebhookTarget
from wavstream.model.call import CallFacts
from wavstream.model.fact import Fact, FactKind
from wavstream.model.filters import RecordingFilters
from wavstream.model.operation import Operation
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason, LegalHold, Receipt, Recording, Status

ALIKE = ("sip:Jane@x", "sip:jane@x", "+49%", "+4_9", "")
Request: TypeAlias = Callable[[Catalog], Awaitable[Any]]

NOW = datetime(2026, 8, 21, 12, tzinfo=UTC)
apps = st.sampled_from(["shop", "Bank", "default"])
ids = st.sampled_from(
    ["a", "B", "b", "_", "0c", "Zz", *(f"{letter}{number}" for letter in "aAz" for number in range(6))]
)
sessions = st.sampled_from(["call-1", "Call-1", "ä", "%", "call-1_"])
texts = st.sampled_from(
    ["", "+49", "+4930", "+49%", "sip:Jane@x", "sip:jane@x", "a\u00e4", 'q"u\\o', "\U0001f600", "'"]
)
moments = st.integers(-3, 3).map(lambda hours: NOW + timedelta(hours=hours, microseconds=hours))
statuses = st.sampled_from([*Status])
pairs = st.dictionaries(texts, texts, max_size=2)
maybe = st.none


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    status = draw(statuses)
    has_file = status is Status.AVAILABLE
    return Recording(
        id=draw(ids),
        app_id=draw(apps),
        session_id=draw(sessions),
        status=status,
        options=RecordingOptions(metadata=draw(pairs)),
        object_key="key",
        file_name="name.wav",
        created_at=draw(moments),
        call=CallFacts(from_=draw(texts), to=draw(texts), vendor_ids=draw(pairs)),
        end_reason=draw(maybe() | st.sampled_from([*EndReason])),
        ended_at=draw(maybe() | moments),
        expires_at=draw(maybe() | moments),
        receipt=Receipt(8000, 1, draw(st.integers(0, 99_999)), "9f", draw(st.integers(0, 2**40))) if has_file else None,
        keepalive=draw(st.booleans()),
        kept_since=draw(maybe() | moments),
    )


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    return Fact(
        id=f"fact-{draw(st.integers(0, 30))}",
        app_id=draw(apps),
        session_id=draw(sessions),
        kind=draw(st.sampled_from([FactKind.RECORDING_FINISHED, FactKind.COMMAND_DONE])),
        at=draw(moments),
        body={"told": draw(texts)},
        recording_id=draw(maybe() | ids),
    )


filters = st.one_of(
    *(
        each.map(lambda asked, name=name: RecordingFilters(**{name: asked}))  # type: ignore[misc]
        for name, each in {
            "session_id": sessions,
            "statuses": st.frozensets(statuses, max_size=4),
            "ids": st.lists(ids, max_size=5).map(tuple),
            "from_": texts,
            "party": texts | texts.map(lambda text: f"{text}*"),
            "text": texts | st.sampled_from(["J", "j", "ALL", "4", "_", "%", "\\"]),
            "end_reasons": st.frozensets(st.sampled_from([*EndReason]), max_size=4),
            "longer_than_s": st.floats(0, 10),
            "shorter_than_s": st.floats(0, 10),
            "metadata": st.dictionaries(texts, texts, min_size=1, max_size=1),
            "is_held": st.booleans(),
            "vendor_ids": st.dictionaries(texts, maybe() | texts, min_size=1, max_size=1),
            "created_from": moments,
            "created_until": moments,
            "ended_from": moments,
        }.items()
    )
)


async def _list(catalog: Catalog, app_id: str, asked: RecordingFilters, limit: int) -> list[Any]:
    """Return every page."""
    pages: list[Any] = []
    while not pages or pages[-1].next_cursor is not None:
        cursor = pages[-1].next_cursor if pages else None
        pages.append(await catalog.recordings.list(app_id, asked, limit=limit, cursor=cursor))
    return pages


async def _tell(catalog: Catalog, app_id: str, now: datetime, how: int) -> list[Any]:
    """Take what is due, in the order of its ids, and end some of it in some way."""
    due = await catalog.outbox.due(app_id, now, 99)
    told: list[Any] = [sorted(due.announcements, key=lambda each: each.fact.id), due.next_at]
    for number, each in enumerate(told[0]):
        match (number + how) % 4:
            case 0:
                told.append(await catalog.outbox.mark_delivered(each, now, url="u"))
            case 1:
                await catalog.outbox.mark_failed(each, "why", now + timedelta(hours=1), now=now)
            case 2:
                told.append(await catalog.outbox.mark_dead(each, "why", now))
    return told


async def _erase(catalog: Catalog, doomed: Recording, now: datetime) -> Any:
    erased = await catalog.erasures.begin([doomed], Status.DELETED, by="x", now=now)
    return erased, await catalog.erasures.unfinished(9), await catalog.erasures.is_over(doomed.app_id, "call-1", now)


def _add(recording: Recording) -> Request:
    return lambda catalog: catalog.recordings.add(recording)


def _listed(app_id: str, asked: RecordingFilters, limit: int) -> Request:
    return lambda catalog: _list(catalog, app_id, asked, limit)


def _app(app_id: str, has_webhook: bool) -> App:
    return App(app_id, NOW, webhook=WebhookTarget("https://a.example") if has_webhook else None)


requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(lambda r: lambda c: c.recordings.add(r), recordings()),
    st.builds(
        lambda r, told, found: lambda c: c.recordings.save(r, told, found=found and r.status is Status.AVAILABLE),
        recordings(), st.lists(facts(), max_size=3), st.booleans(),
    ),
    st.builds(lambda a, f, n: lambda c: _list(c, a, f, n), apps, filters, st.integers(1, 4)),
    st.builds(lambda a, f: lambda c: c.recordings.numbered_page(a, f, number=1, size=3), apps, filters),
    st.builds(lambda i: lambda c: c.recordings.get(i), ids),
    st.builds(lambda i: lambda c: c.recordings.stored(i, 3), st.just("") | ids),
    st.builds(lambda at: lambda c: c.recordings.due(at, 3), moments),
    st.builds(lambda a, at: lambda c: c.recordings.stored_by_day(a, at), apps, moments),
    st.just(lambda c: c.recordings.stored_bytes()),
    st.builds(lambda i, a, at: lambda c: c.holds.put(i, a, LegalHold("x", "y", at)), ids, apps, moments),
    st.builds(lambda i, a: lambda c: c.holds.release(i, a), ids, apps),
    st.builds(lambda r, at: lambda c: _erase(c, r, at), recordings(), moments),
    st.builds(lambda i: lambda c: c.erasures.finish([i]), ids),
    st.builds(lambda i: lambda c: c.erasures.again({f"{i}.wav": [i]}), ids),
    st.builds(lambda told: lambda c: c.outbox.announce(told), st.lists(facts(), max_size=4)),
    st.builds(lambda a, at, how: lambda c: _tell(c, a, at, how), apps, moments, st.integers(0, 3)),
    st.builds(lambda a: lambda c: c.outbox.pending(a, 9), apps),
    st.just(lambda c: c.outbox.backlog()),
    st.builds(lambda at: lambda c: c.outbox.prune(at + timedelta(days=2)), moments),
    st.builds(lambda a: lambda c: c.dead_letters.page(a, limit=2), apps),
    st.builds(lambda a, at: lambda c: c.dead_letters.replay(a, None, at), apps, moments),
    st.builds(
        lambda a, at: lambda c: c.deliveries.page(a, "native", DeliveryFilters(since=at), number=1, size=4),
        apps, maybe() | moments,
    ),
    st.builds(
        lambda a, k, at: lambda c: c.idempotency.remember(app_id=a, key=k, request_digest="d", recording_id=k, now=at),
        apps, ids, moments,
    ),
    st.builds(lambda at: lambda c: c.idempotency.forget_before(at), moments),
    st.builds(
        lambda a, s, i, at: lambda c: c.operations.add(
            Operation(id=i, app_id=a, session_id=s, command="start", request_id=i, recording_id=i, at=at)
        ),
        apps, sessions, ids, moments,
    ),
    st.builds(
        lambda a, s, i, at: lambda c: c.operations.get(app_id=a, session_id=s, request_id=i, since=at),
        apps, sessions, ids, moments,
    ),
    st.just(lambda c: c.operations.undone("start")),
    st.builds(
        lambda a, hook: lambda c: c.apps.add(_app(a, hook), key_hash=a, key_lookup=a.lower()), apps, st.booleans()
    ),
    st.builds(lambda a: lambda c: c.apps.remove(a), apps),
    st.just(lambda c: c.apps.list()),
    st.builds(
        lambda a, k: lambda c: c.app_keys.revoke(a, k), apps, ids
    ),
    st.builds(
        lambda by: lambda c: ClockCorrections(c.database).move(
            ClockJump(by=timedelta(hours=by), since=NOW - timedelta(hours=1), until=NOW), BootClocks("b", 1, 2)
        ),
        st.integers(-2, 2),
    ),
)  # fmt: skip


async def _answers(catalog: Catalog, asked: list[Request]) -> list[Any]:
    woken: list[str] = []
    catalog.outbox.on_announced(woken.append)
    answers: list[Any] = []
    for request in asked:
        try:
            answers.append(await request(catalog))
        except IntegrityError:
            answers.append("it is there")
    return [*answers, sorted(woken)]


@settings(max_examples=3)
@given(
    st.lists(recordings(), min_size=8, max_size=12),
    st.lists(st.tuples(apps, filters, st.integers(1, 5)), min_size=15, max_size=20),
    st.lists(requests, min_size=15, max_size=40),
)
def test_a_sequence_of_requests_has_the_same_answers_on_both(
    there: list[Recording], lists: list[tuple[str, RecordingFilters, int]], then: list[Request]
) -> None:
    # Whatever is drawn: texts that differ in case alone, or are patterns elsewhere.
    alike = [replace(each, call=CallFacts(from_=text)) for each, text in zip(there, ALIKE, strict=False)]
    alike = [
        replace(each, id=f"alike-{ALIKE.index(each.call.from_)}", app_id="shop", status=Status.AVAILABLE)
        for each in alike
    ]
    looked_for = [RecordingFilters(text=part) for part in ("j", "J", "_", "%", "4")]
    looked_for += [RecordingFilters(party=begins) for begins in ("sip:j*", "sip:J*", "+4_*", "*")]
    fixed = [*map(_add, alike), *(_listed("shop", each, 2) for each in looked_for)]
    asked: list[Request] = [*fixed, *map(_add, there), *(_listed(*each) for each in lists), *then]

    async def on(where: Any) -> list[Any]:
        database = await FaultyDatabase.open(where)
        try:
            return await _answers(await Catalog.over(database, is_wanted=USUAL), asked)
        finally:
            await database.close()

    with tempfile.TemporaryDirectory() as folder, lent_catalog() as place:
        in_a_file = asyncio.run(on(Path(folder) / "catalog.db"))
        on_a_server = asyncio.run(on(replace(place, turns_of="tests")))

    for number, (one, other) in enumerate(zip(in_a_file, on_a_server, strict=True)):
        assert one == other, number
