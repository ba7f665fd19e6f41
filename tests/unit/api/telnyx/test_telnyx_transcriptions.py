"""Telnyx's transcriptions: lists with every filter, what one looks like as it comes, fails and goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from telnyx.types import RecordingTranscription

from tests.support import transcripts
from tests.unit.api.telnyx.conftest import CREATED, Caller, Telnyx
from wavstream.model.fact import transcribed_fact
from wavstream.model.ids import as_uuid, new_id
from wavstream.model.recording import Recording, Status

LIST = "/v2/recording_transcriptions"
HOLD = {"by": "court", "reason": "case 7"}


async def listed(caller: Caller, **query: str | int) -> list[str]:
    answer = await caller.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


async def said(telnyx: Telnyx, minute: int = 0, **changes: Any) -> tuple[Recording, str]:
    """Return a recording with a transcript that was asked for so many minutes later, and its id."""
    made = await telnyx.put(**changes)
    at = CREATED + timedelta(minutes=minute)
    work = await transcripts.say(telnyx.service.catalog, made, "good morning", at)
    return made, as_uuid(work.id)


async def test_a_transcription_looks_as_the_vendors_does_and_its_client_reads_it(telnyx: Telnyx, shop: Caller) -> None:
    made, transcription_id = await said(telnyx)

    data = (await shop.get(f"{LIST}/{transcription_id}")).json()["data"]

    assert data == {
        "record_type": "recording_transcription",
        "id": transcription_id,
        "recording_id": as_uuid(made.id),
        "status": "completed",
        "transcription_text": "good morning",
        "duration_millis": 61_240,
        "error": None,
        "created_at": "2026-11-01T10:00:00.000000Z",
        "updated_at": "2026-11-01T10:00:00.000000Z",
    }
    RecordingTranscription.model_validate(data, strict=True)
    assert (await shop.get(LIST)).json()["data"] == [data]


async def test_one_that_is_made_is_in_progress_and_one_that_failed_says_why(telnyx: Telnyx, shop: Caller) -> None:
    catalog = telnyx.service.catalog
    running = await transcripts.ask(catalog, await telnyx.put(), CREATED)
    failed = await transcripts.fail(catalog, await telnyx.put(), "the key is wrong", CREATED + timedelta(minutes=1))

    answers = {each["id"]: each for each in (await shop.get(LIST)).json()["data"]}

    assert [answers[as_uuid(each.id)]["status"] for each in (running, failed)] == ["in-progress", "failed"]
    assert {each["transcription_text"] for each in answers.values()} == {None}
    assert [answers[as_uuid(each.id)]["error"] for each in (running, failed)] == [None, "the key is wrong"]


async def test_they_are_listed_by_pages_recordings_and_times_the_last_first(telnyx: Telnyx, shop: Caller) -> None:
    made = [await said(telnyx, minute) for minute in range(3)]
    ids = [each for _, each in reversed(made)]

    assert await listed(shop) == ids
    page = (await shop.get(LIST, params={"page[size]": 2, "page[number]": 2})).json()
    assert [each["id"] for each in page["data"]] == ids[2:]
    assert page["meta"] == {"page_number": 2, "page_size": 2, "total_pages": 2, "total_results": 3}
    assert await listed(shop, **{"filter[recording_id]": as_uuid(made[1][0].id)}) == [made[1][1]]
    assert await listed(shop, **{"filter[recording_id]": "x"}) == []
    assert await listed(shop, **{"filter[created_at][gte]": "2026-11-01T10:01:00Z"}) == ids[:2]
    assert await listed(shop, **{"filter[created_at][lte]": "2026-11-01T10:01:00Z"}) == ids[1:]


async def test_what_is_anothers_or_gone_with_its_recording_is_not_there(
    telnyx: Telnyx, shop: Caller, bank: Caller
) -> None:
    made, mine = await said(telnyx)
    _, over = await said(telnyx, expires_at=CREATED)

    assert await listed(shop) == [mine]
    assert await listed(bank) == []
    for caller, transcription_id, status, code in (
        (bank, mine, 404, "10005"),
        (shop, over, 404, "10005"),
        (shop, as_uuid(new_id()), 404, "10005"),
        (shop, "nonsense", 404, "10006"),
    ):
        for request in (caller.get, caller.delete):
            refused = await request(f"{LIST}/{transcription_id}")
            assert (refused.status_code, refused.json()["errors"][0]["code"]) == (status, code)
    assert (await shop.delete(f"/v2/recordings/{as_uuid(made.id)}")).status_code == 200
    assert await listed(shop) == []


async def test_one_that_is_erased_leaves_its_recording_and_nothing_that_was_said(telnyx: Telnyx, shop: Caller) -> None:
    catalog = telnyx.service.catalog
    made, transcription_id = await said(telnyx)
    telnyx.path(made).parent.mkdir(parents=True)
    telnyx.path(made).touch()
    copy = telnyx.path(made).with_name(f"{telnyx.path(made).name}.words")
    copy.touch()
    fact = transcribed_fact(made, {"id": "1", "text": "good morning"}, url="http://rec", at=CREATED)
    await catalog.outbox.announce([fact])

    deleted = await shop.delete(f"{LIST}/{transcription_id}")

    assert (deleted.status_code, deleted.json()["data"]["id"]) == (200, transcription_id)
    assert (await shop.get(f"{LIST}/{transcription_id}")).status_code == 404
    assert not copy.exists()
    assert telnyx.path(made).exists()
    assert (await catalog.transcriptions.search("shop", "morning", CREATED, limit=9)).data == ()
    row = await catalog.recordings.get(made.id)
    assert row is not None
    assert row.status is Status.AVAILABLE


async def test_what_is_held_is_not_erased_and_one_in_progress_is_not_written_then(telnyx: Telnyx, shop: Caller) -> None:
    catalog = telnyx.service.catalog
    made, held = await said(telnyx)
    assert (await shop.post(f"/v1/recordings/{made.id}/hold", json=HOLD)).is_success
    running = await transcripts.ask(catalog, await telnyx.put(), CREATED)

    refused = await shop.delete(f"{LIST}/{held}")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "10015")
    assert (await shop.get(f"{LIST}/{held}")).json()["data"]["transcription_text"] == "good morning"
    assert (await shop.delete(f"{LIST}/{as_uuid(running.id)}")).json()["data"]["status"] == "in-progress"
    assert not await catalog.transcriptions.finish(
        running, b"{}", said="hello", language="en", engine="http", now=CREATED, facts=()
    )
