"""What an app could not be told: listed, read and sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from tests.unit.api.conftest import ApiHarness
from tests.unit.api.fakes import START
from wavstream.catalog.catalog import Catalog
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Announcement, command_done

PATH = "/v1/webhooks/dead-letters"


@pytest.fixture
async def letters(catalog: Catalog) -> Sequence[Announcement]:
    """Three of app one, the last to die first."""
    for number in (1, 2, 3):
        await die(catalog, number, attempts=149)
    return await left(catalog)


async def die(catalog: Catalog, number: int, *, attempts: int = 1) -> None:
    """Have the app told of a command, until that is given up."""
    if await catalog.apps.get("one") is None:
        app = App("one", START, webhook=WebhookTarget("https://one.example/"))
        await catalog.apps.add(app, key_hash="h", key_lookup="l")
    told = command_done(
        app_id="one", session_id="call-77", operation_id=f"one-{number}", command="record/start",
        request_id=f"rec-{number}", error=None, at=START,
    )  # fmt: skip
    await catalog.outbox.announce([told])
    tried = text(f"UPDATE outbox SET attempts = {attempts - 1} WHERE id = '{told.id}'")
    await catalog.database.write(lambda connection: connection.execute(tried))
    [due] = (await catalog.outbox.due("one", START, 1)).announcements
    await catalog.outbox.mark_dead(due, "answered 500", START + timedelta(days=1, seconds=number))


async def left(catalog: Catalog) -> Sequence[Announcement]:
    return (await catalog.dead_letters.page("one", limit=1000)).data


async def test_dead_letters_are_listed_by_page(
    world: ApiHarness, client: httpx.AsyncClient, letters: Sequence[Announcement]
) -> None:
    first = (await client.get(PATH, params={"limit": 2})).json()
    second = (await client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert first["data"][0] == {
        "id": letters[0].fact.id, "event": "command.result", "session_id": "call-77", "sequence": 3,
        "recording_id": None, "attempts": 149, "error": "answered 500", "created_at": "2026-11-01T10:00:00.000000Z",
        "died_at": "2026-11-02T10:00:03.000000Z",
    }  # fmt: skip
    assert [each["sequence"] for each in first["data"] + second["data"]] == [3, 2, 1]
    assert second["next_cursor"] is None


async def test_a_page_is_50_and_the_server_cuts_what_is_asked_for(catalog: Catalog, client: httpx.AsyncClient) -> None:
    for number in range(201):
        await die(catalog, number)
    answers = [await client.get(PATH, params=query) for query in ({}, {"limit": 1000}, {"limit": 1001})]

    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert [len(answer.json()["data"]) for answer in answers[:2]] == [50, 200]


async def test_a_dead_letter_is_read_with_the_body_that_would_be_sent(
    client: httpx.AsyncClient, letters: Sequence[Announcement]
) -> None:
    listed = (await client.get(PATH)).json()["data"][0]
    read = (await client.get(f"{PATH}/{letters[0].fact.id}")).json()

    fields = {"command_uid": "rec-3", "command": "record/start", "success": True}
    body = {"event": "command.result", "session_uuid": "call-77", **fields, "sequence": 3, "data": fields}
    assert read == {**listed, "body": body}


async def test_another_apps_dead_letters_do_not_exist(
    world: ApiHarness, client: httpx.AsyncClient, letters: Sequence[Announcement]
) -> None:
    async with world.client("key-two") as stranger:
        assert (await stranger.get(PATH)).json()["data"] == []
        assert (await stranger.get(f"{PATH}/{letters[0].fact.id}")).status_code == 404
        for body in ({"ids": [letters[0].fact.id]}, {}):
            assert (await stranger.post(f"{PATH}/replay", json=body)).json() == {"replayed": 0}
    assert await left(world.catalog) == letters


@pytest.mark.parametrize(("ids", "remaining"), [([0, 2], [1]), ([], [0, 1, 2]), (None, [])])
async def test_those_that_are_named_are_sent_again_or_all(
    world: ApiHarness,
    client: httpx.AsyncClient,
    letters: Sequence[Announcement],
    ids: list[int] | None,
    remaining: list[int],
) -> None:
    body = {} if ids is None else {"ids": [letters[each].fact.id for each in ids] + ["unknown"] * bool(ids)}

    answer = await client.post(f"{PATH}/replay", json=body)

    assert (answer.status_code, answer.json()) == (200, {"replayed": 3 - len(remaining)})
    assert await left(world.catalog) == tuple(letters[each] for each in remaining)
    again = (await world.catalog.outbox.due("one", START, 1)).announcements
    assert [each.begun_at for each in again] == [START] * (len(remaining) < 3)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"ids": "all"}, "/ids"), ({"ids": ["x"] * 1001}, "/ids"), ({"ids": [1]}, "/ids/0"), ({"id": ["x"]}, "/id")],
    ids=["a text", "too many", "a number", "misspelt"],
)
async def test_a_replay_that_says_something_else_replays_nothing(
    world: ApiHarness, client: httpx.AsyncClient, letters: Sequence[Announcement], body: dict[str, object], pointer: str
) -> None:
    answer = await client.post(f"{PATH}/replay", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert await left(world.catalog) == letters
