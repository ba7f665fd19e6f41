"""Telnyx's recordings: lists with every filter, what one looks like, and their end."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from telnyx.types import RecordingResponseData

from tests.unit.api.telnyx.conftest import CALL, CREATED, IDS, Caller, Telnyx
from wavstream.model.call import CallFacts
from wavstream.model.ids import as_uuid, new_id
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Receipt, Recording, Status

LIST = "/v2/recordings"
OTHERS = sorted(status for status in Status if status is not Status.AVAILABLE)
NOBODYS = "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42"
HOLD = {"by": "court", "reason": "case 7"}


async def found(caller: Caller, **query: str) -> list[str]:
    """Return the ids that a list has; a filter is named as in ``filter__created_at__gte``."""
    names = {name: name.partition("__")[0] + "".join(f"[{each}]" for each in name.split("__")[1:]) for name in query}
    answer = await caller.get(LIST, params={names[name]: value for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


# ---- one recording ---------------------------------------------------------------------------------------------------


async def test_a_recording_looks_as_the_vendors_does(telnyx: Telnyx, shop: Caller) -> None:
    made = await telnyx.put()

    answer = await shop.get(f"{LIST}/{as_uuid(made.id)}")

    data = answer.json()["data"]
    links = data.pop("download_urls")
    assert data == {
        "record_type": "recording",
        "id": as_uuid(made.id),
        "call_control_id": CALL,
        **IDS,
        "conference_id": None,
        "channels": "dual",
        "from": "+15550100",
        "to": "+15550199",
        "initiated_by": "StartCallRecordingAPI",
        "source": "call",
        "status": "completed",
        "duration_millis": 61_240,
        "recording_started_at": "2026-11-01T10:00:00.000000Z",
        "recording_ended_at": "2026-11-01T10:01:01.240000Z",
        "created_at": "2026-11-01T10:00:00.000000Z",
        "updated_at": "2026-11-01T10:01:01.300000Z",
    }
    assert {*links} == {"wav", "mp3"}
    for ext, link in links.items():
        left_s = int(parse_qs(urlsplit(link).query)["expires"][0]) - datetime.now(UTC).timestamp()
        assert urlsplit(link).path.endswith(f".{ext}")
        assert 540 < left_s <= 600
    assert {*answer.json()["data"]} <= {
        field.alias or name for name, field in RecordingResponseData.model_fields.items()
    }


async def test_a_link_is_to_the_file_itself_and_ends_after_ten_minutes(telnyx: Telnyx, shop: Caller) -> None:
    made = await telnyx.put()
    path = telnyx.path(made)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")
    link = (await shop.get(f"{LIST}/{as_uuid(made.id)}")).json()["data"]["download_urls"]["wav"]
    stranger = telnyx.client(None)

    assert (await stranger.get(link)).content == b"RIFF"
    telnyx.wall.ahead = timedelta(seconds=601)
    assert (await stranger.get(link)).status_code == 403


async def test_a_mono_file_is_single_and_what_is_not_known_of_the_call_is_called_as_it_is(
    telnyx: Telnyx, shop: Caller
) -> None:
    mono = RecordingOptions(format=FileFormat.MP3, channels=ChannelLayout.MONO)
    receipt = Receipt(8000, 1, 8000, "9f" * 32, 16_044)
    await telnyx.put(options=mono, receipt=receipt, call=CallFacts(vendor_ids={"conference_id": "c-1"}))

    (data,) = (await shop.get(LIST)).json()["data"]

    assert (data["channels"], data["duration_millis"]) == ("single", 1000)
    assert (data["call_leg_id"], data["call_session_id"], data["connection_id"]) == (CALL, CALL, "shop")
    assert (data["from"], data["to"], data["conference_id"]) == ("", "", "c-1")


async def test_what_is_not_finished_or_is_gone_is_not_there(telnyx: Telnyx, shop: Caller) -> None:
    for status in OTHERS:
        made = await telnyx.put(status)
        for request in (shop.get, shop.delete):
            answer = await request(f"{LIST}/{as_uuid(made.id)}")
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "10005"), status
    assert await found(shop) == []


async def test_a_recording_whose_retention_is_over_is_not_there(telnyx: Telnyx, shop: Caller) -> None:
    made = await telnyx.put()
    telnyx.wall.ahead = timedelta(days=3000)

    assert await found(shop) == []
    assert (await shop.get(f"{LIST}/{as_uuid(made.id)}")).status_code == 404


async def test_what_is_another_apps_is_not_there(telnyx: Telnyx, shop: Caller, bank: Caller) -> None:
    made = await telnyx.put()
    recording_id = as_uuid(made.id)

    assert (await bank.get(f"{LIST}/{recording_id}")).status_code == 404
    assert (await bank.delete(f"{LIST}/{recording_id}")).status_code == 404
    assert (await bank.post(f"{LIST}/actions/delete", json={"ids": [recording_id]})).status_code == 404
    assert await found(bank) == []
    assert await found(shop) == [recording_id]


@pytest.mark.parametrize(
    ("recording_id", "code"),
    [(NOBODYS, "10005"), ("nope", "10006"), ("0" * 31, "10006"), ("0" * 33, "10006"), ("%00", "10006")],
)
async def test_an_id_that_names_nothing_is_not_found(one: Caller, recording_id: str, code: str) -> None:
    for request in (one.get, one.delete):
        answer = await request(f"{LIST}/{recording_id}")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, code)


async def test_an_id_is_taken_with_and_without_hyphens(telnyx: Telnyx, shop: Caller) -> None:
    made = await telnyx.put()

    for spelling in (made.id, made.id.upper(), as_uuid(made.id)):
        assert (await shop.get(f"{LIST}/{spelling}")).json()["data"]["id"] == as_uuid(made.id)


# ---- lists -----------------------------------------------------------------------------------------------------------


async def put_three(telnyx: Telnyx) -> list[str]:
    """Put an older, a middle and a newer recording, each of another call; return their ids."""
    made = []
    for number in range(3):
        created_at = CREATED + timedelta(hours=number)
        ids = {name: f"{value}-{number}" for name, value in IDS.items()}
        of_sip = {"sip_call_id": f"sip-{number}", "conference_id": f"c-{number}", "conference_region": f"r-{number}"}
        made.append(
            await telnyx.put(
                session_id=f"call-{number}",
                created_at=created_at,
                started_at=created_at + timedelta(seconds=1),
                ended_at=created_at + timedelta(seconds=2),
                call=CallFacts(from_=f"+1000{number}", to=f"+2000{number}", vendor_ids=ids | of_sip),
            )
        )
    return [as_uuid(each.id) for each in made]


FILTERS = {
    "filter__call_control_id": "call-1",
    "filter__call_leg_id": f"{IDS['call_leg_id']}-1",
    "filter__call_session_id": f"{IDS['call_session_id']}-1",
    "filter__connection_id": f"{IDS['connection_id']}-1",
    "filter__conference_id": "c-1",
    "filter__conference_region": "r-1",
    "filter__sip_call_id": "sip-1",
    "filter__from": "+10001",
    "filter__to": "+20001",
}
"""Of the middle one of three."""


async def test_a_filter_takes_what_is_exactly_so(telnyx: Telnyx, shop: Caller) -> None:
    older, middle, newer = await put_three(telnyx)

    assert await found(shop) == [newer, middle, older]
    assert await found(shop, **FILTERS) == [middle]
    for name, value in FILTERS.items():
        assert await found(shop, **{name: value}) == [middle], name
        assert await found(shop, **{name: value.replace("1", "9")}) == [], name
        assert await found(shop, **{name: value[:-1]}) == [], name
        assert await found(shop, **{name: value, "filter__created_at__lte": CREATED.isoformat()}) == [], name


async def test_times_are_taken_from_and_until_including(telnyx: Telnyx, shop: Caller) -> None:
    older, middle, newer = await put_three(telnyx)

    for field, offset_s in (("created_at", 0), ("start_time", 1), ("end_time", 2)):
        moment = CREATED + timedelta(hours=1, seconds=offset_s)
        at, just_before, just_after = ((moment + timedelta(microseconds=by)).isoformat() for by in (0, -1, 1))
        from_, to = f"filter__{field}__gte", f"filter__{field}__lte"
        assert await found(shop, **{from_: at}) == [newer, middle]
        assert await found(shop, **{from_: just_after}) == [newer]
        assert await found(shop, **{to: at}) == [middle, older]
        assert await found(shop, **{to: just_before}) == [older]
        assert await found(shop, **{from_: at, to: at}) == [middle]


async def test_a_time_is_in_any_form_of_iso_8601_and_utc_where_it_names_no_zone(telnyx: Telnyx, shop: Caller) -> None:
    older, middle, newer = await put_three(telnyx)
    eleven = ("2026-11-01T11:00:00Z", "2026-11-01T11:00:00", "2026-11-01T12:00:00+01:00", "20261101T110000Z")

    for spelling in (*eleven, "2026-11-01 11:00"):
        assert await found(shop, filter__created_at__gte=spelling) == [newer, middle]
    assert await found(shop, filter__created_at__gte="2026-11-02") == []
    assert await found(shop, filter__created_at__lte="9999-12-31T23:59:59.999999Z") == [newer, middle, older]
    assert await found(shop, filter__created_at__gte="0001-01-01") == [newer, middle, older]


async def test_an_id_that_the_media_server_did_not_tell_is_looked_for_as_it_is_shown(
    telnyx: Telnyx, shop: Caller
) -> None:
    told = as_uuid((await telnyx.put(session_id="call-1")).id)
    leg = CallFacts(vendor_ids={"call_leg_id": "leg-2"})
    partly = as_uuid((await telnyx.put(session_id="call-2", call=leg)).id)
    untold = as_uuid((await telnyx.put(session_id="call-3", call=CallFacts())).id)

    assert await found(shop, filter__call_session_id=IDS["call_session_id"]) == [told]
    assert await found(shop, filter__call_session_id="call-2") == [partly]
    assert await found(shop, filter__call_session_id="call-2", filter__call_leg_id="leg-2") == [partly]
    assert await found(shop, filter__call_leg_id="call-3", filter__call_session_id="call-3") == [untold]
    assert await found(shop, filter__call_leg_id="call-3", filter__call_session_id="call-2") == []
    assert await found(shop, filter__call_leg_id="call-3", filter__call_control_id="call-2") == []
    assert await found(shop, filter__call_leg_id="call-3", filter__connection_id="shop") == [untold]
    assert await found(shop, filter__connection_id="bank") == []


async def test_recordings_that_another_api_started_are_listed_too(telnyx: Telnyx, shop: Caller) -> None:
    made = await telnyx.put(origin=Origin())

    assert await found(shop) == [as_uuid(made.id)]


async def test_pages_are_numbered_and_say_of_how_many_they_are(telnyx: Telnyx, shop: Caller) -> None:
    ids = list(reversed(await put_three(telnyx)))

    async def page(query: str) -> tuple[list[str], dict[str, int]]:
        answer = (await shop.get(f"{LIST}?{query}")).json()
        return [each["id"] for each in answer["data"]], answer["meta"]

    def meta(number: int, size: int, pages: int, results: int = 3) -> dict[str, int]:
        return {"page_number": number, "page_size": size, "total_pages": pages, "total_results": results}

    assert await page("") == (ids, meta(1, 20, 1))
    assert await page("page[size]=2") == (ids[:2], meta(1, 2, 2))
    assert await page("page%5Bnumber%5D=2&page%5Bsize%5D=2") == (ids[2:], meta(2, 2, 2))
    assert await page("page[number]=3&page[size]=2") == ([], meta(3, 2, 2))
    assert await page("page[size]=250") == (ids, meta(1, 200, 1))  # the server's own limit
    assert await page("filter%5Bto%5D=%2B20001") == ([ids[1]], meta(1, 20, 1, 1))
    assert await page("filter[to]=nobody") == ([], meta(1, 20, 0, 0))


WRONG_PARAMETERS = [
    ("page[number]", "0"),
    ("page[number]", "-1"),
    ("page[number]", "x"),
    ("page[number]", "1.5"),
    ("page[number]", "9" * 30),
    ("page[number]", "9" * 5000),
    ("page[number]", ""),
    ("page[size]", "0"),
    ("page[size]", "251"),
    ("page[after]", "x"),
    ("page", "1"),
    ("filter[nope]", "x"),
    ("filter", "x"),
    ("filter[created_at]", "2026-11-01"),
    ("filter[created_at][gt]", "2026-11-01"),
    ("sort", "created_at"),
]


async def test_a_parameter_that_is_wrong_or_unknown_is_named(one: Caller, subtests: pytest.Subtests) -> None:
    for (parameter, value), address in itertools.product(
        WRONG_PARAMETERS, [LIST, "/v2/webhook_deliveries", "/v2/recording_transcriptions"]
    ):
        with subtests.test(f"{parameter!r:.80} {value!r:.80} {address!r:.80}"):
            answer = await one.get(address, params={parameter: value})

            assert answer.status_code == 422
            (mistake,) = answer.json()["errors"]
            assert (mistake["code"], mistake["source"]) == ("10015", {"parameter": parameter})


NO_TIMES = ["", "yesterday", "2026-13-01", "1793527200", "2026-11-01T10:00:00+25:00", "0001-01-01T00:00:00+14:00"]


async def test_a_time_that_is_none_is_named(one: Caller, subtests: pytest.Subtests) -> None:
    for value, field in itertools.product(NO_TIMES, ["created_at", "start_time", "end_time"]):
        with subtests.test(f"{value!r:.80} {field!r:.80}"):
            for bound in ("gte", "lte"):
                parameter = f"filter[{field}][{bound}]"
                answer = await one.get(LIST, params={parameter: value})

                assert answer.status_code == 422, value
                (mistake,) = answer.json()["errors"]
                assert (mistake["code"], mistake["source"]) == ("10015", {"parameter": parameter})
                assert mistake["detail"].endswith("must be an ISO 8601 time such as 2026-11-01T10:00:00Z.")


async def test_all_parameters_that_are_wrong_are_named(one: Caller) -> None:
    answer = await one.get(f"{LIST}?page[size]=x&filter[foo]=1&filter[end_time][lte]=never")

    assert {each["source"]["parameter"] for each in answer.json()["errors"]} == {
        "page[size]",
        "filter[foo]",
        "filter[end_time][lte]",
    }


# ---- their end -------------------------------------------------------------------------------------------------------


async def with_file(telnyx: Telnyx, **changes: Any) -> Recording:
    made = await telnyx.put(**changes)
    path = telnyx.path(made)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")
    return made


async def test_a_recording_is_erased_and_shown_for_the_last_time(telnyx: Telnyx, shop: Caller) -> None:
    made = await with_file(telnyx)
    address = f"{LIST}/{as_uuid(made.id)}"
    before = (await shop.get(address)).json()["data"]

    answer = await shop.delete(address)

    assert answer.status_code == 200
    assert answer.json()["data"] == {**before, "download_urls": {"wav": None, "mp3": None}}
    assert not telnyx.path(made).exists()
    assert (await shop.get(address)).status_code == (await shop.delete(address)).status_code == 404
    assert (await shop.get(before["download_urls"]["wav"])).status_code == 404


async def test_a_deletion_that_the_client_sends_again_is_done_already(telnyx: Telnyx, shop: Caller) -> None:
    made = await with_file(telnyx)
    again = {"x-stainless-retry-count": "1"}
    address = f"{LIST}/{as_uuid(made.id)}"
    await shop.delete(address)

    answer = await shop.delete(address, headers=again)
    several = await shop.post(f"{LIST}/actions/delete", json={"ids": [as_uuid(made.id)]}, headers=again)

    assert (answer.status_code, answer.json()["data"]["id"]) == (200, as_uuid(made.id))
    assert (several.status_code, several.json()) == (200, {"status": "ok"})
    assert (await shop.delete(f"{LIST}/{as_uuid(new_id())}", headers=again)).status_code == 404


async def hold(caller: Caller, made: Recording) -> None:
    answer = await caller.post(f"/v1/recordings/{made.id}/hold", json=HOLD)
    assert answer.status_code == 200, answer.text


async def test_what_is_held_is_not_erased(telnyx: Telnyx, shop: Caller) -> None:
    made = await with_file(telnyx)
    await hold(shop, made)

    answer = await shop.delete(f"{LIST}/{as_uuid(made.id)}")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "10015")
    assert telnyx.path(made).exists()


async def test_several_are_erased_at_once(telnyx: Telnyx, shop: Caller) -> None:
    made = [await with_file(telnyx) for _ in range(3)]
    ids = [as_uuid(each.id) for each in made]

    answer = await shop.post(f"{LIST}/actions/delete", json={"ids": [ids[0], made[1].id, ids[0]]})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert await found(shop) == [ids[2]]
    assert [telnyx.path(each).exists() for each in made] == [False, False, True]


async def test_if_one_of_several_is_not_there_or_held_none_is_erased_and_all_of_these_are_named(
    telnyx: Telnyx, shop: Caller
) -> None:
    fine, held, running = await with_file(telnyx), await with_file(telnyx), await telnyx.put(Status.ONGOING)
    await hold(shop, held)
    ids = [as_uuid(each) for each in (fine.id, held.id, running.id, new_id())]

    answer = await shop.post(f"{LIST}/actions/delete", json={"ids": ids})
    of_held = await shop.post(f"{LIST}/actions/delete", json={"ids": ids[:2]})

    assert answer.status_code == 404
    assert {each["source"]["pointer"]: each["code"] for each in answer.json()["errors"]} == {
        "/ids/1": "10015",
        "/ids/2": "10005",
        "/ids/3": "10005",
    }
    assert (of_held.status_code, of_held.json()["errors"][0]["source"]) == (422, {"pointer": "/ids/1"})
    assert {*await found(shop)} == {ids[0], ids[1]}


@pytest.mark.parametrize(
    ("said", "code", "place"),
    [
        ({}, "10004", "/ids"),
        ({"ids": []}, "10015", "/ids"),
        ({"ids": "all"}, "10015", "/ids"),
        ({"ids": ["nope"]}, "10006", "/ids/0"),
        ({"ids": [NOBODYS, 7]}, "10006", "/ids/1"),
        ({"ids": [NOBODYS] * 1001}, "10015", "/ids"),
        ({"ids": [NOBODYS], "all": True}, "10015", "/all"),
    ],
)
async def test_a_wrong_list_of_ids_is_named(one: Caller, said: dict[str, Any], code: str, place: str) -> None:
    answer: httpx.Response = await one.post(f"{LIST}/actions/delete", json=said)

    assert answer.status_code == 422
    (mistake,) = answer.json()["errors"]
    assert (mistake["code"], mistake["source"]) == (code, {"pointer": place})
