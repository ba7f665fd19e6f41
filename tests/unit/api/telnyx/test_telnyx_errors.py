"""Every refusal has the vendor's shape: keys, bodies that cannot be read, addresses, and what the core cannot do."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.unit.api.fakes import Unhappy
from tests.unit.api.telnyx.conftest import CALL, KEYS, START, Caller, Calls, Telnyx
from wavstream.api.telnyx.refusals import TITLES, refusal
from wavstream.errors import (
    BadBody,
    BadParameter,
    Conflict,
    DependencyError,
    Forbidden,
    InternalError,
    LimitReached,
    NoSuchMethod,
    NotFound,
    OperatorError,
    TooLarge,
    TooSoon,
    Unauthenticated,
    WavstreamError,
)

RECORD = "/v2/calls/call-77/actions/record_start"
PATHS = ("/v2/recordings", "/v2/recordings/x", "/v2/public_key", "/v2/webhook_deliveries", "/v2/nothing", "/v2/")


def only_mistake(answer: httpx.Response) -> dict[str, Any]:
    """Return the one entry of ``errors``, which has the form of all."""
    assert answer.headers["content-type"] == "application/json"
    (mistake,) = answer.json()["errors"]
    assert mistake["title"] == TITLES[mistake["code"]]
    assert {"code", "title", "detail"} <= {*mistake} <= {"code", "title", "detail", "source"}
    return dict(mistake)


async def test_without_the_right_key_nothing_is_told(telnyx: Telnyx) -> None:
    key, stranger = KEYS["shop"], telnyx.client(None)
    wrong = ("", "Bearer", "Bearer ", "Bearer wrong", f"Basic {key}", key, f"Bearer  x{key}", f"AccessKey {key}")

    for header in (None, *wrong):
        headers = {} if header is None else {"Authorization": header}
        asked = [await stranger.get(path, headers=headers) for path in PATHS]
        asked.append(await stranger.post(RECORD, content=b"{", headers=headers))
        for answer in asked:
            assert (answer.status_code, only_mistake(answer)["code"]) == (401, "10009"), header
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_scheme_of_a_key_is_in_any_case(telnyx: Telnyx) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        header = {"Authorization": f"{scheme}  {KEYS['shop']} "}
        assert (await telnyx.client(None).get("/v2/recordings", headers=header)).status_code == 200


async def test_too_many_wrong_keys_have_to_wait(calls: Calls) -> None:
    calls.parts.authenticator.failures_left = 0  # type: ignore[attr-defined]

    answer = await calls.client("wrong").get("/v2/recordings")

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert only_mistake(answer)["code"] == "10011"


DEEP = b'{"format": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"\xff",
        b'{"format": "\xff"}',
        b"format=wav&channels=dual",
        DEEP,
        b'{"max_length": ' + b"9" * 5000 + b"}",
    ],
)
async def test_a_body_that_is_not_json_is_a_bad_request(calls: Calls, one: Caller, body: bytes) -> None:
    calls.commands.begin_call("call-77")

    answer = await one.post(RECORD, content=body, headers={"Content-Type": "application/json"})

    # Nothing at all is no broken JSON, but a body that must be there and is not.
    assert answer.status_code == (400 if body else 422)
    assert only_mistake(answer)["code"] == ("10015" if body else "10004")
    assert len(only_mistake(answer)["detail"]) > 20
    assert calls.commands.rows == {}


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"7", b"null", b"true", b"[{}]"])
async def test_a_body_that_is_no_object_is_refused(calls: Calls, one: Caller, body: bytes) -> None:
    calls.commands.begin_call("call-77")

    answer = await one.post(RECORD, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert "source" not in only_mistake(answer)
    assert calls.commands.rows == {}


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "audio/wav"]
)
async def test_a_body_of_another_type_is_refused(calls: Calls, one: Caller, media_type: str) -> None:
    calls.commands.begin_call("call-77")

    answer = await one.post(RECORD, content=json.dumps(START), headers={"Content-Type": media_type})

    assert answer.status_code == 422
    assert "Content-Type: application/json" in only_mistake(answer)["detail"]
    assert calls.commands.rows == {}


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_and_ends_the_connection(
    calls: Calls, one: Caller, announced: bool
) -> None:
    calls.commands.begin_call("call-77")

    async def pieces() -> Any:
        for _ in range(66):
            yield b" " * 1024

    content = b" " * 70_000 if announced else pieces()
    answer = await one.post(RECORD, content=content, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert only_mistake(answer)["code"] == "10015"


@pytest.mark.parametrize("name", ["\ud800", "a/b~c", "ä", "x" * 1000, ""])
async def test_a_field_of_any_name_is_named(calls: Calls, one: Caller, name: str) -> None:
    calls.commands.begin_call("call-77")

    answer = await one.post(
        RECORD, content=json.dumps({**START, name: 1}), headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == 422
    assert only_mistake(answer)["code"] == "10015"
    assert calls.commands.rows == {}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/",
        "/v2/nothing",
        "/v2/recordings/",
        "/v2/recordings/a/b",
        "/v2/calls",
        "/v2/calls/call-77",
        "/v2/calls/call-77/actions/record_begin",
        "/v2/calls/call-77/actions/record_start/",
        "/v2/recording_transcriptions/x/y",
        "/v2/public_key/x",
    ],
)
async def test_an_address_that_does_not_exist_is_not_found(one: Caller, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await one.request(method, path)
        assert (answer.status_code, only_mistake(answer)["code"]) == (404, "10005")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", RECORD, "POST"),
        ("PUT", RECORD, "POST"),
        ("POST", "/v2/recordings", "GET"),
        ("PATCH", "/v2/recordings/x", "DELETE, GET"),
        ("GET", "/v2/recordings/actions/delete", "POST"),
        ("POST", "/v2/public_key", "GET"),
    ],
)
async def test_a_method_that_an_address_does_not_take_is_refused_with_those_that_it_does(
    one: Caller, method: str, path: str, allowed: str
) -> None:
    answer = await one.request(method, path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert only_mistake(answer)["code"] == "10015"


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (NotFound("no such thing"), 404, "10005", {}),
        (Forbidden("not yours"), 403, "10010", {}),
        (Unauthenticated("send a key"), 401, "10009", {"www-authenticate": 'Bearer realm="wavstream"'}),
        (Conflict("it has ended", state="available"), 422, "10015", {}),
        (BadBody("the body is not JSON"), 400, "10015", {}),
        (TooLarge("the body is too large"), 413, "10015", {}),
        (NoSuchMethod("this address takes GET", allow="GET"), 405, "10015", {}),
        (BadParameter("rate", "is wrong"), 400, "10015", {}),
        (LimitReached("the disk is full", retry_after_s=60), 503, "10007", {}),
        (TooSoon("too many wrong keys", retry_after_s=30), 429, "10011", {}),
        (OperatorError("the folder cannot be written"), 503, "10007", {"x-should-retry": "false"}),
        (DependencyError("the database failed"), 503, "10007", {}),
        (InternalError("a bug"), 500, "10007", {}),
        (Unhappy("a bug"), 500, "10007", {}),
    ],
)
def test_every_error_of_the_tree_has_a_status_and_a_code_and_none_is_409(
    error: WavstreamError, status: int, code: str, headers: dict[str, str]
) -> None:
    answer = refusal(error)
    (mistake,) = json.loads(bytes(answer.body))["errors"]

    assert (answer.status_code, mistake["code"], mistake["title"]) == (status, code, TITLES[mistake["code"]])
    assert {name: answer.headers[name] for name in headers} == headers
    assert ("x-should-retry" in answer.headers) == ("x-should-retry" in headers)
    assert mistake["detail"].endswith(".")
    assert mistake["detail"][0].isupper()
    if status >= 500 and not isinstance(error, LimitReached):
        assert str(error) not in mistake["detail"].lower()  # the log's alone


async def test_what_we_did_wrong_is_500_in_the_same_shape(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)
    calls.commands.failure = ZeroDivisionError("a bug")

    answer = await one.act("record_start", **START)

    assert (answer.status_code, only_mistake(answer)["code"]) == (500, "10007")
