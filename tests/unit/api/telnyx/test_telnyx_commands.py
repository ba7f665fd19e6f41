"""Telnyx's commands to a call: what they do, to which recordings, and that none is done twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.api.telnyx.conftest import CALL, IDS, START, Caller, Calls, recording
from wavstream.api.facade import FacadeRules
from wavstream.errors import (
    Conflict,
    DependencyError,
    FieldError,
    InvalidFields,
    LimitReached,
    NotFound,
    OperatorError,
)
from wavstream.model.ids import as_uuid, from_uuid, new_id
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Recording, Status

OK = {"data": {"result": "ok"}}
UNKNOWN_CALL = {
    "code": "90015",
    "title": "Invalid Call Control ID",
    "detail": "The call_control_id provided was not valid: no such call is live. Stream it, or announce it, first.",
    "source": {"pointer": "/call_control_id"},
}
ENDED_CALL = {
    "code": "90018",
    "title": "Call has already ended",
    "detail": "This call is no longer active and can't receive commands.",
}
ACTIONS = ("record_stop", "record_pause", "record_resume")


def started(calls: Calls) -> Recording:
    """Return the only recording that there is."""
    (row,) = calls.commands.rows.values()
    return row


# ---- what a command does ---------------------------------------------------------------------------------------------


async def test_a_recording_is_started_paused_resumed_and_stopped(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)

    recording_id = await one.start()

    assert recording_id == as_uuid(started(calls).id)
    assert calls.commands.statuses() == ["ongoing"]
    for action, status in (("record_pause", "paused"), ("record_resume", "ongoing"), ("record_stop", "available")):
        answer = await one.act(action)
        assert (answer.status_code, answer.json()) == (200, OK)
        assert calls.commands.statuses() == [status]
    assert ("pause", started(calls).id, PauseBehavior.SKIP) in calls.commands.asked


async def test_a_start_says_who_asked_and_its_command_id_is_that_of_the_recording(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)

    await one.start(command_id="c-1", transcription=True, transcription_engine="B", redaction=["pii"])

    row = started(calls)
    assert row.origin == Origin(
        api="telnyx", command="record_start", said={"transcription_engine": "B", "redaction": ["pii"]}
    )
    assert row.request_id == "c-1"


async def test_lasting_links_are_noted_with_the_recording_where_the_server_gives_them(calls: Calls) -> None:
    calls.commands.begin_call(CALL)

    await calls.client(rules=FacadeRules(public_links=True)).start()

    assert started(calls).origin.said == {"public_links": True}


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
async def test_the_body_of_all_commands_but_the_start_may_be_left_out(calls: Calls, one: Caller, body: bytes) -> None:
    calls.commands.begin_call("call-77")
    await one.start("call-77")

    for action in ("record_pause", "record_resume", "record_stop"):
        headers = {"Content-Type": "application/json"} if body else {}
        answer = await one.post(f"/v2/calls/call-77/actions/{action}", content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (200, OK)


@pytest.mark.parametrize(
    "call", ["v3:abc", "v3:a/b", "a/actions/record_stop", "v3:ä b+c%", "x" * 256, "a?b#c", "a//b/"]
)
async def test_a_call_control_id_is_any_text(calls: Calls, one: Caller, call: str) -> None:
    calls.commands.begin_call(call)

    await one.start(call)

    assert started(calls).session_id == call


@pytest.mark.parametrize(
    ("ids", "legs", "stem"),
    [
        (IDS, ("a", "b"), IDS["call_leg_id"]),
        ({}, ("a", "b"), "a"),
        ({}, (), "v3-MdI91X4l-WFEs7Ig"),
        ({"call_leg_id": "../../etc/passwd\x7f"}, (), "etc-passwd"),
        ({"call_leg_id": "звонок-77"}, (), "звонок-77"),
        ({"call_leg_id": "l" * 50}, ("a",), "a"),
        ({"call_leg_id": "l" * 50}, (), "v3-MdI91X4l-WFEs7Ig"),
        ({"call_leg_id": ""}, ("leg/one",), "leg-one"),
    ],
)
async def test_a_file_is_named_after_the_leg_unless_the_caller_names_it(
    calls: Calls, one: Caller, ids: dict[str, str], legs: tuple[str, ...], stem: str
) -> None:
    calls.commands.begin_call(CALL, legs=legs, ids=ids)

    await one.start()

    assert started(calls).file_name == f"{stem}-1793527200.wav"


async def test_a_file_of_a_call_that_is_waited_for_is_named_after_the_call(calls: Calls) -> None:
    await calls.client(rules=FacadeRules(wait_for_calls=True)).start("v3:soon")

    assert started(calls).file_name == "v3-soon-1793527200.wav"


async def test_a_file_may_be_named_by_the_caller(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL, ids=IDS)

    await one.start(custom_file_name="Größe 1")

    assert started(calls).file_name == "Größe 1-1793527200.wav"


# ---- which recordings ------------------------------------------------------------------------------------------------


async def test_a_call_may_have_several_recordings_and_a_command_without_an_id_is_for_all(
    calls: Calls, one: Caller
) -> None:
    calls.commands.begin_call(CALL)
    first, second = await one.start(), await one.start(channels="single")
    assert first != second

    assert (await one.act("record_pause")).json() == OK
    assert calls.commands.statuses() == ["paused", "paused"]
    assert (await one.act("record_resume", recording_id=second)).json() == OK
    assert calls.commands.statuses() == ["paused", "ongoing"]
    assert (await one.act("record_stop", recording_id=first.upper())).json() == OK
    assert calls.commands.statuses() == ["available", "ongoing"]
    assert (await one.act("record_stop")).json() == OK
    assert calls.commands.statuses() == ["available", "available"]


async def test_a_command_without_an_id_leaves_alone_what_another_api_started(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)
    ours = calls.commands.put(recording(Status.ONGOING, app_id="one", origin=Origin()))

    for action in ACTIONS:
        answer = await one.act(action)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "10015")
    assert calls.commands.statuses() == ["ongoing"]

    assert (await one.act("record_pause", recording_id=as_uuid(ours.id))).json() == OK
    assert calls.commands.statuses() == ["paused"]


async def test_pausing_what_is_paused_and_resuming_what_is_recorded_is_done_already(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)
    named: dict[str, Any] = {"recording_id": await one.start()}

    for said in ({}, named):
        for action in ("record_resume", "record_pause", "record_pause", "record_resume"):
            assert (await one.act(action, **said)).json() == OK
    assert [what for what, *_ in calls.commands.asked] == ["start", "pause", "resume", "pause", "resume"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_recording_that_is_not_of_the_call_is_not_found(calls: Calls, one: Caller, action: str) -> None:
    calls.commands.begin_call(CALL)
    calls.commands.begin_call("other")
    of_other_call = await one.start("other")
    of_other_app = calls.commands.put(recording(Status.ONGOING, app_id="two"))

    for recording_id in (of_other_call, as_uuid(of_other_app.id), as_uuid(new_id())):
        answer = await one.act(action, recording_id=recording_id)
        assert answer.status_code == 404
        (mistake,) = answer.json()["errors"]
        assert (mistake["code"], mistake["source"]) == ("10005", {"pointer": "/recording_id"})
    assert calls.commands.statuses() == ["ongoing", "ongoing"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_recording_that_has_ended_takes_no_command(calls: Calls, one: Caller, action: str) -> None:
    calls.commands.begin_call(CALL)
    recording_id = await one.start()
    await one.act("record_stop")

    answer = await one.act(action, recording_id=recording_id)

    assert answer.status_code == 422
    assert answer.json()["errors"][0] == {
        "code": "10015",
        "title": "Bad Request",
        "detail": "The recording does not run any more: it is available.",
    }


async def test_a_recording_that_waits_for_its_stream_cannot_be_paused(calls: Calls) -> None:
    waiting = calls.client(rules=FacadeRules(wait_for_calls=True))
    await waiting.start("soon")
    calls.commands.begin_call("soon")
    calls.commands.put(replace(started(calls), status=Status.ACCEPTED))

    answer = await waiting.act("record_pause", "soon")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "10015")


async def test_one_of_several_that_ends_meanwhile_does_not_keep_the_rest_from_being_stopped(
    calls: Calls, one: Caller
) -> None:
    calls.commands.begin_call(CALL)
    await one.start()
    await one.start()
    calls.commands.failure = Conflict("it has ended", state="completed")

    assert (await one.act("record_stop")).json() == OK
    assert sorted(calls.commands.statuses()) == ["available", "ongoing"]

    calls.commands.failure = Conflict("it has ended", state="completed")
    assert (await one.act("record_stop")).status_code == 422


# ---- which calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["record_start", *ACTIONS])
async def test_a_call_that_nobody_knows_or_that_is_another_apps_is_unknown(calls: Calls, action: str) -> None:
    calls.commands.begin_call("of-two", "two")
    one = calls.client()

    for call in ("nobody", "of-two", "x" * 257, "a\nb", "a\x00", ""):
        said: dict[str, Any] = START if action == "record_start" else {}
        answer = await one.act(action, call, **said)
        assert (answer.status_code, answer.json()) == (422, {"errors": [UNKNOWN_CALL]})
    assert calls.commands.rows == {}


@pytest.mark.parametrize("action", ["record_start", *ACTIONS])
async def test_a_call_that_was_recorded_and_is_over_has_ended(calls: Calls, one: Caller, action: str) -> None:
    calls.commands.begin_call(CALL)
    await one.start()
    calls.commands.end_call(CALL)

    answer = await one.act(action, **(START if action == "record_start" else {}))

    assert (answer.status_code, answer.json()) == (422, {"errors": [ENDED_CALL]})
    assert calls.commands.statuses() == ["available"]


async def test_a_call_that_is_unknown_is_waited_for_where_the_server_is_set_so(calls: Calls) -> None:
    await calls.client(rules=FacadeRules(wait_for_calls=True)).start("soon")

    assert calls.commands.statuses() == ["accepted"]


@pytest.mark.parametrize(
    ("failure", "code", "status"),
    [
        (NotFound("the media server has no channel of this session"), "90015", 422),
        (InvalidFields((FieldError("/session_id", "does not name a channel"),)), "90015", 422),
        (InvalidFields((FieldError("/format", "is not for this call"),)), "10015", 422),
        (Conflict("the session is closing", state="closing"), "10015", 422),
        (LimitReached("the disk is full", retry_after_s=60), "10007", 503),
        (DependencyError("the database failed"), "10007", 503),
        (OperatorError("the module is missing"), "10007", 503),
    ],
)
async def test_a_start_that_the_core_refuses_leaves_nothing_behind(
    calls: Calls, one: Caller, failure: Exception, code: str, status: int
) -> None:
    calls.commands.begin_call(CALL)
    calls.commands.failure = failure

    answer = await one.act("record_start", **START, command_id="c-1")

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert calls.commands.rows == {}
    await one.start(command_id="c-1")  # the id may be used again
    assert calls.commands.statuses() == ["ongoing"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_call_that_a_restart_reads_back_can_be_asked_again(calls: Calls, one: Caller, action: str) -> None:
    calls.commands.recovered.add(CALL)

    answer = await one.act(action)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


# ---- what is not done twice ------------------------------------------------------------------------------------------


async def test_a_command_id_counts_for_a_minute_and_is_answered_as_the_first_time(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)
    first = await one.start(command_id="c-1")

    calls.clock.move(seconds=60)
    assert await one.start(command_id="c-1", channels="single") == first
    assert await one.start(command_id="c-2") != first
    calls.clock.move(microseconds=1)
    assert await one.start(command_id="c-1") != first
    assert len(calls.commands.rows) == 3


async def test_a_command_id_counts_for_its_call_and_its_app(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call("a")
    calls.commands.begin_call("b")
    calls.commands.begin_call("a", "two")

    ids = {await one.start("a", command_id="c"), await one.start("b", command_id="c")}
    ids.add(await calls.client("key-two").start("a", command_id="c"))

    assert len(ids) == 3


async def test_a_command_id_is_ignored_whichever_command_comes_with_it(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)
    first = await one.start(command_id="c-1")

    assert (await one.act("record_stop", command_id="c-1")).json() == OK
    assert calls.commands.statuses() == ["ongoing"]
    assert (await one.act("record_stop", command_id="c-2")).json() == OK
    assert await one.start(command_id="c-2") == first
    assert calls.commands.statuses() == ["available"]


@pytest.mark.parametrize("action", ["record_start", *ACTIONS])
async def test_a_command_that_was_done_is_answered_again_after_the_call_has_ended(
    calls: Calls, one: Caller, action: str
) -> None:
    calls.commands.begin_call(CALL)
    await one.start()
    said: dict[str, Any] = {**(START if action == "record_start" else {}), "command_id": "c-1"}
    first = await one.act(action, **said)
    calls.commands.end_call(CALL)

    again = await one.act(action, **said)

    assert first.json() == again.json()
    assert first.status_code == again.status_code == 200


async def test_two_equal_commands_are_two_unless_the_client_says_that_it_sends_one_again(
    calls: Calls, one: Caller
) -> None:
    calls.commands.begin_call(CALL)
    first = await one.start()
    second = await one.start()
    assert first != second

    calls.clock.move(minutes=3)  # the client waits a minute for each of its tries
    assert await one.start(again=1) == second
    assert await one.start(again=2) == second
    assert await one.start(again=1, format="mp3") not in (first, second)  # its first try did not get here
    calls.clock.move(minutes=10)
    assert await one.start(again=1) not in (first, second)


async def test_a_command_id_that_comes_again_by_itself_is_known_for_longer_than_a_minute(
    calls: Calls, one: Caller
) -> None:
    calls.commands.begin_call(CALL)
    first = await one.start(command_id="c-1")
    calls.clock.move(minutes=3)

    assert await one.start(command_id="c-1", again=2) == first


@pytest.mark.parametrize("count", ["-1", "x", "", "0", "00", "²"])
async def test_a_count_of_retries_that_is_none_makes_no_retry(calls: Calls, one: Caller, count: str) -> None:
    calls.commands.begin_call("c")

    for _ in range(2):
        headers = [(b"x-stainless-retry-count", count.encode("latin-1"))]
        answer = await one.post("/v2/calls/c/actions/record_start", json=START, headers=headers)
        assert answer.status_code == 200

    assert len(calls.commands.rows) == 2


async def test_a_stop_that_comes_again_is_done_already(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)
    await one.start()
    await one.act("record_stop")

    assert (await one.act("record_stop", again=1)).json() == OK
    assert (await one.act("record_stop")).status_code == 422


async def test_a_command_whose_first_try_never_arrived_is_done_though_an_equal_one_was_before_it(
    calls: Calls, one: Caller
) -> None:
    """Pause, resume, and a pause that only its retry brings here: what is said now must not be recorded."""
    calls.commands.begin_call(CALL)
    first = await one.start()
    await one.act("record_pause")
    await one.act("record_resume")

    assert (await one.act("record_pause", again=1)).json() == OK
    assert calls.commands.statuses() == ["paused"]
    assert (await one.act("record_resume", again=1)).json() == OK
    assert calls.commands.statuses() == ["ongoing"]
    await one.act("record_stop")
    second = await one.start(again=1)
    assert second != first
    assert (await one.act("record_stop", again=1)).json() == OK
    assert calls.commands.statuses() == ["available", "available"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_command_may_change_the_client_state_of_what_follows(calls: Calls, one: Caller, action: str) -> None:
    calls.commands.begin_call(CALL)
    await one.start(client_state="Zmlyc3Q=")
    if action == "record_resume":
        await one.act("record_pause")

    await one.act(action, client_state="c2Vjb25k")

    assert [row.options.client_state for row in calls.commands.rows.values()] == ["c2Vjb25k"]


async def test_equal_commands_at_the_same_moment_are_done_once(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)

    with_id = await asyncio.gather(*(one.start(command_id="c-1") for _ in range(5)))
    first = await one.start()
    again = await asyncio.gather(*(one.start(again=number) for number in (1, 2, 1)))

    assert (len(set(with_id)), set(again)) == (1, {first})
    assert len(calls.commands.rows) == 2


async def test_a_command_that_was_refused_may_come_again(calls: Calls, one: Caller) -> None:
    assert (await one.act("record_start", **START, command_id="c-1")).status_code == 422
    calls.commands.begin_call(CALL)

    await one.start(command_id="c-1", again=1)

    assert calls.commands.statuses() == ["ongoing"]


# ---- what is not available -------------------------------------------------------------------------------------------


async def test_what_is_not_available_is_said_in_the_recordings_metadata(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)

    await one.start(transcription=True, transcription_language="en-US", redaction=["pci", "phi"])

    options = started(calls).options
    assert options.metadata == {
        "transcription": "not available: this server makes no transcripts",
        "redaction": "not available: this server redacts nothing",
    }
    assert (options.transcription, options.transcription_language) == (True, "en-US")


async def test_what_is_not_available_is_refused_where_the_server_is_set_so(calls: Calls) -> None:
    calls.commands.begin_call(CALL)
    strict = calls.client(rules=FacadeRules(refuse_unavailable=True))

    answer = await strict.act("record_start", **START, transcription=True, redaction=["pci"])

    assert answer.status_code == 422
    assert [(each["code"], each["source"]) for each in answer.json()["errors"]] == [
        ("10015", {"pointer": "/transcription"}),
        ("10015", {"pointer": "/redaction"}),
    ]
    assert calls.commands.rows == {}
    await strict.start(transcription_engine="B")
    assert started(calls).options.metadata == {}


async def test_no_option_of_the_apps_changes_what_the_vendor_promises(calls: Calls, one: Caller) -> None:
    """The first app has other options than the server's; only what the vendor has no word for is taken of them."""
    calls.commands.begin_call(CALL)

    await one.start()

    assert started(calls).options == RecordingOptions(sample_rate=12_000, file_name="a")


def test_ids_are_shown_with_hyphens_and_taken_in_any_spelling() -> None:
    ours = new_id()

    assert from_uuid(as_uuid(ours).upper()) == ours
