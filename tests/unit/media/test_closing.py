from __future__ import annotations

import pytest

from wavstream.errors import (
    BadParameter,
    BadPayload,
    Conflict,
    DependencyError,
    Forbidden,
    InternalError,
    LimitReached,
    MediaError,
    NotFound,
    OperatorError,
    Unauthenticated,
)
from wavstream.media.closing import closing_for, fitting_reason, is_hang_up


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadPayload("payload", "half a sample"), 1007),
        (BadParameter("rate", "too low"), 1008),
        (MediaError("seq", "backwards"), 1008),
        (NotFound("gone"), 1008),
        (Forbidden("not yours"), 1008),
        (Unauthenticated("who"), 1008),
        (Conflict("taken", state="live"), 1008),
        (LimitReached("full", retry_after_s=1), 1013),
    ],
)
def test_an_error_of_the_peer_has_its_code_and_says_what_to_change(error: Exception, code: int) -> None:
    assert closing_for(error) == (code, str(error), False)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DependencyError("disk"), 1013),
        (OperatorError("setting"), 1011),
        (InternalError("bug"), 1011),
        (KeyError("k"), 1011),
    ],
)
def test_an_error_of_ours_is_to_be_logged_and_keeps_its_details(error: Exception, code: int) -> None:
    closing = closing_for(error)
    assert (closing.code, closing.ours) == (code, True)
    assert str(error) not in closing.reason


@pytest.mark.parametrize("code", [None, *range(1000, 1016), 3000, 3999, 4000, 4999])
def test_a_peer_hangs_up_with_1000_or_without_a_code_and_is_lost_with_any_other(code: int | None) -> None:
    assert is_hang_up(code, by_peer=True) is (code in (1000, 1005))


@pytest.mark.parametrize("code", [None, 1000, 1001, 1008, 1011, 1012, 1013])
def test_a_stream_that_we_end_because_the_call_is_over_is_not_waited_for(code: int | None) -> None:
    assert is_hang_up(code, by_peer=False) is (code in (1000, 1001))


@pytest.mark.parametrize("text", ["", "short", "x" * 200, "ä" * 100, "x" + "€" * 60, "😀" * 40, "bad \ud800 half"])
def test_a_reason_fits_a_close_frame_and_is_whole_characters(text: str) -> None:
    reason = fitting_reason(text)
    assert len(reason.encode()) <= 123
    assert text.encode("utf-8", "replace").decode().startswith(reason)
