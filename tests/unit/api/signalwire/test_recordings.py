"""SignalWire's recordings API: pages, one recording, and its deletion."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.unit.api.fakes import START
from tests.unit.api.signalwire.conftest import CALL, PROJECT, SignalWire
from wavstream.model.call import CallFacts
from wavstream.model.ids import as_uuid
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions, TrackChoice
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, Recording, Status

RECORDINGS = "/api/relay/rest/recordings"


async def recorded(signalwire: SignalWire, app_id: str = "shop", **origin: Any) -> Recording:
    """Return a recording whose file is there."""
    options = RecordingOptions(format=FileFormat.MP3, track=TrackChoice.INBOUND, channels=ChannelLayout.MONO)
    made = Origin(api="signalwire", control_id="rec-1", **origin)
    recording = await signalwire.commands.start(app_id=app_id, session_id=CALL, options=options, origin=made)
    return signalwire.commands.finish(recording)


async def listed(client: httpx.AsyncClient, path: str = RECORDINGS, **query: Any) -> dict[str, Any]:
    answer = await client.get(path, params=query or None)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def wrong(answer: httpx.Response) -> list[str]:
    """Return what is wrong in the request, by SignalWire's answer."""
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    for error in errors:
        assert {name: error[name] for name in ("status", "title", "code")} == {
            "status": "422",
            "title": "Invalid Attribute",
            "code": "422",
        }
    return [error["detail"] for error in errors]


