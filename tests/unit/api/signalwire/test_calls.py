"""Commands of SignalWire's calling API: what they do, what they answer, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.unit.api.signalwire.conftest import BANK, CALL, KEYS, PROJECT, SHOP, SignalWire, basic
from wavstream.errors import FieldError, InternalError, InvalidFields, LimitReached
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.recording import Recording, Status

CALLS = "/api/calling/calls"
HOOK = "https://shop.example/hooks"


async def send(client: httpx.AsyncClient, command: str, call: str = CALL, **params: Any) -> httpx.Response:
    return await client.post(CALLS, json={"id": call, "command": command, "params": params})


async def started(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await send(client, "calling.record", **params)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def attributes(answer: httpx.Response) -> list[str | None]:
    """Return what is wrong in the request, by SignalWire's answer."""
    assert answer.status_code == 422, answer.text
    return [error["attribute"] for error in answer.json()["errors"]]


def of_shop(signalwire: SignalWire, control_id: str) -> Recording:
    found = (each for each in signalwire.commands.recordings.values() if each.origin.control_id == control_id)
    return next(found)


# ---- what commands do -----------------------------------------------------------------------------------------------


async def test_a_recording_has_the_defaults_of_the_rest_api_and_none_of_the_servers(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    await started(shop)

    assert signalwire.commands.only.options == RecordingOptions().changed(
        {
            "format": "mp3",
            "channels": "mono",
            "track": "inbound",
            "initial_timeout_s": 4.0,
            "end_silence_timeout_s": 0.5,
            "max_length_s": 0,
            "terminators": "#",
            "sensitivity": 44.0,
            "beep": False,
        }
    )


@pytest.mark.parametrize("place", ["of the client", "of the specification"])
async def test_options_are_taken_where_the_client_and_where_the_specification_have_them(
    signalwire: SignalWire, shop: httpx.AsyncClient, place: str
) -> None:
    audio = {
        "format": "wav",
        "stereo": True,
        "direction": "both",
        "beep": True,
        "initial_timeout": 0,
        "end_silence_timeout": 2.5,
        "max_length": 7.25,
        "terminators": "*0",
        "input_sensitivity": 60,
    }

    await started(shop, **({"audio": audio} if place == "of the client" else {"record": {"audio": audio}}))

    assert signalwire.commands.only.options == RecordingOptions().changed(
        {
            "format": "wav",
            "channels": "stereo",
            "track": "both",
            "beep": True,
            "end_silence_timeout_s": 2.5,
            "max_length_s": 7.25,
            "terminators": "*0",
            "sensitivity": 60.0,
        }
    )


@pytest.mark.parametrize(("direction", "track"), [("speak", "inbound"), ("listen", "outbound"), ("both", "both")])
async def test_speak_is_what_the_party_says_and_listen_what_it_hears(
    signalwire: SignalWire, shop: httpx.AsyncClient, direction: str, track: str
) -> None:
    await started(shop, audio={"direction": direction})

    assert signalwire.commands.only.options.track == track


async def test_a_start_is_answered_with_the_leg_of_the_call_and_the_handle(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    signalwire.clock.move(seconds=12.34)

    leg = await started(shop, control_id="rec-1", status_url=HOOK)

    assert leg == {
        "id": CALL,
        "from": "+15550100",
        "to": "+15550199",
        "direction": "inbound",
        "status": "answered",
        "duration": 12,
        "duration_ms": 12_340,
        "billing_ms": 0,
        "source": "realtime_api",
        "type": "relay_pstn_call",
        "url": None,
        "charge": 0.0,
        "charge_details": [],
        "parent_id": None,
        "created_at": "2026-11-01T10:00:00.000000Z",
        "control_id": "rec-1",
    }
    origin = signalwire.commands.only.origin
    assert (origin.api, origin.command, origin.control_id) == ("signalwire", "calling.record", "rec-1")
    assert (origin.status_url, origin.said) == (HOOK, {"project_id": PROJECT})


async def test_a_handle_is_made_where_the_caller_gives_none(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    made = (await started(shop))["control_id"]

    assert len(made) == 36
    assert signalwire.commands.only.origin.control_id == made
    assert (await send(shop, "calling.record.stop", control_id=made)).json()["control_id"] == made


async def test_a_call_is_paused_resumed_and_stopped_by_the_handle(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    for control_id in ("one", "two"):
        await started(shop, control_id=control_id)
    statuses = []

    for command in ("calling.record.pause", "calling.record.resume", "calling.record.stop"):
        answer = await send(shop, command, control_id="one")
        assert (answer.status_code, answer.json()["control_id"]) == (200, "one")
        statuses.append(of_shop(signalwire, "one").status)

    assert statuses == [Status.PAUSED, Status.ONGOING, Status.COMPLETED]
    assert of_shop(signalwire, "two").status is Status.ONGOING


@pytest.mark.parametrize(
    ("params", "behavior"),
    [({}, "skip"), ({"behavior": "skip"}, "skip"), ({"behavior": "silence"}, "silence")],
)
async def test_a_pause_leaves_what_the_command_says_and_else_nothing(
    signalwire: SignalWire, shop: httpx.AsyncClient, params: dict[str, str], behavior: str
) -> None:
    await started(shop, control_id="one")

    await send(shop, "calling.record.pause", control_id="one", **params)

    assert signalwire.commands.only.options.pause_behavior == PauseBehavior(behavior)


async def test_what_is_so_already_may_be_commanded_again(shop: httpx.AsyncClient) -> None:
    await started(shop)

    commands = ["resume", "pause", "pause", "resume"]
    answers = [await send(shop, f"calling.record.{command}") for command in commands]

    assert [answer.status_code for answer in answers] == [200] * 4


async def test_without_a_handle_the_last_recording_that_this_api_started_is_meant(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    await started(shop, control_id="first")
    signalwire.clock.move(seconds=1)
    await started(shop, control_id="second")
    signalwire.clock.move(seconds=1)
    await signalwire.commands.start(app_id="shop", session_id=CALL, options=RecordingOptions())

    stopped = [(await send(shop, "calling.record.stop")).json().get("control_id") for _ in range(3)]

    assert stopped == ["second", "first", None]  # the native one is not meant: 404


async def test_a_call_that_is_not_live_any_more_is_answered_with_what_the_recording_knows(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    answer = await send_waiting(signalwire, "nobody-knows")

    assert answer.status_code == 200
    leg = answer.json()
    assert (leg["status"], leg["from"], leg["direction"], leg["duration"]) == ("ended", "", None, None)


async def send_waiting(signalwire: SignalWire, call: str) -> httpx.Response:
    """Start a recording on a server where recordings wait for calls that nobody knows yet."""
    rules = type(signalwire.parts.rules)(wait_for_calls=True)
    async with signalwire.client(SHOP, rules=rules) as client:
        return await send(client, "calling.record", call)


# ---- handles --------------------------------------------------------------------------------------------------------


async def test_a_second_start_with_a_handle_in_use_is_refused_and_starts_nothing(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    await started(shop, control_id="rec-1")

    refused = await send(shop, "calling.record", control_id="rec-1")

    assert attributes(refused) == ["control_id"]
    assert refused.json()["errors"][0]["code"] == "value_not_unique"
    assert len(signalwire.commands.recordings) == 1


async def test_a_handle_may_be_used_again_once_its_recording_has_ended(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    await started(shop, control_id="rec-1")
    await send(shop, "calling.record.stop", control_id="rec-1")

    await started(shop, control_id="rec-1")

    assert len(signalwire.commands.recordings) == 2


async def test_a_handle_is_of_its_call(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    signalwire.commands.stream("another-call")
    await started(shop, control_id="rec-1")

    answer = await send(shop, "calling.record", "another-call", control_id="rec-1")

    assert answer.status_code == 200


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"command": "calling.record"}, ["id"]),
        ({"id": CALL}, ["command"]),
        ({"id": CALL, "command": "calling.play"}, ["command"]),
        ({"id": CALL, "command": ["calling.record"]}, ["command"]),
        ({"id": "", "command": "dial", "params": 5, "more": 1}, ["id", "command", "params", "more"]),
        ({"id": CALL, "command": "calling.record", "params": {"node_id": "n"}}, ["node_id"]),
        ({"id": CALL, "command": "calling.record", "params": {"a/b": 1}}, ["a/b"]),
        ({"id": CALL, "command": "calling.record", "params": {"control_id": ""}}, ["control_id"]),
        ({"id": CALL, "command": "calling.record", "params": {"control_id": "a\nb"}}, ["control_id"]),
        ({"id": CALL, "command": "calling.record.stop", "params": {"behavior": "skip"}}, ["behavior"]),
        ({"id": CALL, "command": "calling.record.pause", "params": {"behavior": "mute"}}, ["behavior"]),
        ([], [None]),
        (None, [None]),
    ],
)
async def test_a_wrong_body_names_every_wrong_field(
    signalwire: SignalWire, shop: httpx.AsyncClient, body: Any, wrong: list[str | None]
) -> None:
    assert attributes(await shop.post(CALLS, json=body)) == wrong
    assert not signalwire.commands.recordings


@pytest.mark.parametrize(
    "said",
    [
        {"format": "mp4"},
        {"format": "ogg"},
        {"format": None},
        {"stereo": "yes"},
        {"stereo": 1},
        {"direction": "inbound"},
        {"beep": "true"},
        {"initial_timeout": -1},
        {"initial_timeout": 0.05},
        {"initial_timeout": "4"},
        {"end_silence_timeout": 14_401},
        {"terminators": "##"},
        {"terminators": "x"},
        {"terminators": 5},
        {"input_sensitivity": 100.1},
        {"input_sensitivity": True},
        {"max_length": -0.1},
        {"max_length": 14_400.5},
        {"track": "both"},
    ],
    ids=str,
)
async def test_a_bound_of_an_option_is_told_with_its_name_wherever_it_stands(
    signalwire: SignalWire, shop: httpx.AsyncClient, said: dict[str, Any]
) -> None:
    (name,) = said

    assert attributes(await send(shop, "calling.record", audio=said)) == [f"audio.{name}"]
    assert attributes(await send(shop, "calling.record", record={"audio": said})) == [f"record.audio.{name}"]
    assert not signalwire.commands.recordings


async def test_numbers_that_json_has_not_are_refused(shop: httpx.AsyncClient) -> None:
    body = f'{{"id": "{CALL}", "command": "calling.record", "params": {{"audio": {{"max_length": NaN}}}}}}'

    answer = await shop.post(CALLS, content=body, headers={"Content-Type": "application/json"})

    assert attributes(answer) == ["audio.max_length"]


async def test_mp4_is_refused_with_what_is_made_in_its_place(shop: httpx.AsyncClient) -> None:
    refused = await send(shop, "calling.record", audio={"format": "mp4"})

    assert refused.json() == {
        "errors": [
            {
                "type": "validation_error",
                "code": "invalid_parameter",
                "message": "audio.format mp4 is not made here; accepted: mp3, wav",
                "attribute": "audio.format",
                "url": "https://signalwire.com/docs/apis/error-codes",
            }
        ]
    }


async def test_a_missing_field_has_a_code_of_its_own(shop: httpx.AsyncClient) -> None:
    refused = await shop.post(CALLS, json={"command": "calling.record"})

    assert refused.json()["errors"][0] == {
        "type": "validation_error",
        "code": "missing_required_parameter",
        "message": "id is missing",
        "attribute": "id",
        "url": "https://signalwire.com/docs/apis/error-codes",
    }


async def test_options_in_both_places_are_refused(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    refused = await send(shop, "calling.record", audio={}, record={"audio": {}})

    assert attributes(refused) == ["record"]
    assert not signalwire.commands.recordings


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://localhost/",
        "ftp://a.example/",
        "a b",
        "",
    ],
)
async def test_a_status_url_that_webhooks_may_not_go_to_is_refused_with_all_else_that_is_wrong(
    signalwire: SignalWire, shop: httpx.AsyncClient, url: str
) -> None:
    refused = await send(shop, "calling.record", audio={"format": "ogg"}, status_url=url)

    assert attributes(refused) == ["audio.format", "status_url"]
    assert not signalwire.commands.recordings


async def test_whoever_runs_the_server_may_allow_more_urls(signalwire: SignalWire) -> None:
    signalwire.commands.stream()
    async with signalwire.client(SHOP, allow_http_webhooks=True, allow_localhost_webhooks=True) as client:
        await started(client, status_url="http://127.0.0.1:5000/hooks")

    assert signalwire.commands.only.origin.status_url == "http://127.0.0.1:5000/hooks"


@pytest.mark.parametrize("command", ["record", "record.pause", "record.resume", "record.stop"])
async def test_a_call_that_nobody_knows_or_another_app_has_is_not_found(
    signalwire: SignalWire, shop: httpx.AsyncClient, command: str
) -> None:
    signalwire.commands.stream("of-the-bank", "bank")

    for call in ("nobody-knows", "of-the-bank"):
        answer = await send(shop, f"calling.{command}", call, control_id="rec-1")
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    assert not signalwire.commands.recordings


@pytest.mark.parametrize("command", ["pause", "resume", "stop"])
async def test_a_handle_that_no_running_recording_has_is_not_found(shop: httpx.AsyncClient, command: str) -> None:
    await started(shop, control_id="rec-1")
    await send(shop, "calling.record.stop", control_id="rec-1")

    for params in ({}, {"control_id": "rec-1"}, {"control_id": "rec-2"}):
        answer = await send(shop, f"calling.record.{command}", **params)
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


async def test_a_recording_that_waits_for_the_call_cannot_be_paused(signalwire: SignalWire) -> None:
    assert (await send_waiting(signalwire, "later")).status_code == 200
    signalwire.commands.stream("later")
    async with signalwire.client(SHOP) as client:
        refused = await send(client, "calling.record.pause", "later")

    assert attributes(refused) == ["control_id"]
    assert refused.json()["errors"][0]["code"] == "cannot_process"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": SHOP["Authorization"][:-4]},
        {"Authorization": "Bearer the-key-of-the-shop-app"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ÿ"},
        {"Authorization": BANK["Authorization"].removesuffix("=")[:-2] + "AA"},
    ],
    ids=str,
)
async def test_a_wrong_or_missing_key_is_unauthorized(signalwire: SignalWire, headers: dict[str, str]) -> None:
    async with signalwire.client({}) as client:
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await client.post(CALLS, json={}, headers=encoded)

    assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="wavstream"'


async def test_a_project_that_is_not_the_apps_is_unauthorized(signalwire: SignalWire) -> None:
    signalwire.commands.stream(app_id="bank")
    statuses = []
    for project in ("the-bank", "another", PROJECT):
        async with signalwire.client(basic(project, KEYS["bank"])) as client:
            statuses.append((await send(client, "calling.record")).status_code)

    assert statuses == [200, 401, 401]


async def test_a_body_that_cannot_be_read_is_a_bad_request_that_says_why(shop: httpx.AsyncClient) -> None:
    for content in (b"{", b"\xff", b'{"id": ' + b"[" * 9_000 + b"]" * 9_000 + b"}"):
        answer = await shop.post(CALLS, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"] == "Bad Request"
        assert answer.json()["message"].startswith("The body is ")


async def test_another_content_type_is_told_apart(shop: httpx.AsyncClient) -> None:
    answer = await shop.post(CALLS, content=b"id=1", headers={"Content-Type": "application/x-www-form-urlencoded"})

    assert attributes(answer) == [None]
    assert "Content-Type: application/json" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("declared", [True, False], ids=["length declared", "in chunks"])
async def test_a_body_that_is_too_large_is_refused(shop: httpx.AsyncClient, declared: bool) -> None:
    body = b'{"id": "' + b"x" * 20_000 + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    headers = {"Content-Type": "application/json"}
    answer = await shop.post(CALLS, content=body if declared else chunks(), headers=headers)

    assert (answer.status_code, answer.json()["error"]) == (413, "Content Too Large")
    assert "20000 bytes" in answer.json()["message"]


async def test_an_address_or_method_that_does_not_exist_is_told_in_the_same_shape(shop: httpx.AsyncClient) -> None:
    for path in ("/api/calling/call", f"{CALLS}/", f"{CALLS}/1", "/api/relay/rest/phone_numbers", "/swml/none"):
        answer = await shop.post(path, json={})
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})

    answer = await shop.get(CALLS)
    assert (answer.status_code, answer.json()["error"]) == (405, "Method Not Allowed")
    assert answer.headers["Allow"] == "POST"


async def test_a_server_that_has_to_wait_says_for_how_long(signalwire: SignalWire, shop: httpx.AsyncClient) -> None:
    signalwire.commands.failure = LimitReached("a restart has the call in its hands: try again", retry_after_s=1)

    answer = await send(shop, "calling.record")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json() == {
        "error": "Service Unavailable",
        "message": "a restart has the call in its hands: try again",
    }


async def test_an_id_that_the_media_server_cannot_have_is_told_by_its_name_here(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    wrong = FieldError("/session_id", "does not name a channel of FreeSWITCH")
    signalwire.commands.failure = InvalidFields((wrong,))

    answer = await send(shop, "calling.record")

    assert attributes(answer) == ["id"]
    assert answer.json()["errors"][0]["message"] == "id does not name a channel of FreeSWITCH"


async def test_a_mistake_of_the_servers_tells_nothing_of_itself(
    signalwire: SignalWire, shop: httpx.AsyncClient
) -> None:
    signalwire.commands.failure = InternalError("the secret of the server")

    answer = await send(shop, "calling.record")

    assert (answer.status_code, answer.json()) == (500, {"error": "Internal Server Error"})
