"""The commands to a call, and its recordings, over a server whose calls were announced and do not stream."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

from tests.unit.api.bird.conftest import (
    CALL,
    CHANNEL,
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
from wavstream.api.translation import NO_TRANSCRIPTS
from wavstream.model.ids import as_uuid, from_uuid, new_id
from wavstream.model.options import ChannelLayout, FileFormat
from wavstream.model.origin import Origin
from wavstream.model.recording import Recording, Status
from wavstream.settings.tables import FacadeSettings, RecordingDefaults

STARTS = ("recordings", "record")


async def row_of(bird: Bird, started: httpx.Response) -> Recording:
    assert started.status_code == 202, started.text
    row = await bird.service.catalog.recordings.get(from_uuid(started.json()["recordingId"]))
    assert row is not None
    return row


@pytest.mark.parametrize(("path", "command"), [("recordings", "recordCall"), ("record", "record")])
async def test_a_start_with_an_empty_body_is_taken_on(
    bird: Bird, shop: httpx.AsyncClient, path: str, command: str
) -> None:
    await announce(shop)
    started = await shop.post(f"{C}/{path}")

    row = await row_of(bird, started)
    said = started.json()["command"]
    assert UUID(said.pop("id")).version == 4
    assert said == {"callId": CALL, "callFlowId": None, "status": "accepted", "command": command}
    assert (row.origin, row.session_id, row.app_id) == (Origin(api="bird", command=command, said=SAID), CALL, "shop")
    assert (row.options.format, row.options.file_channels, row.options.max_length_s) == (FileFormat.MP3, 1, 0)


async def test_what_a_start_says_is_in_the_recordings_options(bird: Bird, shop: httpx.AsyncClient) -> None:
    await announce(shop)
    whole = await row_of(bird, await shop.post(f"{C}/recordings", json={"maxLength": 60, "stereo": True}))
    said = {"endKey": "*", "maxLength": 90, "timeout": 4, "beep": True}
    message = await row_of(bird, await shop.post(f"{C}/record", json=said))

    assert (whole.options.max_length_s, whole.options.channels) == (60, ChannelLayout.STEREO)
    options = message.options
    assert (options.terminators, options.max_length_s, options.end_silence_timeout_s, options.beep) == (
        "*",
        90,
        4,
        True,
    )


async def test_a_servers_own_defaults_do_not_change_what_bird_promises(tmp_path: Path) -> None:
    defaults = RecordingDefaults.model_validate(
        {"max_length_s": 5, "beep": True, "terminators": "#", "transcription": True}
    )
    async with server(tmp_path, recording=defaults) as bird:
        shop = bird.client(KEYS["shop"])
        await announce(shop)
        row = await row_of(bird, await shop.post(f"{C}/recordings"))

    options = row.options
    assert (options.max_length_s, options.beep, options.terminators, options.transcription) == (0, False, "", False)
    assert options.metadata == {}


WRONG: list[tuple[str, dict[str, Any], set[str]]] = [
    ("recordings", {"maxLength": -1, "stereo": 1, "beep": True}, {"$.maxLength", "$.stereo", "$.beep"}),
    ("recordings", {"maxLength": 14_401}, {"$.maxLength"}),
    ("recordings", {"max length": 1}, {"$['max length']"}),
    ("record", {"endKey": "##", "timeout": "5", "maxLength": 1.5}, {"$.endKey", "$.timeout", "$.maxLength"}),
    ("record", {"transcribeLocale": "tlh", "transcribe": None}, {"$.transcribeLocale", "$.transcribe"}),
]


async def test_every_wrong_field_is_named_by_its_json_path_and_nothing_starts(shop: httpx.AsyncClient) -> None:
    await announce(shop)
    for path, said, wrong in WRONG:
        refused = await shop.post(f"{C}/{path}", json=said)

        assert (refused.status_code, refused.json()["details"].keys()) == (422, wrong)
    assert (await shop.get(f"{C}/recordings")).json() == {"results": []}
    assert (await shop.get(f"{W}/recordings")).json() == {"results": []}


BODIES: list[tuple[bytes, str, tuple[int, ...]]] = [
    (b"not json", "application/json", (400,)),
    (b'{"maxLength": 1', "application/json", (400,)),
    (b"\xff\xfe", "application/json", (400,)),
    (b'{"maxLength": ' + b"9" * 5_000 + b"}", "application/json", (400,)),
    (b"[" * 30_000, "application/json", (400,)),
    (b"maxLength=1", "application/x-www-form-urlencoded", (400, 422)),
    (b'{"maxLength": 1}', "text/plain", (400, 422)),
    (b"[]", "application/json", (400, 422)),
    (b'"text"', "application/json", (400, 422)),
    (b'{"a": "' + b"x" * 70_000 + b'"}', "application/json", (413,)),
]


async def test_a_body_that_cannot_be_read_is_refused_in_birds_shape_and_nothing_starts(shop: httpx.AsyncClient) -> None:
    await announce(shop)
    for path, (body, content_type, statuses) in itertools.product(STARTS, BODIES):
        refused = await shop.post(f"{C}/{path}", content=body, headers={"Content-Type": content_type})

        assert refused.status_code in statuses
        assert len(refused.json()["message"]) > 10
    assert (await shop.get(f"{W}/recordings")).json() == {"results": []}


async def test_a_call_that_nobody_knows_is_not_found(shop: httpx.AsyncClient) -> None:
    for path in STARTS:
        refused = await shop.post(f"{C}/{path}")

        assert (refused.status_code, refused.json()["code"]) == (404, "NotFound")
    assert (await shop.get(f"{C}/recordings")).status_code == 404


async def test_a_call_that_nobody_knows_is_waited_for_where_the_settings_say_so(tmp_path: Path) -> None:
    async with server(tmp_path, facades=FacadeSettings(unknown_calls="wait")) as bird:
        shop = bird.client(KEYS["shop"])
        started = await shop.post(f"{C}/recordings")
        listed = (await shop.get(f"{C}/recordings")).json()["results"]

    assert started.status_code == 202
    assert [(each["id"], each["status"]) for each in listed] == [(started.json()["recordingId"], "accepted")]


async def test_a_call_that_is_known_to_be_in_another_place_is_not_found_there(shop: httpx.AsyncClient) -> None:
    await announce(shop, vendor_ids={"workspaceId": WORKSPACE, "channelId": CHANNEL})
    elsewhere = (
        f"{W}/channels/{OTHER_CHANNEL}/calls/{CALL}",
        f"/workspaces/{OTHER_WORKSPACE}/channels/{CHANNEL}/calls/{CALL}",
        f"/workspaces/{new_id()}/channels/{CHANNEL}/calls/{CALL}",
    )

    for path in STARTS:
        assert [(await shop.post(f"{place}/{path}")).status_code for place in elsewhere] == [404, 404, 404]
        assert (await shop.post(f"{C}/{path}")).status_code == 202


async def test_a_recording_is_found_only_where_it_is(bird: Bird, shop: httpx.AsyncClient) -> None:
    await announce(shop)
    recording_id = (await shop.post(f"{C}/recordings")).json()["recordingId"]
    elsewhere = (
        f"{W}/channels/{OTHER_CHANNEL}/calls/{CALL}",
        f"{W}/channels/{CHANNEL}/calls/{as_uuid(new_id())}",
        f"/workspaces/{OTHER_WORKSPACE}/channels/{CHANNEL}/calls/{CALL}",
    )
    for place in elsewhere:
        assert (await shop.get(f"{place}/recordings/{recording_id}")).status_code == 404
        stop = await shop.patch(f"{place}/recordings/{recording_id}", json={"status": "completed"})
        assert stop.status_code == 404
    assert (await shop.get(f"{C}/recordings/{recording_id}")).json()["status"] == "accepted"
    assert (await shop.get(f"{C}/recordings/{recording_id.replace('-', '').upper()}")).status_code == 200
    for unknown in (as_uuid(new_id()), "nothing", "%00", "a%2Fb"):
        assert (await shop.get(f"{C}/recordings/{unknown}")).status_code == 404


async def test_a_recording_that_another_api_started_is_found_in_any_channel(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    native = await bird.put(Status.ONGOING, origin=Origin())

    shown = (await shop.get(f"{C}/recordings/{as_uuid(native.id)}")).json()
    assert (shown["channelId"], shown["origin"]) == (CHANNEL, "call-command-record-call")


async def test_what_is_another_apps_does_not_exist(
    bird: Bird, shop: httpx.AsyncClient, bank: httpx.AsyncClient
) -> None:
    await announce(shop)
    recording_id = (await shop.post(f"{C}/recordings")).json()["recordingId"]

    answers = [
        await bank.post(f"{C}/recordings"),
        await bank.post(f"{C}/record"),
        await bank.get(f"{C}/recordings"),
        await bank.get(f"{C}/recordings/{recording_id}"),
        await bank.patch(f"{C}/recordings/{recording_id}", json={"status": "completed"}),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert (await shop.get(f"{C}/recordings/{recording_id}")).json()["status"] == "accepted"


EVERY_ADDRESS = [
    ("POST", f"{C}/recordings"),
    ("POST", f"{C}/record"),
    ("GET", f"{C}/recordings"),
    ("GET", f"{C}/recordings/x"),
    ("PATCH", f"{C}/recordings/x"),
    ("GET", f"{W}/recordings"),
    ("GET", f"{W}/recordings/x"),
    ("GET", f"{W}/recordings/x.mp3"),
    ("GET", f"{W}/recordings/x.wav"),
    ("DELETE", f"{W}/recordings/x"),
    ("GET", f"{W}/recording-metrics"),
    ("POST", f"{W}/recordings/x/transcriptions"),
    ("GET", f"{W}/transcriptions"),
    ("GET", f"{W}/transcriptions/x"),
    ("GET", f"{W}/transcriptions/x.srt"),
    ("GET", "/workspaces/nothing-is-here"),
]


@pytest.mark.parametrize("header", [None, "AccessKey wrong", f"Bearer {KEYS['shop']}", "AccessKey "])
async def test_without_the_right_key_nothing_is_answered_but_401(bird: Bird, header: str | None) -> None:
    for number, (method, path) in enumerate(EVERY_ADDRESS):
        # An address each: too many wrong keys from one are another answer.
        stranger = bird.client(None, address=f"192.0.2.{number}")
        refused = await stranger.request(method, path, headers={"Authorization": header} if header else {})

        assert (refused.status_code, refused.json()["code"]) == (401, "Unauthorized")
        assert refused.headers["www-authenticate"] == "AccessKey"


async def test_too_many_wrong_keys_are_429_in_birds_shape(bird: Bird) -> None:
    stranger = bird.client("wrong-key-of-a-stranger")
    statuses = [(await stranger.get(f"{W}/recordings")).status_code for _ in range(40)]

    assert set(statuses) == {401, 429}
    assert statuses == sorted(statuses)


async def test_a_call_id_is_any_text(bird: Bird, shop: httpx.AsyncClient) -> None:
    shop.event_hooks = {}  # Bird's are UUIDs
    for call_id in ("acW68-1d0b", "a/recordings/b", "Zoë ☎ 100%", "x" * 256, "a/b/"):
        await announce(shop, call_id)
        calls = f"{W}/channels/{CHANNEL}/calls/{quote(call_id, safe='')}"
        started = await shop.post(f"{calls}/recordings")
        assert started.status_code == 202, started.text
        listed = (await shop.get(f"{calls}/recordings")).json()["results"]
        assert [each["callId"] for each in listed] == [call_id]
        read = await shop.get(f"{calls}/recordings/{started.json()['recordingId']}")
        assert read.json() == listed[0]


async def test_an_id_that_cannot_be_one_is_a_wrong_field(shop: httpx.AsyncClient) -> None:
    for path, name in (
        (f"{W}/channels/{CHANNEL}/calls/{'x' * 257}", "$.callId"),
        (f"{W}/channels/{CHANNEL}/calls/", "$.callId"),
        (f"{W}/channels/%0A/calls/{CALL}", "$.channelId"),
        (f"/workspaces/{'x' * 257}/channels/{CHANNEL}/calls/{CALL}", "$.workspaceId"),
    ):
        refused = await shop.post(f"{path}/recordings")

        assert (refused.status_code, list(refused.json()["details"])) == (422, [name])


async def test_a_recording_that_waits_can_be_stopped_and_neither_paused_nor_resumed(shop: httpx.AsyncClient) -> None:
    await announce(shop)
    path = f"{C}/recordings/{(await shop.post(f'{C}/recordings')).json()['recordingId']}"
    for status in ("paused", "ongoing"):
        refused = await shop.patch(path, json={"status": status})
        assert (refused.status_code, list(refused.json()["details"])) == (422, ["$.status"])
    stopped = await shop.patch(path, json={"status": "completed"})
    assert (stopped.status_code, stopped.json()["status"], stopped.json()["endCause"]) == (202, "absent", "stopped")


async def test_a_recording_that_has_ended_takes_no_command_but_a_stop_that_is_done(
    bird: Bird, shop: httpx.AsyncClient
) -> None:
    for ended in (Status.AVAILABLE, Status.ABSENT, Status.FAILED, Status.EXPIRED, Status.DELETED):
        path = f"{C}/recordings/{as_uuid((await bird.put(ended)).id)}"
        for status in ("paused", "ongoing"):
            refused = await shop.patch(path, json={"status": status})
            assert (refused.status_code, list(refused.json()["details"])) == (422, ["$.status"])
        before = (await shop.get(path)).json()
        stopped = await shop.patch(path, json={"status": "completed"})
        assert (stopped.status_code, stopped.json()) == (202, before)


async def test_a_change_that_is_none_of_the_three_is_a_wrong_field(bird: Bird, shop: httpx.AsyncClient) -> None:
    path = f"{C}/recordings/{as_uuid((await bird.put()).id)}"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "$.status"), ({"status": "available"}, "$.status"), ({"status": None}, "$.status"),
        ({"status": "paused", "x": 1}, "$.x"),
    ]  # fmt: skip
    for said, name in wrong:
        refused = await shop.patch(path, json=said)

        assert (refused.status_code, list(refused.json()["details"])) == (422, [name])
    assert (await shop.patch(path)).status_code == 422


async def test_a_transcript_that_is_asked_for_is_reported_as_not_available(bird: Bird, shop: httpx.AsyncClient) -> None:
    await announce(shop)
    said = {"transcribe": True, "transcribeLocale": "de-DE"}
    row = await row_of(bird, await shop.post(f"{C}/record", json=said))

    assert (row.options.transcription, row.options.transcription_language) == (True, "de-DE")
    assert row.options.metadata == {"transcription": NO_TRANSCRIPTS}
    assert (await shop.get(f"{W}/recordings/{as_uuid(row.id)}")).json()["transcription"] is False


async def test_a_transcript_that_is_asked_for_is_refused_where_the_settings_say_so(tmp_path: Path) -> None:
    async with server(tmp_path, facades=FacadeSettings(unavailable="refuse")) as bird:
        shop = bird.client(KEYS["shop"])
        await announce(shop)
        refused = await shop.post(f"{C}/record", json={"transcribe": True})
        listed = await shop.get(f"{C}/recordings")
        taken = await shop.post(f"{C}/record", json={"transcribe": False, "transcribeLocale": "de-DE"})

    assert (refused.status_code, refused.json()["details"]) == (422, {"$.transcribe": [NO_TRANSCRIPTS]})
    assert listed.json() == {"results": []}
    assert taken.status_code == 202


async def test_the_recordings_of_a_call_that_run_come_in_pages(bird: Bird, shop: httpx.AsyncClient) -> None:
    await announce(shop)
    started = [(await shop.post(f"{C}/recordings")).json()["recordingId"] for _ in range(5)]
    elsewhere = f"{W}/channels/{OTHER_CHANNEL}/calls/{CALL}"
    foreign = (await shop.post(f"{elsewhere}/recordings")).json()["recordingId"]
    await shop.patch(f"{C}/recordings/{started[1]}", json={"status": "completed"})

    pages, token = [], None
    for _ in range(10):
        params: dict[str, Any] = {"limit": 2} | ({"pageToken": token} if token else {})
        page = (await shop.get(f"{C}/recordings", params=params)).json()
        pages.append([each["id"] for each in page["results"]])
        token = page.get("nextPageToken")
        if token is None:
            break
    assert [len(page) for page in pages] == [2, 2]
    assert [each for page in pages for each in page] == [started[number] for number in (4, 3, 2, 0)]
    assert [each["id"] for each in (await shop.get(f"{elsewhere}/recordings")).json()["results"]] == [foreign]


async def test_a_wrong_query_of_a_call_is_named_and_the_widest_is_taken(shop: httpx.AsyncClient) -> None:
    await announce(shop)
    for query, wrong in (
        ("limit=0", ["$.limit"]),
        ("limit=1001&pageToken=" + "x" * 8_001, ["$.limit", "$.pageToken"]),
        ("limit=ten&other=1", ["$.limit", "$.other"]),
        ("pageToken=!", ["$.pageToken"]),
    ):
        refused = await shop.get(f"{C}/recordings?{query}")

        assert (refused.status_code, sorted(refused.json()["details"])) == (422, sorted(wrong))
    assert (await shop.get(f"{C}/recordings?limit=1000")).status_code == 200


async def test_a_method_that_an_address_does_not_take_is_405_in_birds_shape(shop: httpx.AsyncClient) -> None:
    refused = await shop.put(f"{C}/recordings", content=json.dumps({}))

    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
