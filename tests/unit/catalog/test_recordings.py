"""Recordings as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects import sqlite

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.pages import Page
from wavstream.catalog.recordings import Recordings, insert_recording
from wavstream.catalog.searching import SLICE, beyond, conditions, newest_first
from wavstream.catalog.tables import recordings as rows
from wavstream.errors import InvalidFields
from wavstream.model.audio import Channel, Track
from wavstream.model.call import CallFacts
from wavstream.model.filters import RecordingFilters
from wavstream.model.options import ChannelLayout, FileFormat, PauseBehavior, RecordingOptions, TrackChoice, Trim
from wavstream.model.recording import (
    EndReason,
    Gap,
    Integrity,
    LegReceipt,
    Pause,
    Receipt,
    Recording,
    Status,
    Trimmed,
)

DATABASES = BOTH

START = datetime(2026, 8, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def recordings(catalog: Catalog) -> Recordings:
    return catalog.recordings


def recording(recording_id: str = "r1", status: Status = Status.ONGOING, *, minute: int = 0) -> Recording:
    return Recording(
        id=recording_id,
        app_id="default",
        session_id="call-77",
        status=status,
        options=RecordingOptions(),
        object_key=f"default/{recording_id}.wav",
        file_name="call-77.wav",
        created_at=START + timedelta(minutes=minute),
    )


def full_recording() -> Recording:
    receipt = Receipt(
        sample_rate=8000,
        channels=2,
        samples=489_920,
        audio_sha256="9f" * 32,
        size_bytes=1_959_724,
        legs=(LegReceipt("a", Track.INBOUND, Channel.LEFT, "pcm", "l16", 8000, 0, 61_240),),
        integrity=Integrity(
            samples=979_840,
            clock_restarts=1,
            after_limit_ms=40,
            gaps=(Gap("b", Track.INBOUND, 20_300, 480, "stall"),),
            pauses=(Pause(10, 20),),
            drift_ppm={"a": 3, "b": -11},
            trimmed_ms=Trimmed(1, 2),
            paused_audio_in_journal=True,
        ),
    )
    return replace(
        recording(status=Status.AVAILABLE),
        session_id="büro/../77 ☎",
        options=RecordingOptions(
            format=FileFormat.MP3,
            channels=ChannelLayout.MONO,
            track=TrackChoice.INBOUND,
            sample_rate=16_000,
            max_length_s=60,
            initial_timeout_s=2.5,
            end_silence_timeout_s=5.0,
            sensitivity=60.0,
            trim=Trim.SILENCE,
            beep=True,
            terminators="#*",
            pause_behavior=PauseBehavior.SILENCE,
            file_name="offer",
            client_state="YQ==",
            metadata={"order": "77 ☎"},
            retention_hours=48,
        ),
        call=CallFacts(from_="+4930123", to="sip:b@example.com", direction="inbound", vendor_ids={"callSid": "CA1"}),
        end_reason=EndReason.STOPPED,
        started_at=START + timedelta(microseconds=1),
        ended_at=START + timedelta(seconds=61),
        expires_at=START + timedelta(hours=48),
        receipt=receipt,
        error="none",
        opened=True,
    )


async def execute(database: FaultyDatabase, statement: str, values: tuple[object, ...] = ()) -> Sequence[Row[Any]]:
    words = statement if database.turns_of is None else statement.replace("?", "%s")

    def run(connection: Connection) -> Sequence[Row[Any]]:
        result = connection.exec_driver_sql(words, values)
        return result.all() if result.returns_rows else ()

    return await database.write(run)


def ids(page: Page[Recording]) -> list[str]:
    return [each.id for each in page.data]


async def test_a_recording_with_every_field_set_reads_back_equal(recordings: Recordings) -> None:
    await recordings.add(full_recording())
    assert await recordings.get("r1") == full_recording()


async def test_a_recording_with_only_its_required_fields_reads_back_equal(recordings: Recordings) -> None:
    await recordings.save(recording())
    assert await recordings.get("r1") == recording()


async def test_a_row_that_is_older_than_some_options_and_counts_has_their_defaults(
    recordings: Recordings, database: FaultyDatabase
) -> None:
    await recordings.add(full_recording())
    await execute(
        database,
        "UPDATE recordings SET options_json = ?, receipt_json = ?",
        (
            '{"format":"wav","channels":"mono","track":"both","sample_rate":null,"pause_behavior":"silence",'
            '"file_name":null,"client_state":null,"metadata":{},"retention_hours":null}',
            '{"sample_rate":8000,"channels":1,"samples":8000,"audio_sha256":"9f","size_bytes":16080,"legs":[],'
            '"integrity":{"samples":8000,"lost_ms":0,"late_frames":0,"late_ms":0,"duplicate_frames":0,'
            '"reordered_frames":0,"redundant_frames":0,"redundant_ms":0,"paused_ms":20,"after_stop_ms":0,'
            '"clipped_samples":0,"gaps":[],"gaps_omitted":0,"pauses":[],"drift_ppm":{},'
            '"trimmed_ms":{"start":0,"end":0},"paused_audio_in_journal":false}}',
        ),
    )

    found = await recordings.get("r1")

    assert found is not None
    assert found.options == RecordingOptions(channels=ChannelLayout.MONO, pause_behavior=PauseBehavior.SILENCE)
    assert found.receipt == Receipt(8000, 1, 8000, "9f", 16_080, integrity=Integrity(samples=8000, paused_ms=20))


async def test_a_recording_of_another_app_is_not_found(recordings: Recordings) -> None:
    await recordings.add(recording())
    assert await recordings.get("r1", "default") is not None
    assert await recordings.get("r1", "other") is None


async def test_adding_a_recording_that_is_there_leaves_the_row_as_it_is(recordings: Recordings) -> None:
    assert await recordings.add(recording(status=Status.PAUSED))
    assert not await recordings.add(recording(status=Status.ONGOING))
    assert await recordings.get("r1") == recording(status=Status.PAUSED)


async def test_saving_writes_over_every_field(recordings: Recordings) -> None:
    await recordings.add(recording())
    assert await recordings.save(full_recording())
    assert await recordings.get("r1") == full_recording()


FORWARD = {
    Status.ACCEPTED: {Status.ACCEPTED},
    Status.ONGOING: {Status.ACCEPTED, Status.ONGOING, Status.PAUSED},
    Status.PAUSED: {Status.ACCEPTED, Status.ONGOING, Status.PAUSED},
    Status.COMPLETED: {Status.ACCEPTED, Status.ONGOING, Status.PAUSED, Status.COMPLETED},
    Status.AVAILABLE: {Status.ACCEPTED, Status.ONGOING, Status.PAUSED, Status.COMPLETED, Status.AVAILABLE},
    Status.ABSENT: {Status.ACCEPTED, Status.ONGOING, Status.PAUSED, Status.COMPLETED, Status.ABSENT},
    Status.FAILED: set(Status) - {Status.ABSENT, Status.EXPIRED, Status.DELETED},
    Status.EXPIRED: {Status.AVAILABLE, Status.EXPIRED},
    Status.DELETED: {Status.AVAILABLE, Status.ABSENT, Status.FAILED, Status.EXPIRED, Status.DELETED},
}


@pytest.mark.parametrize("new", list(Status))
async def test_a_recording_only_moves_forward_in_its_life(recordings: Recordings, new: Status) -> None:
    for old in Status:
        before = recording(f"from-{old}", status=old)
        await recordings.add(before)
        written = await recordings.save(replace(before, status=new, error="new"))
        assert (old, written) == (old, old in FORWARD[new])
        found = await recordings.get(before.id)
        assert found is not None
        assert (found.status, found.error) == ((new, "new") if written else (old, None))


async def test_a_list_is_newest_first_and_ends_without_a_cursor(recordings: Recordings) -> None:
    for minute in (1, 3, 2):
        await recordings.add(recording(f"r{minute}", minute=minute))
    page = await recordings.list("default", limit=3)
    assert ids(page) == ["r3", "r2", "r1"]
    assert page.next_cursor is None


async def test_pages_hold_every_recording_once_while_others_are_added(recordings: Recordings) -> None:
    # Three of each minute: the cursor must tell rows of one instant apart too.
    for number in range(30):
        await recordings.add(recording(f"r{number:02}", minute=number // 3))
    seen: list[str] = []
    cursor: str | None = None
    for turn in range(100):
        page = await recordings.list("default", limit=4, cursor=cursor)
        seen += ids(page)
        await recordings.add(recording(f"new{turn}", minute=1000 + turn))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"r{number:02}" for number in reversed(range(30))]


async def test_a_search_that_takes_long_says_how_far_it_has_looked_and_goes_on_from_there(
    database: FaultyDatabase, recordings: Recordings
) -> None:
    many = 2 * SLICE + 10
    rows = [replace(recording(f"r{number:05}", minute=number), session_id=f"call-{number}") for number in range(many)]
    await database.write(lambda connection: [insert_recording(connection, recordings.row_of(row)) for row in rows])

    async def search(look_s: float) -> list[list[str]]:
        found: list[list[str]] = []
        cursor: str | None = None
        for _ in range(10):
            wanted = RecordingFilters(text="call-7")
            page = await recordings.list("default", wanted, limit=1_000, cursor=cursor, look_s=look_s)
            found.append(ids(page))
            cursor = page.next_cursor
            if cursor is None:
                return found
        raise AssertionError("it never came to an end")

    at_once = await search(60.0)
    in_parts = await search(0.0)
    (whole,) = at_once
    assert whole == [row.id for row in reversed(rows) if "call-7" in row.session_id]
    assert [len(each) for each in in_parts] == [0, 110, 1]  # of each slice
    assert [each for page in in_parts for each in page] == whole


async def test_a_list_shows_only_the_app_that_asks(recordings: Recordings) -> None:
    await recordings.add(recording("mine"))
    await recordings.add(replace(recording("theirs"), app_id="other"))
    assert ids(await recordings.list("other", limit=10)) == ["theirs"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (RecordingFilters(), ["c", "b", "a"]),
        (RecordingFilters(session_id="s-b"), ["b"]),
        (RecordingFilters(statuses=frozenset({Status.PAUSED})), ["c"]),
        (RecordingFilters(statuses=frozenset({Status.DELETED})), ["gone"]),
        (RecordingFilters(from_="+1"), ["b", "a"]),
        (RecordingFilters(to="+9"), ["c"]),
        (RecordingFilters(from_="+1", to="+2", statuses=frozenset({Status.ONGOING})), ["b", "a"]),
        (RecordingFilters(created_from=START + timedelta(minutes=1)), ["c", "b"]),
        (RecordingFilters(created_until=START + timedelta(minutes=1)), ["a"]),
        (RecordingFilters(created_from=START, created_until=START), []),
        (RecordingFilters(ids=("a", "c", "x")), ["c", "a"]),
        (RecordingFilters(direction="outbound"), ["b"]),
        (RecordingFilters(vendor_ids={"call_leg_id": "leg-1"}), ["a"]),
        (RecordingFilters(vendor_ids={"call_leg_id": None}), ["c", "b"]),
        (RecordingFilters(vendor_ids={"call_leg_id": "leg-1", "x'\"$.": ""}), []),
        (RecordingFilters(started_from=START + timedelta(minutes=2)), ["c"]),
        (RecordingFilters(started_until=START + timedelta(minutes=2)), ["a"]),
        (RecordingFilters(ended_from=START, ended_until=START + timedelta(minutes=5)), ["c"]),
    ],
)
async def test_a_filter_selects_what_it_names(
    recordings: Recordings, filters: RecordingFilters, expected: list[str]
) -> None:
    one_to_two = CallFacts(from_="+1", to="+2", vendor_ids={"call_leg_id": "leg-1"})
    outbound, three_to_nine = replace(one_to_two, direction="outbound", vendor_ids={}), CallFacts(from_="+3", to="+9")
    for each in (
        replace(recording("a", minute=0), session_id="s-a", call=one_to_two, started_at=START),
        replace(recording("b", minute=1), session_id="s-b", call=outbound),
        replace(
            recording("c", Status.PAUSED, minute=2),
            session_id="s-c",
            call=three_to_nine,
            started_at=START + timedelta(minutes=2),
            ended_at=START + timedelta(minutes=4),
        ),
        recording("gone", Status.DELETED, minute=3),
    ):
        await recordings.add(each)
    assert ids(await recordings.list("default", filters, limit=10)) == expected


@pytest.mark.parametrize(
    "cursor", ["", "x", "=", "☎", "\ud800", "bm8", "MTpy\n", "OTk5OTk5OTk5OTk5OTk5OTk5OTk6cjE", "MTIz", "MTI6" * 200]
)
async def test_a_cursor_that_is_not_ours_is_an_invalid_field(recordings: Recordings, cursor: str) -> None:
    with pytest.raises(InvalidFields) as raised:
        await recordings.list("default", limit=10, cursor=cursor)
    assert [field.pointer for field in raised.value.fields] == ["cursor"]


async def test_unfinished_are_those_without_a_file_oldest_first(recordings: Recordings) -> None:
    for minute, status in enumerate(reversed(Status)):
        await recordings.add(recording(status.value, status, minute=minute))
    assert [each.id for each in await recordings.unfinished()] == ["completed", "paused", "ongoing", "accepted"]


async def test_due_are_available_recordings_from_the_second_of_their_expiry(recordings: Recordings) -> None:
    for number, status in enumerate((Status.AVAILABLE, Status.AVAILABLE, Status.AVAILABLE, Status.EXPIRED)):
        expires = START + timedelta(seconds=number)
        await recordings.add(replace(recording(f"r{number}", status), expires_at=expires))
    await recordings.add(recording("never", Status.AVAILABLE))
    just_before = START + timedelta(seconds=1) - timedelta(microseconds=1)
    assert [each.id for each in await recordings.due(just_before, 10)] == ["r0"]
    assert [each.id for each in await recordings.due(START + timedelta(seconds=9), 10)] == [
        "r0",
        "r1",
        "r2",
    ]


async def test_due_is_read_on_after_the_last_one(recordings: Recordings) -> None:
    for name in "abcde":
        await recordings.add(replace(recording(name, Status.AVAILABLE), expires_at=START))
    first = await recordings.due(START, 2)
    rest = await recordings.due(START, 9, first[-1])
    assert [each.id for each in [*first, *rest]] == list("abcde")


async def test_stored_are_available_recordings_in_order_of_id(recordings: Recordings) -> None:
    for name, status in zip("cabd", (Status.AVAILABLE, Status.AVAILABLE, Status.FAILED, Status.AVAILABLE), strict=True):
        await recordings.add(recording(name, status))
    first = await recordings.stored("", 2)
    rest = await recordings.stored(first[-1].id, 2)
    assert [each.id for each in [*first, *rest]] == ["a", "c", "d"]


async def test_the_lists_that_run_often_use_an_index(database: FaultyDatabase) -> None:
    def explain(connection: Connection, statement: str) -> str:
        if database.turns_of is None:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
        else:  # an empty table is read as it lies, if it may be
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}")
        return " ".join(str(row[-1]) for row in plan).upper()

    a_page = "WHERE app_id = 'a' {} AND (created_us, id) < (5, 'x') ORDER BY created_us DESC, id DESC LIMIT 10"
    wanted = [
        *(a_page.format(also) for also in ("", "AND call_from = 'f'", "AND call_to = 't'")),
        "WHERE status = 'available' AND expires_us <= 5 ORDER BY expires_us, id LIMIT 1",
        "WHERE id > 'a' AND status = 'available' ORDER BY id LIMIT 1",
    ]
    for condition in wanted:
        statement = f"SELECT * FROM recordings {condition}"
        plan = await database.write(lambda connection, asked=statement: explain(connection, asked))  # type: ignore[misc]
        assert "INDEX" in plan, condition
        assert "TEMP B-TREE" not in plan, condition
        assert "SORT" not in plan, condition
    if database.turns_of is not None:
        return
    for more in ({}, {"text": "x"}, {"statuses": frozenset(Status)}, {"created_from": START}):
        filters = RecordingFilters(session_id="s", **more)
        select_page = newest_first(select(rows).where(*conditions("a", filters), beyond((5, "x"))), filters)
        asked = str(select_page.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
        plan = await database.write(lambda connection, asked=asked: explain(connection, asked))  # type: ignore[misc]
        assert "INDEX IX_RECORDINGS_APP_ID_SESSION_ID" in plan, more
