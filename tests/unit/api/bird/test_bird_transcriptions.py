"""The transcriptions of a workspace: asked for, listed, read, fetched as texts, failed, and gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.support import transcripts
from tests.unit.api.bird.conftest import CREATED, KEYS, OTHER_WORKSPACE, SAID, Bird, W, server
from wavstream.api.bird.options import locale_of
from wavstream.model.ids import as_uuid, new_id
from wavstream.model.origin import Origin
from wavstream.model.recording import Status
from wavstream.settings import TranscriptionSettings

LIST = f"{W}/transcriptions"
EVERY_TEXT = ("json", "srt", "vtt", "txt")


@pytest.fixture
async def making(tmp_path: Path) -> AsyncIterator[Bird]:
    """Yield a server that makes transcripts; it lacks the address of its engine."""
    async with server(tmp_path, transcription=TranscriptionSettings(engine="http")) as made:
        yield made


async def test_where_none_is_made_one_that_is_asked_for_is_refused(bird: Bird, shop: httpx.AsyncClient) -> None:
    told = as_uuid((await bird.put()).id)

    refused = await shop.post(
        f"{W}/recordings/{told}/transcriptions", json={"locale": "en-US", "recordingId": told, "messageId": "m-1"}
    )

    assert (refused.status_code, list(refused.json()["details"])) == (422, ["$"])
    assert "not available" in refused.json()["message"]
    assert (await shop.get(f"{LIST}?limit=99")).json() == {"results": []}


async def test_what_is_wrong_in_a_request_for_a_transcript_is_said_first(bird: Bird, shop: httpx.AsyncClient) -> None:
    path = f"{W}/recordings/{as_uuid((await bird.put()).id)}/transcriptions"
    for said, wrong in (
        ({}, {"$.locale"}),
        ({"locale": "en-WL"}, {"$.locale"}),
        ({"locale": 1, "language": "en"}, {"$.locale", "$.language"}),
        ({"locale": "cy-GB", "recordingId": as_uuid(new_id())}, {"$.recordingId"}),
    ):
        refused = await shop.post(path, json=said)
        assert (refused.status_code, set(refused.json()["details"])) == (422, wrong)
    for query, wrong in (("limit=100&x=1", {"$.limit", "$.x"}), ("pageToken=abc", {"$.pageToken"})):
        refused = await shop.get(f"{LIST}?{query}")
        assert (refused.status_code, set(refused.json()["details"])) == (422, wrong)


async def test_one_that_is_asked_for_is_accepted_and_what_has_no_file_has_none(making: Bird) -> None:
    client = making.client(KEYS["shop"])
    told = await making.put()

    asked = await client.post(f"{W}/recordings/{as_uuid(told.id)}/transcriptions", json={"locale": "de-DE"})
    running = await client.post(
        f"{W}/recordings/{as_uuid((await making.put(Status.ABSENT)).id)}/transcriptions", json={"locale": "de-DE"}
    )

    assert asked.status_code == 202
    assert {name: asked.json()[name] for name in ("recordingId", "status", "stereo", "locale")} == {
        "recordingId": as_uuid(told.id),
        "status": "accepted",
        "stereo": False,
        "locale": "de-DE",
    }
    assert (await client.get(f"{LIST}/{asked.json()['id']}")).json()["recordingId"] == as_uuid(told.id)
    assert (running.status_code, set(running.json()["details"])) == (422, {"$.status"})


async def test_what_was_said_is_read_in_every_form_and_its_recording_says_that_it_is_there(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    told, silent = await bird.put(), await bird.put(created_at=CREATED + timedelta(seconds=1))
    work = await transcripts.say(bird.service.catalog, told, "good morning", CREATED)

    shown = (await shop.get(f"{LIST}/{as_uuid(work.id)}")).json()
    texts = {each: await shop.get(f"{LIST}/{as_uuid(work.id)}.{each}") for each in EVERY_TEXT}

    assert (shown["status"], shown["locale"]) == ("available", "en-US")
    assert all(answer.status_code == 200 and "good" in answer.text for answer in texts.values())
    assert texts["json"].json()["segments"][0]["text"] == "good morning"
    assert texts["vtt"].text.startswith("WEBVTT")
    assert (await shop.get(f"{LIST}/{as_uuid(work.id)}.doc")).status_code == 404
    listed = (await shop.get(f"{W}/recordings")).json()["results"]
    assert {each["id"]: each["transcription"] for each in listed} == {as_uuid(told.id): True, as_uuid(silent.id): False}
    assert (await shop.get(f"{W}/recordings/{as_uuid(told.id)}")).json()["transcription"] is True


async def test_one_that_failed_says_why_to_who_asks_for_its_text(bird: Bird, shop: httpx.AsyncClient) -> None:
    catalog = bird.service.catalog
    failed = await transcripts.fail(catalog, await bird.put(), "the key is wrong", CREATED)
    running = await transcripts.ask(catalog, await bird.put(), CREATED)

    for work, status, why in ((failed, "failed", "the key is wrong"), (running, "accepted", "under way")):
        assert (await shop.get(f"{LIST}/{as_uuid(work.id)}")).json()["status"] == status
        refused = await shop.get(f"{LIST}/{as_uuid(work.id)}.txt")
        assert refused.status_code == 404
        assert why in refused.json()["message"]


async def test_they_are_listed_in_pages_of_one_workspace_the_last_first(bird: Bird, shop: httpx.AsyncClient) -> None:
    elsewhere = Origin(api="bird", said={**SAID, "workspaceId": OTHER_WORKSPACE})
    ids = []
    for minute in range(6):
        told = await (bird.put() if minute % 2 else bird.put(origin=elsewhere))
        work = await transcripts.say(bird.service.catalog, told, "hello", CREATED + timedelta(minutes=minute))
        ids.append(as_uuid(work.id))

    first = (await shop.get(f"{LIST}?limit=2")).json()
    second = (await shop.get(LIST, params={"limit": 2, "pageToken": first["nextPageToken"]})).json()

    assert [each["id"] for page in (first, second) for each in page["results"]] == [ids[5], ids[3], ids[1]]
    assert (await shop.get(f"{LIST}/{ids[0]}")).status_code == 404


async def test_what_is_anothers_or_gone_with_its_recording_is_not_there(
    bird: Bird, shop: httpx.AsyncClient, bank: httpx.AsyncClient
) -> None:
    told = await bird.put()
    mine = as_uuid((await transcripts.say(bird.service.catalog, told, "hello", CREATED)).id)

    assert (await bank.get(LIST)).json() == {"results": []}
    assert (await bank.get(f"{LIST}/{mine}.txt")).status_code == 404
    assert (await shop.delete(f"{W}/recordings/{as_uuid(told.id)}")).status_code == 204
    for suffix in ("", *(f".{each}" for each in EVERY_TEXT)):
        assert (await shop.get(f"{LIST}/{mine}{suffix}")).status_code == 404
    assert (await shop.get(LIST)).json() == {"results": []}
    assert (await shop.get(f"{W}/recordings/{as_uuid(told.id)}")).json()["transcription"] is False


@pytest.mark.parametrize(
    ("language", "locale"),
    [("en-us", "en-US"), ("de", "de-DE"), ("en", "en-US"), ("EN-gh", "en-US"), ("sv", "sv-SE"), ("tlh", "tlh")],
)
def test_a_language_that_an_engine_names_is_the_nearest_of_birds(language: str, locale: str) -> None:
    assert locale_of(language) == locale
