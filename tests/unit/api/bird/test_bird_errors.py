"""Bird's two shapes of an error, for every error of our tree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.datastructures import Headers

from tests.unit.api.bird.schemas import conforms
from wavstream.api.bird.mount import credentials, json_path, refusal
from wavstream.errors import (
    BadBody,
    Conflict,
    DependencyError,
    FieldError,
    Forbidden,
    InternalError,
    InvalidFields,
    LimitReached,
    NoSuchMethod,
    NotFound,
    OperatorError,
    TooLarge,
    TooSoon,
    Unauthenticated,
    WavstreamError,
)


def answered(error: WavstreamError) -> tuple[int, dict[str, Any]]:
    response = refusal(error)
    body = json.loads(bytes(response.body))
    conforms("invalid" if response.status_code == 422 else "error", body)
    return response.status_code, body


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (BadBody("the body is not JSON"), 400, "InvalidRequest", "the body is not JSON"),
        (Unauthenticated("no key"), 401, "Unauthorized", "no key"),
        (Forbidden("the session is another app's"), 404, "NotFound", "there is no such thing"),
        (NotFound("no such call"), 404, "NotFound", "no such call"),
        (NoSuchMethod("takes GET", allow="GET"), 405, "MethodNotAllowed", "takes GET"),
        (TooLarge("too large"), 413, "ContentTooLarge", "too large"),
        (TooSoon("too many keys", retry_after_s=9), 429, "TooManyRequests", "too many keys"),
        (LimitReached("spool is full", retry_after_s=5), 503, "ServiceUnavailable", "spool is full"),
        (DependencyError("disk /secret failed"), 503, "ServiceUnavailable", DependencyError.public_text),
        (OperatorError("password of the switch"), 503, "ServiceUnavailable", OperatorError.public_text),
        (InternalError("index 7"), 500, "InternalError", InternalError.public_text),
    ],
)
def test_an_error_has_a_code_and_a_message_and_tells_no_secret(
    error: WavstreamError, status: int, code: str, message: str
) -> None:
    assert answered(error) == (status, {"code": code, "message": message})


def test_wrong_fields_are_named_by_json_path_with_all_that_is_wrong_there() -> None:
    fields = (
        FieldError("/maxLength", "must not be negative"),
        FieldError("/maxLength", "must be whole"),
        FieldError("limit", "must be at most 99"),
    )

    assert answered(InvalidFields(fields)) == (422, {
        "code": "InvalidRequest", "message": "wrong in the request: $.maxLength, $.limit",
        "details": {"$.maxLength": ["must not be negative", "must be whole"], "$.limit": ["must be at most 99"]},
    })  # fmt: skip


def test_a_state_that_does_not_allow_a_command_is_a_wrong_status() -> None:
    status, body = answered(Conflict("the recording is available: it cannot be paused", state="available"))

    assert status == 422
    assert body["details"] == {"$.status": ["the recording is available: it cannot be paused"]}


@pytest.mark.parametrize(
    ("pointer", "path"),
    [
        ("", "$"),
        ("/maxLength", "$.maxLength"),
        ("/a/b", "$.a.b"),
        ("limit", "$.limit"),
        ("cursor", "$.pageToken"),
        ("/session_id", "$.callId"),
        ("/a~1b", "$['a/b']"),
        ("/~0", "$['~']"),
        ("/", "$['']"),
        ("/it's", "$['it\\'s']"),
        ("/0", "$['0']"),
        ("/\ud800", "$['\\\\ud800']"),
    ],
)
def test_a_pointer_of_ours_becomes_a_json_path(pointer: str, path: str) -> None:
    assert json_path(pointer) == path


def test_half_a_surrogate_pair_in_a_field_is_answered_like_any_other() -> None:
    assert answered(InvalidFields((FieldError("/\ud800", "\udfff"),)))[0] == 422


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("AccessKey sixteen", "sixteen"),
        ("accesskey  sixteen ", "sixteen"),
        ("Bearer sixteen", None),
        ("AccessKey", None),
        ("AccessKey ", None),
        ("", None),
    ],
)
def test_the_key_is_that_of_the_scheme_access_key_alone(header: str, key: str | None) -> None:
    assert credentials(Headers({"authorization": header})) == (key, None)
