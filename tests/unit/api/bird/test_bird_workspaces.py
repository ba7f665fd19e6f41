"""The recordings of a workspace: read, listed, fetched, deleted, counted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.api.bird.conftest import (
    CALL,
    CHANNEL,
    CREATED,
    KEYS,
    OTHER_CHANNEL,
    OTHER_WORKSPACE,
    SAID,
    WORKSPACE,
    Bird,
    C,
    W,
    announce,
    server,
)
from wavstream.api.bird.pages import MOST_READ
from wavstream.model.call import CallFacts
from wavstream.model.ids import as_uuid, new_id
from wavstream.model.origin import Origin
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.settings import Limits

OTHER_CALL = "2b7f5d2f-74ea-4c1f-9a3b-1b5a8c3d0e21"


async def ids(client: httpx.AsyncClient, query: dict[str, Any] | str = "") -> list[str]:
    answer = await client.get(f"{W}/recordings", params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["results"]]


async def pages(client: httpx.AsyncClient, query: dict[str, Any]) -> list[list[str]]:
    found: list[list[str]] = []
    token: str | None = None
    while len(found) < 100:
        params = query | ({"pageToken": token} if token else {})
        page = (await client.get(f"{W}/recordings", params=params)).json()
        found.append([each["id"] for each in page["results"]])
        token = page.get("nextPageToken")
        if token is None:
            break
    return found


async def test_every_status_can_be_read_and_what_has_no_file_any_more_is_absent(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    shown = {}
    for status in Status:
        told = await bird.put(status)
        shown[status] = (await shop.get(f"{W}/recordings/{as_uuid(told.id)}")).json()
        assert (await shop.get(f"{C}/recordings/{as_uuid(told.id)}")).json()["status"] == shown[status]["status"]
    assert {status: each["status"] for status, each in shown.items()} == {
        **{status: str(status) for status in Status}, Status.EXPIRED: "absent", Status.DELETED: "absent"
    }  # fmt: skip
    assert {status for status, each in shown.items() if "url" in each} == {Status.AVAILABLE}
    assert sorted(await ids(shop, {"limit": 99})) == sorted(each["id"] for each in shown.values())


async def test_from_the_moment_that_its_retention_is_over_a_recording_is_absent(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    told = await bird.put(expires_at=bird.wall() + timedelta(hours=1))
    path = f"{W}/recordings/{as_uuid(told.id)}"
    assert (await shop.get(path)).json()["status"] == "available"

    bird.wall.ahead = timedelta(hours=1)
    expired = (await shop.get(path)).json()
    assert (expired["status"], "url" in expired) == ("absent", False)
    assert (await shop.get(f"{W}/recordings")).json()["results"] == [expired]
    for extension in ("mp3", "wav"):
        gone = await shop.get(f"{path}.{extension}")
        assert (gone.status_code, "location" in gone.headers) == (404, False)
    assert (await shop.get(f"{W}/recording-metrics")).json()["counter"] == 0


@pytest.mark.parametrize("extension", ["mp3", "wav"])
async def test_a_file_is_gone_to_by_a_link_of_ten_minutes_in_either_format(
    bird: Bird, shop: httpx.AsyncClient, extension: str
) -> None:
    path = f"{W}/recordings/{as_uuid((await bird.put()).id)}"
    for method in ("GET", "HEAD"):
        answer = await shop.request(method, f"{path}.{extension}")
        assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
        location = httpx.URL(answer.headers["location"])
        assert location.path.endswith(f".{extension}")
        assert float(location.params["expires"]) == pytest.approx(bird.wall().timestamp() + 600, abs=60)


async def test_a_file_that_is_still_to_come_says_when_to_ask_again(bird: Bird, shop: httpx.AsyncClient) -> None:
    waits = {}
    for status in (Status.ACCEPTED, Status.ONGOING, Status.PAUSED, Status.COMPLETED, Status.ABSENT, Status.FAILED):
        answer = await shop.get(f"{W}/recordings/{as_uuid((await bird.put(status)).id)}.mp3")
        assert answer.status_code == 404
        waits[status] = answer.headers.get("retry-after")
    assert waits == {
        Status.ACCEPTED: "5", Status.ONGOING: "5", Status.PAUSED: "5", Status.COMPLETED: "1",
        Status.ABSENT: None, Status.FAILED: None,
    }  # fmt: skip


async def test_delete_takes_the_file_and_leaves_the_recording_which_is_absent(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    path = f"{W}/recordings/{as_uuid((await bird.put()).id)}"
    for _ in range(2):
        assert (await shop.delete(path)).status_code == 204
        read = (await shop.get(path)).json()
        assert (read["status"], "url" in read) == ("absent", False)
    assert (await shop.get(f"{path}.mp3")).status_code == 404


async def test_what_runs_or_is_held_is_not_deleted(bird: Bird, shop: httpx.AsyncClient) -> None:
    held = await bird.put(hold=LegalHold("J. Doe", "case 4711", CREATED))
    for told in (await bird.put(Status.ONGOING), await bird.put(Status.COMPLETED), held):
        path = f"{W}/recordings/{as_uuid(told.id)}"
        before = (await shop.get(path)).json()
        refused = await shop.delete(path)
        assert (refused.status_code, list(refused.json()["details"])) == (422, ["$.status"])
        after = (await shop.get(path)).json()
        assert before | {"url": None} == after | {"url": None}


async def test_what_is_unknown_or_another_apps_is_not_found(
    bird: Bird, shop: httpx.AsyncClient, bank: httpx.AsyncClient
) -> None:
    mine = as_uuid((await bird.put()).id)
    for client, recording_id in ((bank, mine), (shop, as_uuid(new_id())), (shop, "nothing"), (shop, "%00")):
        path = f"{W}/recordings/{recording_id}"
        answers = [
            await client.get(path),
            await client.get(f"{path}.mp3"),
            await client.get(f"{path}.wav"),
            await client.delete(path),
            await client.post(f"{path}/transcriptions", json={"locale": "en-US"}),
        ]
        assert [answer.status_code for answer in answers] == [404] * 5
    assert await ids(bank) == []
    assert (await shop.get(f"{W}/recordings/{mine}")).json()["status"] == "available"


async def test_a_workspace_that_is_not_the_apps_is_not_found_and_an_app_that_lists_none_has_any(
    bird: Bird, shop: httpx.AsyncClient, bank: httpx.AsyncClient
) -> None:
    told = as_uuid((await bird.put()).id)
    foreign = f"/workspaces/{as_uuid(new_id())}"
    paths = (
        "recordings", f"recordings/{told}", f"recordings/{told}.mp3", "recording-metrics", "transcriptions",
        "transcriptions/x", "transcriptions/x.vtt",
    )  # fmt: skip
    for path in paths:
        assert (await shop.get(f"{foreign}/{path}")).status_code == 404
    assert (await shop.delete(f"{foreign}/recordings/{told}")).status_code == 404
    assert (await bank.get(f"{foreign}/recordings")).json() == {"results": []}


async def test_workspaces_of_one_app_do_not_see_each_others_recordings(bird: Bird, shop: httpx.AsyncClient) -> None:
    here = await bird.put()
    there = await bird.put(origin=Origin(api="bird", said={**SAID, "workspaceId": OTHER_WORKSPACE}))
    told = await bird.put(call=CallFacts(vendor_ids={"workspaceId": OTHER_WORKSPACE}), origin=Origin())
    anywhere = await bird.put(origin=Origin(api="telnyx", command="record_start"))

    assert sorted(await ids(shop)) == sorted(map(as_uuid, (here.id, anywhere.id)))
    for foreign in (there, told):
        assert (await shop.get(f"{W}/recordings/{as_uuid(foreign.id)}")).status_code == 404
        elsewhere = await shop.get(f"/workspaces/{OTHER_WORKSPACE}/recordings/{as_uuid(foreign.id)}")
        assert elsewhere.status_code == 200


async def test_each_filter_of_the_list_finds_what_it_names(bird: Bird, shop: httpx.AsyncClient) -> None:
    facts = CallFacts("+15550100", "+15550199", "inbound", {"channelId": OTHER_CHANNEL})
    one = await bird.put(call=facts, created_at=CREATED)
    two = await bird.put(
        session_id=OTHER_CALL,
        call=CallFacts("+15550177", "+15550188", "outbound"),
        created_at=CREATED + timedelta(minutes=1),
    )
    first, second = as_uuid(one.id), as_uuid(two.id)
    found: list[tuple[dict[str, str], list[str]]] = [
        ({}, [second, first]),
        ({"sourceId": CALL}, [first]),
        ({"channelId": OTHER_CHANNEL}, [first]),
        ({"channelId": CHANNEL}, [second]),  # said by its start
        ({"channelId": as_uuid(new_id())}, []),
        ({"id": first}, [first]),
        ({"id": one.id.upper()}, [first]),
        ({"id": OTHER_CALL}, [second]),
        ({"id": first, "sourceId": OTHER_CALL}, []),
        ({"id": OTHER_CALL, "sourceId": CALL}, []),
        ({"id": OTHER_CALL, "sourceId": OTHER_CALL}, [second]),
        ({"direction": "incoming"}, [first]),
        ({"direction": "outgoing"}, [second]),
        ({"from": "+15550100"}, [first]),
        ({"to": "+15550188"}, [second]),
        ({"to": "+15550188", "from": "+15550100"}, []),
        ({"startAt": "2026-11-01T10:00:00Z"}, [second]),
        ({"startAt": "2026-11-01T11:00:00.000001+01:00"}, []),
        ({"endAt": "2026-11-01T09:59:00Z"}, [first]),
        ({"endAt": "2026-11-01T09:58:59.999999Z"}, []),
        ({"startAt": "0001-01-01T00:00:00Z", "endAt": "9999-12-31T23:59:59.999999Z"}, [second, first]),
        ({"limit": "1"}, [second]),
    ]
    assert [(query, await ids(shop, query)) for query, _ in found] == found


async def test_wrong_filters_are_all_named_at_once(shop: httpx.AsyncClient) -> None:
    wrong = {
        "limit": "100", "direction": "inbound", "startAt": "yesterday", "endAt": "2026-11-01T09:59:00",
        "pageToken": "x" * 8_001, "status": "available",
    }  # fmt: skip
    refused = await shop.get(f"{W}/recordings", params=wrong)
    assert (refused.status_code, set(refused.json()["details"])) == (422, {f"$.{name}" for name in wrong})
    assert list((await shop.get(f"{W}/recordings?limit=0")).json()["details"]) == ["$.limit"]
    assert list((await shop.get(f"{W}/recordings?pageToken=x")).json()["details"]) == ["$.pageToken"]
    assert (await shop.get(f"{W}/recordings?limit=99")).status_code == 200


async def test_pages_have_each_recording_once_newest_first_also_where_some_are_not_shown(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    here = Origin(api="bird", said=SAID)
    elsewhere = Origin(api="bird", said={**SAID, "workspaceId": OTHER_WORKSPACE})
    shown: list[Recording] = []
    for number in range(12):
        origin = elsewhere if number % 3 else here
        told = await bird.put(created_at=CREATED + timedelta(seconds=number), origin=origin)
        shown += [] if number % 3 else [told]
    newest_first = [as_uuid(each.id) for each in reversed(shown)]

    assert await ids(shop) == newest_first
    for limit in (1, 2, 3, 4, 5):
        found = await pages(shop, {"limit": limit, "channelId": CHANNEL})
        assert [each for page in found for each in page] == newest_first
        assert all(len(page) == limit for page in found[:-1])


async def test_the_servers_own_limit_cuts_a_page(tmp_path: Path) -> None:
    async with server(tmp_path, limits=Limits(page_size=2)) as bird:
        for _ in range(3):
            await bird.put()
        assert [len(page) for page in await pages(bird.client(KEYS["shop"]), {"limit": 99})] == [2, 1]
    assert MOST_READ > 99


async def test_metrics_count_what_can_be_fetched_by_the_day_of_its_creation(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    for status in Status:
        await bird.put(status)
    await bird.put(created_at=CREATED + timedelta(days=1), session_id=OTHER_CALL)
    await bird.put(created_at=CREATED + timedelta(days=1))
    await bird.put(app_id="bank")

    metrics = (await shop.get(f"{W}/recording-metrics")).json()
    assert (metrics["counter"], metrics["dailyStorageUsage"]) == (3, {"2026-11-01": 489_472, "2026-11-02": 978_944})
    of_call = (await shop.get(f"{W}/recording-metrics", params={"sourceId": OTHER_CALL, "limit": 1})).json()
    assert (of_call["counter"], of_call["dailyStorageUsage"]) == (1, {"2026-11-02": 489_472})
    refused = await shop.get(f"{W}/recording-metrics", params={"limit": 100, "channelId": CHANNEL})
    assert set(refused.json()["details"]) == {"$.limit", "$.channelId"}


async def test_a_start_by_our_own_api_takes_birds_words(bird: Bird, shop: httpx.AsyncClient) -> None:
    await announce(shop)
    key = {"Authorization": f"Bearer {KEYS['shop']}"}
    body = {"session_id": CALL, "bird": {"endKey": "#", "maxLength": 30, "stereo": True}}
    started = (await shop.post("/v1/recordings", json=body, headers=key)).json()
    shown = (await shop.get(f"{W}/recordings/{as_uuid(started['id'])}")).json()

    assert (started["terminators"], started["max_length_s"], started["format"]) == ("#", 30, "mp3")
    assert (shown["stereo"], shown["format"], shown["origin"]) == (True, "mp3", "call-command-record-call")
    assert WORKSPACE not in str(started)
