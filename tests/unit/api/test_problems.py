from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from tests.unit.api.fakes import Unhappy
from wavstream import errors
from wavstream.api.problems import problem, problem_of


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (errors.Unauthenticated("Send a key."), 401, "Send a key."),
        (errors.Forbidden("Not yours."), 403, "Not yours."),
        (errors.NotFound("Nothing there."), 404, "Nothing there."),
        (errors.Conflict("It is paused.", state="paused"), 409, "It is paused."),
        (errors.InvalidFields((errors.FieldError("/a", "is wrong"),)), 422, "/a: is wrong"),
        (errors.LimitReached("Full.", retry_after_s=7), 503, "Full."),
        (errors.BadPayload("payload", "is odd"), 400, "payload: is odd"),
    ],
)
def test_what_the_caller_can_mend_keeps_its_text_and_is_not_logged(
    error: errors.WavstreamError, status: int, said: str
) -> None:
    with capture_logs() as logs:
        response = problem_of(error)
    body = json.loads(bytes(response.body))
    assert (response.status_code, body["status"], body["detail"]) == (status, status, said)
    assert logs == []


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (errors.DependencyError("secret"), 503, "5"),
        (errors.OperatorError("secret"), 503, None),
        (errors.InternalError("secret"), 500, None),
        (Unhappy("secret"), 500, None),
    ],
)
def test_what_the_caller_cannot_mend_is_logged_and_not_told(
    error: errors.WavstreamError, status: int, retry_after: str | None
) -> None:
    with capture_logs() as logs:
        response = problem_of(error)
    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry_after)
    assert (b"try again" in bytes(response.body)) == (retry_after is not None)
    assert b"secret" not in bytes(response.body)
    assert [line["exc_info"] for line in logs] == [error]


def test_every_leaf_of_the_callers_errors_has_its_own_answer() -> None:
    leaves = {leaf.__name__ for leaf in errors.PeerError.__subclasses__() if leaf.__module__ == errors.__name__}
    assert leaves == {
        "Unauthenticated",
        "Forbidden",
        "NotFound",
        "Conflict",
        "InvalidFields",
        "BadBody",
        "TooLarge",
        "NoSuchMethod",
        "LimitReached",
        "MediaError",
    }


def test_a_problem_has_the_members_of_the_rfc() -> None:
    response = problem(416, "The file has 4 bytes.", headers={"Content-Range": "bytes */4"}, state="x")
    assert json.loads(bytes(response.body)) == {
        "type": "about:blank",
        "title": "Range Not Satisfiable",
        "status": 416,
        "detail": "The file has 4 bytes.",
        "state": "x",
    }
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["content-range"] == "bytes */4"
