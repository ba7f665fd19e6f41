"""What an app could not be told: listed, read and sent again."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from tests.unit.api.conftest import ApiHarness
from tests.unit.api.fakes import START
from wavstream.model.fact import Announcement, command_done

PATH = "/v1/webhooks/dead-letters"


@pytest.fixture
def letters(world: ApiHarness) -> list[Announcement]:
    """Three of app one, the last to die first."""
    world.letters.letters = [dead(number) for number in (3, 2, 1)]
    return list(world.letters.letters)


def dead(number: int, *, app_id: str = "one") -> Announcement:
    told = command_done(
        app_id=app_id,
        session_id="call-77",
        operation_id=f"{app_id}-{number}",
        command="record/start",
        command_uid=f"rec-{number}",
        error=None,
        at=START,
    )
    return Announcement(
        fact=told,
        sequence=number,
        attempts=149,
        begun_at=START,
        error="answered 500",
        died_at=START + timedelta(days=1, seconds=number),
    )


async def test_dead_letters_are_listed_by_page(
    world: ApiHarness, client: httpx.AsyncClient, letters: list[Announcement]
) -> None:
    first = (await client.get(PATH, params={"limit": 2})).json()
    second = (await client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert first["data"][0] == {
        "id": letters[0].fact.id,
        "event": "command.result",
        "session_id": "call-77",
        "sequence": 3,
        "recording_id": None,
        "attempts": 149,
        "error": "answered 500",
        "created_at": "2026-11-01T10:00:00.000000Z",
        "died_at": "2026-11-02T10:00:03.000000Z",
    }
    assert [each["sequence"] for each in first["data"] + second["data"]] == [3, 2, 1]
    assert second["next_cursor"] is None


async def test_a_page_is_50_and_the_server_cuts_what_is_asked_for(world: ApiHarness, client: httpx.AsyncClient) -> None:
    answers = [(await client.get(PATH, params=query)).status_code for query in ({}, {"limit": 1000}, {"limit": 1001})]

    assert (answers, world.letters.asked) == ([200, 200, 422], [50, 200])


async def test_a_dead_letter_is_read_with_the_body_that_would_be_sent(
    client: httpx.AsyncClient, letters: list[Announcement]
) -> None:
    listed = (await client.get(PATH)).json()["data"][0]
    read = (await client.get(f"{PATH}/{letters[0].fact.id}")).json()

    fields = {"command_uid": "rec-3", "command": "record/start", "success": True}
    body = {"event": "command.result", "session_uuid": "call-77", **fields, "sequence": 3, "data": fields}
    assert read == {**listed, "body": body}


async def test_another_apps_dead_letters_do_not_exist(
    world: ApiHarness, client: httpx.AsyncClient, letters: list[Announcement]
) -> None:
    async with world.client("key-two") as stranger:
        assert (await stranger.get(PATH)).json()["data"] == []
        assert (await stranger.get(f"{PATH}/{letters[0].fact.id}")).status_code == 404
        for body in ({"ids": [letters[0].fact.id]}, {}):
            assert (await stranger.post(f"{PATH}/replay", json=body)).json() == {"replayed": 0}
    assert world.letters.letters == letters


@pytest.mark.parametrize(("ids", "left"), [([0, 2], [1]), ([], [0, 1, 2]), (None, [])])
async def test_those_that_are_named_are_sent_again_or_all(
    world: ApiHarness, client: httpx.AsyncClient, letters: list[Announcement], ids: list[int] | None, left: list[int]
) -> None:
    body = {} if ids is None else {"ids": [letters[each].fact.id for each in ids] + ["unknown"] * bool(ids)}

    answer = await client.post(f"{PATH}/replay", json=body)

    assert (answer.status_code, answer.json()) == (200, {"replayed": 3 - len(left)})
    assert world.letters.letters == [letters[each] for each in left]
    assert world.letters.replayed[0][1] == START


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"ids": "all"}, "/ids"), ({"ids": ["x"] * 1001}, "/ids"), ({"ids": [1]}, "/ids/0"), ({"id": ["x"]}, "/id")],
    ids=["a text", "too many", "a number", "misspelt"],
)
async def test_a_replay_that_says_something_else_replays_nothing(
    world: ApiHarness, client: httpx.AsyncClient, letters: list[Announcement], body: dict[str, object], pointer: str
) -> None:
    answer = await client.post(f"{PATH}/replay", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert world.letters.replayed == []