async def test_a_recording_is_shown_with_signalwires_names(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    recording = await recorded(signalwire, said={"project_id": "another-project"})

    item = await listed(shop, f"{RECORDINGS}/{as_uuid(recording.id)}")

    assert item == {
        "id": as_uuid(recording.id),
        "project_id": "another-project",
        "created_at": "2026-11-01T10:00:00.000000Z",
        "updated_at": "2026-11-01T10:00:00.000000Z",
        "duration_in_seconds": 61,
        "price": 0.0,
        "price_unit": "USD",
        "status": "completed",
        "url": signalwire.parts.urls.of(recording),
        "stereo": False,
        "byte_size": 122_480,
        "track": "inbound",
        "relay_pstn_leg_id": CALL,
    }
    assert (await listed(shop))["data"] == [item]
    assert await listed(shop, f"{RECORDINGS}/{recording.id}") == item


async def test_a_call_with_a_sip_party_is_a_sip_leg(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    call = CallFacts(from_="sip:alice@example.com", to="+15550199")
    recording = signalwire.commands.put(replace(await recorded(signalwire), call=call))

    item = await listed(shop, f"{RECORDINGS}/{as_uuid(recording.id)}")

    assert item["relay_sip_leg_id"] == CALL
    assert "relay_pstn_leg_id" not in item


async def test_a_recording_that_another_api_started_is_of_the_project_that_asks(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    await signalwire.commands.start(app_id="shop", session_id=CALL, options=RecordingOptions())

    (item,) = (await listed(shop))["data"]

    assert (item["project_id"], item["stereo"], item["track"]) == (PROJECT, True, "both")


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (Status.ACCEPTED, "initiated"),
        (Status.ONGOING, "recording"),
        (Status.PAUSED, "paused"),
        (Status.COMPLETED, "processing"),
        (Status.ABSENT, "no_input"),
        (Status.FAILED, "failed"),
    ],
)
async def test_a_recording_without_a_file_has_no_size_and_says_where_it_is(
    signalwire: SignalWire, shop: httpx.AsyncClient, status: Status, word: str
) -> None:
    recording = await signalwire.commands.start(app_id="shop", session_id=CALL, options=RecordingOptions())
    signalwire.commands.put(recording.became(status, START + timedelta(seconds=3)))

    (item,) = (await listed(shop))["data"]

    assert (item["status"], item["duration_in_seconds"], "byte_size" in item) == (word, 0, False)
    assert item["updated_at"] == "2026-11-01T10:00:03.000000Z"
    assert item.get("error_code") == ("recording_failed" if status is Status.FAILED else None)


@pytest.mark.parametrize(("duration_ms", "seconds"), [(499, 0), (500, 1), (1_499, 1), (1_500, 2)])
async def test_the_duration_is_in_whole_seconds(
    signalwire: SignalWire, shop: httpx.AsyncClient, duration_ms: int, seconds: int
) -> None:
    signalwire.commands.finish(await recorded(signalwire), samples=duration_ms * 8)

    (item,) = (await listed(shop))["data"]

    assert item["duration_in_seconds"] == seconds


# ---- pages ----------------------------------------------------------------------------------------------------------


async def test_the_links_lead_through_all_recordings_newest_first(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    expected = [as_uuid((await recorded(signalwire)).id) for _ in range(5)][::-1]
    await recorded(signalwire, "bank")
    seen, path, pages = [], f"{RECORDINGS}?page_size=2", 0

    while True:
        page = await listed(shop, path)
        assert page["links"]["self"] == path
        assert page["links"]["first"] == f"{RECORDINGS}?page_size=2"
        seen += [item["id"] for item in page["data"]]
        pages += 1
        if "next" not in page["links"]:
            break
        path = page["links"]["next"]

    assert (seen, pages) == (expected, 3)


async def test_a_page_has_fifty_recordings_or_as_many_as_the_server_gives(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    for _ in range(60):
        await recorded(signalwire)

    assert len((await listed(shop))["data"]) == 50
    assert len((await listed(shop, page_size=1_000))["data"]) == 60
    async with signalwire.client(dict(shop.headers), page_limit=7) as client:
        page = await listed(client, page_size=1_000)
    assert len(page["data"]) == 7
    assert page["links"]["self"] == f"{RECORDINGS}?page_size=7"


async def test_what_has_no_file_any_more_is_not_there(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    recordings = [await recorded(signalwire) for _ in range(3)]
    signalwire.commands.put(recordings[0].became(Status.DELETED, START))
    signalwire.commands.put(recordings[1].became(Status.EXPIRED, START))
    signalwire.clock.move(hours=25)  # the sweeper has not come by for the third

    page = await listed(shop)

    assert page["data"] == []
    for recording in recordings:
        for method in ("GET", "DELETE"):
            answer = await shop.request(method, f"{RECORDINGS}/{as_uuid(recording.id)}")
            assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ({"page_size": "0"}, ["page_size must be greater than or equal to 1"]),
        ({"page_size": "1001"}, ["page_size must be less than or equal to 1000"]),
        ({"page_size": "many", "page": "2"}, [
            "page_size must be a whole number, without a fraction", "page is not a field of this request"
        ]),
        ({"page_token": "bad"}, ["page_token is not one that was given"]),
    ],
)  # fmt: skip
async def test_every_wrong_parameter_is_named(
    shop: httpx.AsyncClient, query: dict[str, str], details: list[str]
) -> None:
    assert wrong(await shop.get(RECORDINGS, params=query)) == details


# ---- one recording --------------------------------------------------------------------------------------------------


async def test_a_recording_that_is_unknown_or_anothers_is_not_found(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    of_the_bank = await recorded(signalwire, "bank")

    for recording_id in (as_uuid(of_the_bank.id), "0" * 32, "nonsense", "a/b", "%00", "%ff", "é"):
        for method in ("GET", "DELETE"):
            answer = await shop.request(method, f"{RECORDINGS}/{recording_id}")
            assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    assert signalwire.commands.recordings[of_the_bank.id].status is Status.AVAILABLE


async def test_a_deleted_recording_is_gone(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    path = f"{RECORDINGS}/{as_uuid((await recorded(signalwire)).id)}"

    deleted = await shop.delete(path)

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await shop.get(path)).status_code == (await shop.delete(path)).status_code == 404


async def test_a_recording_that_runs_is_not_deleted(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    recording = await signalwire.commands.start(app_id="shop", session_id=CALL, options=RecordingOptions())

    refused = await shop.delete(f"{RECORDINGS}/{as_uuid(recording.id)}")

    assert wrong(refused) == ["id cannot be deleted: the recording is ongoing: stop it first"]
    assert signalwire.commands.only.status is Status.ONGOING


async def test_a_recording_without_input_that_has_a_file_is_completed(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    signalwire.commands.put(replace(await recorded(signalwire), end_reason=EndReason.NO_INPUT))

    (item,) = (await listed(shop))["data"]

    assert item["status"] == "completed"
