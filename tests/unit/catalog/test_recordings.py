"""Recordings as rows, on an in-memory database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, create_engine

from wavstream.catalog import recordings
from wavstream.catalog.recordings import Filters
from wavstream.catalog.tables import metadata
from wavstream.errors import InvalidFields
from wavstream.model.audio import Channel, Track
from wavstream.model.call import CallFacts
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

START = datetime(2026, 8, 21, 12, 0, 0, 123456, tzinfo=UTC)
NO_FILTERS = Filters()


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as open_connection:
        yield open_connection
    engine.dispose()


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


def ids(page: recordings.Page) -> list[str]:
    return [each.id for each in page.data]


def test_a_recording_with_every_field_set_reads_back_equal(connection: Connection) -> None:
    recordings.add(connection, full_recording())
    assert recordings.get(connection, "r1", None) == full_recording()


def test_a_recording_with_only_its_required_fields_reads_back_equal(connection: Connection) -> None:
    recordings.save(connection, recording())
    assert recordings.get(connection, "r1", None) == recording()


def test_a_row_that_is_older_than_some_options_and_counts_has_their_defaults(connection: Connection) -> None:
    recordings.add(connection, full_recording())
    connection.exec_driver_sql(
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

    found = recordings.get(connection, "r1", None)

    assert found is not None
    assert found.options == RecordingOptions(channels=ChannelLayout.MONO, pause_behavior=PauseBehavior.SILENCE)
    assert found.receipt == Receipt(8000, 1, 8000, "9f", 16_080, integrity=Integrity(samples=8000, paused_ms=20))


def test_a_recording_of_another_app_is_not_found(connection: Connection) -> None:
    recordings.add(connection, recording())
    assert recordings.get(connection, "r1", "default") is not None
    assert recordings.get(connection, "r1", "other") is None


def test_adding_a_recording_that_is_there_leaves_the_row_as_it_is(connection: Connection) -> None:
    assert recordings.add(connection, recording(status=Status.PAUSED))
    assert not recordings.add(connection, recording(status=Status.ONGOING))
    assert recordings.get(connection, "r1", None) == recording(status=Status.PAUSED)


def test_saving_writes_over_every_field(connection: Connection) -> None:
    recordings.add(connection, recording())
    assert recordings.save(connection, full_recording())
    assert recordings.get(connection, "r1", None) == full_recording()


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
@pytest.mark.parametrize("old", list(Status))
def test_a_recording_only_moves_forward_in_its_life(connection: Connection, old: Status, new: Status) -> None:
    recordings.add(connection, recording(status=old))
    written = recordings.save(connection, replace(recording(status=new), error="new"))
    assert written == (old in FORWARD[new])
    found = recordings.get(connection, "r1", None)
    assert found is not None
    assert (found.status, found.error) == ((new, "new") if written else (old, None))


def test_a_list_is_newest_first_and_ends_without_a_cursor(connection: Connection) -> None:
    for minute in (1, 3, 2):
        recordings.add(connection, recording(f"r{minute}", minute=minute))
    page = recordings.page(connection, "default", NO_FILTERS, 3, None)
    assert ids(page) == ["r3", "r2", "r1"]
    assert page.next_cursor is None


def test_pages_hold_every_recording_once_while_others_are_added(connection: Connection) -> None:
    # Three of each minute: the cursor must tell rows of one instant apart too.
    for number in range(30):
        recordings.add(connection, recording(f"r{number:02}", minute=number // 3))
    seen: list[str] = []
    cursor: str | None = None
    for turn in range(100):
        page = recordings.page(connection, "default", NO_FILTERS, 4, cursor)
        seen += ids(page)
        recordings.add(connection, recording(f"new{turn}", minute=1000 + turn))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"r{number:02}" for number in reversed(range(30))]


def test_a_list_shows_only_the_app_that_asks(connection: Connection) -> None:
    recordings.add(connection, recording("mine"))
    recordings.add(connection, replace(recording("theirs"), app_id="other"))
    assert ids(recordings.page(connection, "other", NO_FILTERS, 10, None)) == ["theirs"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), ["c", "b", "a"]),
        (Filters(session_id="s-b"), ["b"]),
        (Filters(status=Status.PAUSED), ["c"]),
        (Filters(status=Status.DELETED), ["gone"]),
        (Filters(from_="+1"), ["b", "a"]),
        (Filters(to="+9"), ["c"]),
        (Filters(from_="+1", to="+2", status=Status.ONGOING), ["b", "a"]),
        (Filters(since=START + timedelta(minutes=1)), ["c", "b"]),
        (Filters(until=START + timedelta(minutes=1)), ["a"]),
        (Filters(since=START, until=START), []),
    ],
)
def test_a_filter_selects_what_it_names(connection: Connection, filters: Filters, expected: list[str]) -> None:
    one_to_two, three_to_nine = CallFacts(from_="+1", to="+2"), CallFacts(from_="+3", to="+9")
    for each in (
        replace(recording("a", minute=0), session_id="s-a", call=one_to_two),
        replace(recording("b", minute=1), session_id="s-b", call=one_to_two),
        replace(recording("c", Status.PAUSED, minute=2), session_id="s-c", call=three_to_nine),
        recording("gone", Status.DELETED, minute=3),
    ):
        recordings.add(connection, each)
    assert ids(recordings.page(connection, "default", filters, 10, None)) == expected


@pytest.mark.parametrize(
    "cursor", ["", "x", "=", "☎", "\ud800", "bm8", "MTpy\n", "OTk5OTk5OTk5OTk5OTk5OTk5OTk6cjE", "MTIz", "MTI6" * 200]
)
def test_a_cursor_that_is_not_ours_is_an_invalid_field(connection: Connection, cursor: str) -> None:
    with pytest.raises(InvalidFields) as raised:
        recordings.page(connection, "default", NO_FILTERS, 10, cursor)
    assert [field.pointer for field in raised.value.fields] == ["cursor"]


def test_unfinished_are_those_without_a_file_oldest_first(connection: Connection) -> None:
    for minute, status in enumerate(reversed(Status)):
        recordings.add(connection, recording(status.value, status, minute=minute))
    assert [each.id for each in recordings.unfinished(connection)] == ["completed", "paused", "ongoing", "accepted"]


def test_due_are_available_recordings_from_the_second_of_their_expiry(connection: Connection) -> None:
    for number, status in enumerate((Status.AVAILABLE, Status.AVAILABLE, Status.AVAILABLE, Status.EXPIRED)):
        expires = START + timedelta(seconds=number)
        recordings.add(connection, replace(recording(f"r{number}", status), expires_at=expires))
    recordings.add(connection, recording("never", Status.AVAILABLE))
    just_before = START + timedelta(seconds=1) - timedelta(microseconds=1)
    assert [each.id for each in recordings.due(connection, just_before, 10, None)] == ["r0"]
    assert [each.id for each in recordings.due(connection, START + timedelta(seconds=9), 10, None)] == [
        "r0",
        "r1",
        "r2",
    ]


def test_due_is_read_on_after_the_last_one(connection: Connection) -> None:
    for name in "abcde":
        recordings.add(connection, replace(recording(name, Status.AVAILABLE), expires_at=START))
    first = recordings.due(connection, START, 2, None)
    rest = recordings.due(connection, START, 9, first[-1])
    assert [each.id for each in [*first, *rest]] == list("abcde")


def test_stored_are_available_recordings_in_order_of_id(connection: Connection) -> None:
    for name, status in zip("cabd", (Status.AVAILABLE, Status.AVAILABLE, Status.FAILED, Status.AVAILABLE), strict=True):
        recordings.add(connection, recording(name, status))
    first = recordings.stored(connection, "", 2)
    rest = recordings.stored(connection, first[-1].id, 2)
    assert [each.id for each in [*first, *rest]] == ["a", "c", "d"]


def test_the_lists_that_run_often_use_an_index(connection: Connection) -> None:
    def explain(statement: str) -> str:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
        return " ".join(str(row[-1]) for row in plan)

    a_page = "WHERE app_id = 'a' {} AND (created_us, id) < (5, 'x') ORDER BY created_us DESC, id DESC LIMIT 10"
    wanted = [
        *(a_page.format(also) for also in ("", "AND session_id = 's'", "AND call_from = 'f'", "AND call_to = 't'")),
        "WHERE status = 'available' AND expires_us <= 5 ORDER BY expires_us, id LIMIT 1",
        "WHERE id > 'a' AND status = 'available' ORDER BY id LIMIT 1",
    ]
    for condition in wanted:
        plan = explain(f"SELECT * FROM recordings {condition}")
        assert "INDEX" in plan, condition
        assert "TEMP B-TREE" not in plan, condition
