"""What is to be transcribed and what was said, as rows: queued, done, told, found and erased in one transaction."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.recordings import START, a_recording
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.transcriptions import Transcription, TranscriptionStatus
from wavstream.errors import InvalidFields
from wavstream.model.app import App
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import LegalHold, Recording, Status

DATABASES = BOTH
ASKS = RecordingOptions(transcription=True, transcription_language="en-US")
LATER = START + timedelta(days=1)
UPLOADS = text(
    "INSERT INTO uploads (recording_id, app_id, object_key, since_us, due_us) VALUES (:recording, 'default', 'k', 0, 0)"
)


@pytest.fixture
async def transcribing(database: FaultyDatabase) -> Catalog:
    return await Catalog.over(database, is_wanted=USUAL, transcribes=True)


def finished(name: str = "r1", options: RecordingOptions = ASKS, *, app_id: str = "default") -> Recording:
    recording = a_recording(name, options, status=Status.AVAILABLE, app_id=app_id)
    return replace(recording, ended_at=START, kept_since=START)


async def waiting(catalog: Catalog, limit: int = 9) -> list[str]:
    return [each.recording_id for each in await catalog.transcriptions.due(LATER, limit)]


async def say(catalog: Catalog, name: str, said: str, *, minute: int = 0, app_id: str = "default") -> Transcription:
    """Have a recording, and a transcript of it."""
    recording = finished(name, RecordingOptions(), app_id=app_id)
    await catalog.recordings.save(recording)
    work = await catalog.transcriptions.ask(recording, None, START)
    assert await catalog.transcriptions.begin(work)
    now = START + timedelta(minutes=minute)
    assert await catalog.transcriptions.finish(
        work, b'{"said": 1}', said=said, language="en", engine="test", now=now, facts=()
    )
    return work


async def found(catalog: Catalog, words: str, *, app_id: str = "default", limit: int = 9) -> list[str]:
    page = await catalog.transcriptions.search(app_id, words, LATER, limit=limit)
    return [each.recording_id for each in page.data]


async def test_a_recording_that_asks_for_it_is_queued_with_the_row_that_says_available(transcribing: Catalog) -> None:
    await transcribing.recordings.save(replace(finished(), status=Status.ONGOING))
    assert await waiting(transcribing) == []

    await transcribing.recordings.save(finished())
    await transcribing.recordings.save(finished("r2", RecordingOptions()))

    (work,) = await transcribing.transcriptions.due(START, 9)
    assert (work.recording_id, work.status, work.language) == ("r1", TranscriptionStatus.WAITING, "en-US")


async def test_where_no_transcripts_are_made_nothing_is_queued(catalog: Catalog) -> None:
    await catalog.recordings.save(finished())
    assert await waiting(catalog) == []


async def test_one_that_is_under_way_is_not_asked_for_again_and_one_that_is_over_is_made_anew(catalog: Catalog) -> None:
    recording, rows = finished(), catalog.transcriptions
    await catalog.recordings.save(recording)
    work = await rows.ask(recording, "en", START)
    assert await rows.begin(work)
    assert await rows.ask(recording, "de", LATER) == replace(work, status=TranscriptionStatus.RUNNING)
    await rows.fail(work, "no\0 key", engine="test", now=LATER, again=None)
    failed = await rows.get("r1")
    assert failed is not None
    assert (failed.status, failed.error, failed.attempts) == (TranscriptionStatus.FAILED, "no key", 1)

    again = await rows.ask(recording, "de", LATER)

    assert (again.status, again.language, again.attempts, again.error) == (TranscriptionStatus.WAITING, "de", 0, None)
    assert not await rows.begin(work)  # whoever had the older one in its hands
    assert await rows.begin(again)


async def test_what_was_under_way_when_the_server_ended_is_begun_again(transcribing: Catalog) -> None:
    await transcribing.recordings.save(finished())
    (work,) = await transcribing.transcriptions.due(LATER, 9)
    assert await transcribing.transcriptions.begin(work)
    assert await waiting(transcribing) == []

    assert await transcribing.transcriptions.begin_again(LATER) == 1

    assert await waiting(transcribing) == ["r1"]


async def test_of_each_app_the_longest_waiting_are_due_however_many_another_has(catalog: Catalog) -> None:
    for number in range(5):
        recording = finished(f"bank-{number}", app_id="bank")
        await catalog.recordings.save(recording)
        await catalog.transcriptions.ask(recording, None, START + timedelta(seconds=number))
    recording = finished("shop-1", app_id="shop")
    await catalog.recordings.save(recording)
    await catalog.transcriptions.ask(recording, None, START + timedelta(seconds=60))

    assert await waiting(catalog, 2) == ["bank-0", "bank-1", "shop-1"]
    assert await catalog.transcriptions.backlog() == (6, START)


async def test_words_are_found_in_any_case_wherever_they_stand_the_newest_first(catalog: Catalog) -> None:
    await say(catalog, "r1", "Good MORNING, front desk.\nIt's Friday", minute=1)
    await say(catalog, "r2", "good evening", minute=2)
    await say(catalog, "r3", "good morning", minute=3, app_id="bank")
    await say(catalog, "r4", "Grüße zum Freitag", minute=4)

    assert await found(catalog, "good") == ["r2", "r1"]
    assert await found(catalog, "friday GOOD") == ["r1"]
    assert await found(catalog, "it's") == ["r1"]
    assert await found(catalog, "grüsse") == ["r4"]  # as `casefold` has it
    assert await found(catalog, "morn") == []
    assert await found(catalog, "good", app_id="bank") == ["r3"]


async def test_what_is_over_and_was_not_swept_yet_is_not_found_unless_it_is_held(catalog: Catalog) -> None:
    for name in ("r1", "r2"):
        await say(catalog, name, "good morning")
        await catalog.recordings.save(replace(finished(name, RecordingOptions()), expires_at=LATER))
    assert await catalog.holds.put("r2", "default", LegalHold("legal", "case 4711", START))
    page = await catalog.transcriptions.search("default", "good", LATER + timedelta(seconds=1), limit=9)
    assert [each.recording_id for each in page.data] == ["r2"]


async def test_a_hold_keeps_a_transcript_as_it_is_and_lets_one_be_made_where_none_is(catalog: Catalog) -> None:
    rows = catalog.transcriptions
    await say(catalog, "r1", "good morning")
    await catalog.recordings.save(finished("r2", RecordingOptions()))
    for name in ("r1", "r2"):
        assert await catalog.holds.put(name, "default", LegalHold("legal", "case 4711", START))

    assert (await rows.ask(finished("r1"), None, LATER)).status is TranscriptionStatus.DONE
    assert await found(catalog, "morning") == ["r1"]
    work = await rows.ask(finished("r2"), None, LATER)
    assert work.status is TranscriptionStatus.WAITING
    assert await rows.begin(work)
    await rows.fail(work, "no key", engine="test", now=LATER, again=None)
    assert (await rows.ask(finished("r2"), None, LATER)).status is TranscriptionStatus.WAITING  # nothing is lost by it

    assert await catalog.holds.release("r1", "default")
    assert (await rows.ask(finished("r1"), None, LATER)).status is TranscriptionStatus.WAITING


async def test_what_waits_for_its_upload_is_not_due_where_files_are_read_in_the_store(catalog: Catalog) -> None:
    for name in ("r1", "r2"):
        await catalog.recordings.save(finished(name, RecordingOptions()))
        await catalog.transcriptions.ask(finished(name), None, START)
    await catalog.database.write(lambda connection: connection.execute(UPLOADS, {"recording": "r1"}))

    assert [each.recording_id for each in await catalog.transcriptions.due(LATER, 9, in_store=True)] == ["r2"]
    assert await waiting(catalog) == ["r1", "r2"]


async def test_a_search_is_read_page_by_page(catalog: Catalog) -> None:
    for number in range(5):
        await say(catalog, f"r{number}", "yes", minute=number // 2)
    pages, cursor = [], None
    while True:
        page = await catalog.transcriptions.search("default", "yes", LATER, limit=2, cursor=cursor)
        pages.append([each.recording_id for each in page.data])
        if (cursor := page.next_cursor) is None:
            break
    assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]]
    with pytest.raises(InvalidFields):
        await catalog.transcriptions.search("default", "yes", LATER, limit=2, cursor="nonsense")


async def test_a_transcript_that_is_made_anew_is_found_by_its_new_words_alone(catalog: Catalog) -> None:
    await say(catalog, "r1", "good morning")
    await say(catalog, "r1", "god mourning", minute=5)
    assert await found(catalog, "morning") == []
    assert await found(catalog, "mourning") == ["r1"]


async def test_what_is_erased_goes_with_its_words_and_nothing_is_written_of_it_any_more(catalog: Catalog) -> None:
    await say(catalog, "r1", "good morning")
    kept = await say(catalog, "r2", "good evening")
    again = await catalog.transcriptions.ask(finished("r2"), None, LATER)
    await catalog.transcriptions.begin(again)

    await catalog.erasures.begin([finished("r1"), finished("r2")], Status.DELETED, by="me", now=LATER)

    assert await found(catalog, "good") == []
    for name in ("r1", "r2"):
        assert await catalog.transcriptions.get(name) is None
        assert await catalog.transcriptions.document(name) is None
    for work in (kept, again):
        assert not await catalog.transcriptions.finish(
            work, b"{}", said="good", language="en", engine="test", now=LATER, facts=()
        )
    assert await found(catalog, "good") == []


async def test_what_was_transcribed_is_counted_for_each_app_and_day_and_outlives_the_recordings(
    catalog: Catalog,
) -> None:
    rows = catalog.transcriptions
    for number, (app_id, day) in enumerate((("bank", 0), ("bank", 0), ("shop", 0), ("bank", 1), ("bank", 9))):
        recording = finished(f"r{number}", RecordingOptions(), app_id=app_id)
        await catalog.recordings.save(recording)
        for again in range(2):  # it is made anew
            work = await rows.ask(recording, None, START)
            assert await rows.begin(work)
            now, speech_ms = START + timedelta(days=day), 1_000 + again
            said = {"said": "hi", "language": "en", "engine": "test", "now": now, "facts": (), "speech_ms": speech_ms}
            assert await rows.finish(work, b"{}", **said)  # type: ignore[arg-type]
            assert not await rows.finish(work, b"{}", **said)  # type: ignore[arg-type]
    await catalog.erasures.begin([finished("r0", app_id="bank")], Status.DELETED, by="me", now=LATER)

    days = await rows.by_day("bank", 9, START + timedelta(days=9))
    assert [(each.day, each.transcripts, each.speech_ms) for each in days] == [
        ((START + timedelta(days=1)).date(), 2, 2_001), ((START + timedelta(days=9)).date(), 2, 2_001),
    ]  # fmt: skip
    assert [each.transcripts for each in await rows.by_day("bank", 10, START + timedelta(days=9))] == [4, 2, 2]
    assert [each.speech_ms for each in await rows.by_day("shop", 1, START)] == [2_001]
    await catalog.apps.add(App("bank", START), key_hash="hash", key_lookup="lookup")
    assert await catalog.apps.remove("bank")
    assert await rows.by_day("bank", 10, START + timedelta(days=9)) == ()


async def test_no_word_of_what_was_erased_is_left_in_the_file(tmp_path: Path) -> None:
    catalog = await Catalog.open(tmp_path / "catalog.db", is_wanted=USUAL)
    for number in range(200):
        await say(catalog, f"r{number}", f"hello zanzibarquux{number} there")
    await catalog.erasures.begin([finished(f"r{number}") for number in range(200)], Status.DELETED, by="me", now=LATER)
    await catalog.database.scrub()
    await catalog.database.close()

    assert b"zanzibarquux" not in await asyncio.to_thread(content, tmp_path)


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("catalog.db*"))


@pytest.mark.parametrize(
    ("said", "parts", "none"),
    [
        (
            "我们明天下午三点在北京开会\uff0c请打电话。",
            ["北京", "明天下午", "会", "电话 明天"],
            ["上海", "京北", "会请"],
        ),
        ("会議は明日の午後、ﾗｰﾒﾝのあとです", ["午後", "ラーメン", "議", "会議は明日"], ["後午"]),
        ("สวัสดีครับ เราไปกินข้าวน้ำ", ["กินข้าว", "ดี", "ครับ"], ["ข้าวกิน"]),
        ("我用iPhone14打电话", ["iphone14", "打电话", "用iPhone14打"], ["iphone"]),
        ("안녕하세요 여러분", ["여러분"], ["여러"]),
        ("नमस्ते की बात", ["नमस्ते", "की"], ["का", "नमस्त"]),
        ("cafe\u0301 \uff22\uff41\uff52", ["caf\xe9", "bar"], ["cafe"]),
        ("好" * 500, ["好好", "好"], ["坏"]),
    ],
)
async def test_what_is_written_without_spaces_is_found_by_any_part_of_it_and_what_has_spaces_by_its_words(
    catalog: Catalog, said: str, parts: list[str], none: list[str]
) -> None:
    await say(catalog, "r1", said)
    assert [await found(catalog, each) for each in parts] == [["r1"]] * len(parts)
    assert [await found(catalog, each) for each in none] == [[]] * len(none)
    await catalog.erasures.begin([finished("r1")], Status.DELETED, by="me", now=LATER)
    assert await found(catalog, parts[0]) == []


async def test_as_much_as_may_be_asked_for_is_looked_for(catalog: Catalog) -> None:
    said = "".join(chr(0x4E00 + 7 * at) for at in range(256))
    await say(catalog, "r1", said)
    assert await found(catalog, said) == ["r1"]
