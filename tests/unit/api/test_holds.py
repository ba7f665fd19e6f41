from __future__ import annotations

import httpx
import pytest

from tests.unit.api.conftest import ApiHarness
from wavstream.model.recording import Recording

HOLD = {"by": "J. Doe, legal", "reason": "case 4711"}


async def test_a_hold_is_shown_with_who_why_and_since_and_a_release_takes_it_away(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording
) -> None:
    path = f"/v1/recordings/{finished.id}"
    put = await client.post(f"{path}/hold", json=HOLD)
    read = await client.get(path)
    released = await client.delete(f"{path}/hold")

    assert put.status_code == read.status_code == released.status_code == 200
    assert put.json() == read.json() == released.json() | {"hold": HOLD | {"since": "2026-11-01T10:00:00.000000Z"}}
    assert released.json()["hold"] is None


async def test_a_held_recording_is_not_erased(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording
) -> None:
    await client.post(f"/v1/recordings/{finished.id}/hold", json=HOLD)
    response = await client.delete(f"/v1/recordings/{finished.id}")
    assert (response.status_code, response.json()["state"]) == (409, "available")


NO_HOLDS = [
    ({"by": "legal"}, "/reason"),
    ({"reason": "case"}, "/by"),
    (HOLD | {"by": ""}, "/by"),
    (HOLD | {"by": " "}, "/by"),
    (HOLD | {"by": "x" * 257}, "/by"),
    (HOLD | {"reason": "x" * 1025}, "/reason"),
    (HOLD | {"reason": "two\nlines"}, "/reason"),
    (HOLD | {"since": "2026-11-01T10:00:00Z"}, "/since"),
]


async def test_a_hold_without_a_name_and_a_reason_is_refused(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, subtests: pytest.Subtests
) -> None:
    for body, pointer in NO_HOLDS:
        with subtests.test(f"{body!r:.80} {pointer!r:.80}"):
            response = await client.post(f"/v1/recordings/{finished.id}/hold", json=body)
            assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
            assert world.commands.recordings[finished.id].hold is None


async def test_another_apps_recording_is_neither_held_nor_released(world: ApiHarness, finished: Recording) -> None:
    async with world.client("key-two") as stranger:
        put = await stranger.post(f"/v1/recordings/{finished.id}/hold", json=HOLD)
        released = await stranger.delete(f"/v1/recordings/{finished.id}/hold")
    assert (put.status_code, released.status_code) == (404, 404)
    assert world.commands.recordings[finished.id] == finished


async def test_links_of_a_held_recording_go_on_and_a_release_ends_them_at_once(
    world: ApiHarness, client: httpx.AsyncClient, finished: Recording, audio: bytes
) -> None:
    link = world.links.capability_path(finished)
    await client.post(f"/v1/recordings/{finished.id}/hold", json=HOLD)
    world.clock.move(days=30)
    played = await client.get(link)
    shown = await client.get(f"/v1/recordings/{finished.id}")

    released = await client.delete(f"/v1/recordings/{finished.id}/hold")
    gone = await client.get(link)

    assert (played.content, shown.json()["status"]) == (audio, "available")
    assert released.json()["status"] == "expired"
    assert (gone.status_code, gone.content, "location" in gone.headers) == (404, b"", False)
