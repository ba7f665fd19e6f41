"""Runs: how long they are, what becomes of a step that fails, of a call that ends, and who may read them."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from tests.support.waiting import until
from tests.unit.api.signalwire.conftest import CALL
from tests.unit.api.signalwire.swml.conftest import Swml
from wavstream.api.facade import FacadeRules
from wavstream.api.signalwire.swml import runs
from wavstream.errors import DependencyError, LimitReached
from wavstream.model.recording import EndReason, Status

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LONG = {"sections": {"main": [{"play": "silence:100"}]}}


def statuses(run: dict[str, Any]) -> list[str]:
    return [step["status"] for step in run["steps"]]


# ---- the answer and the run -----------------------------------------------------------------------------------------


async def test_a_document_is_answered_at_once_with_a_run_that_can_be_read(swml: Swml) -> None:
    swml.stand_still_until(still := asyncio.Event())
    answer = await swml.post({"version": "1.0.0", "sections": {"main": [{"play": "silence:100"}]}})

    said = answer.json()
    run_id = said["run_id"]
    assert answer.status_code == 202
    assert UUID.fullmatch(run_id)
    assert said == {"run_id": run_id, "call_id": CALL, "status": "running", "url": f"/swml/runs/{run_id}"}
    run = (await swml.client.get(said["url"])).json()
    assert (run["id"], run["call_id"], run["status"], run["ended_at"], run["error"]) == (
        run_id, CALL, "running", None, None
    )  # fmt: skip
    still.set()
    assert (await swml.ended(said["url"]))["status"] == "completed"


async def test_a_run_tells_of_every_step(swml: Swml) -> None:
    run = await swml.main({"record_call": {"control_id": "rec-1"}}, {"play": "silence:1"}, "stop_call_record")

    now = "2026-11-01T10:00:00.000000Z"
    assert run["steps"] == [
        {"index": index, "verb": verb, "status": "completed", "started_at": now, "ended_at": now, "note": None}
        for index, verb in enumerate(("record_call", "play", "stop_call_record"))
    ]
    assert run["variables"] == {
        "record_call_url": swml.parts.urls.of(swml.commands.only),
        "record_control_id": "rec-1",
        "record_call_result": "success",
        "stop_record_call_result": "success",
    }


async def test_a_run_of_another_app_does_not_exist_for_this_one(swml: Swml) -> None:
    url = await swml.start(LONG)

    answer = await swml.bank.get(url)

    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    swml.commands.hang_up()


@pytest.mark.parametrize("path", ["/swml/runs/nothing", "/swml/runs/", "/swml/elsewhere"])
async def test_a_run_that_there_is_not_is_a_404(swml: Swml, path: str) -> None:
    answer = await swml.client.get(path)

    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


async def test_a_call_that_nobody_knows_is_a_404(swml: Swml) -> None:
    for client, call in ((swml.client, "another"), (swml.bank, CALL)):
        answer = await client.post(f"/swml/calls/{call}", json=LONG)

        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


async def test_a_call_with_any_id_is_found(swml: Swml) -> None:
    swml.commands.stream("a/b c")

    answer = await swml.client.post("/swml/calls/a%2Fb%20c", json={"sections": {"main": ["record_call"]}})

    assert answer.status_code == 202
    await swml.ended(answer.json()["url"])
    assert swml.commands.only.session_id == "a/b c"


async def test_a_call_that_is_waited_for_is_recorded_when_it_comes(swml: Swml) -> None:
    swml = swml.with_rules(FacadeRules(wait_for_calls=True))

    run = await swml.run({"sections": {"main": ["record_call"]}}, call="to-come")
    refused = await swml.post({"sections": {"main": ["record_call"]}}, call="x" * 257)

    assert run["status"] == "completed"
    assert swml.commands.only.session_id == "to-come"
    assert refused.status_code == 404


async def test_without_a_key_nothing_is_told(swml: Swml) -> None:
    swml.client.headers.pop("Authorization")

    for answer in (await swml.post(b"nonsense"), await swml.client.get("/swml/runs/any")):
        assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})


# ---- steps that fail ------------------------------------------------------------------------------------------------


async def test_a_step_that_fails_says_why_and_the_next_ones_are_run(swml: Swml) -> None:
    run = await swml.main({"stop_record_call": {"control_id": "none"}}, {"record_call": {}})

    assert statuses(run) == ["failed", "completed"]
    why = "no running recording of the call has the control_id none"
    assert (run["status"], run["error"]) == ("failed", f"step 0 (stop_record_call): {why}")
    assert run["steps"][0]["note"] == why
    assert run["variables"]["stop_record_call_result"] == "failed"
    assert run["variables"]["record_call_result"] == "success"


async def test_a_recording_that_cannot_be_started_is_told_by_its_result(swml: Swml) -> None:
    swml.commands.start_failure = LimitReached("as many calls are recorded as may be", retry_after_s=5)

    run = await swml.main({"record_call": {}}, {"record": {}})

    assert statuses(run) == ["failed", "failed"]
    assert run["error"] == "step 0 (record_call): as many calls are recorded as may be"
    assert run["variables"] == {"record_call_result": "failed", "record_result": "failed"}


async def test_a_handle_that_is_taken_fails_the_step(swml: Swml) -> None:
    run = await swml.main({"record_call": {"control_id": "rec-1"}}, {"record_call": {"control_id": "rec-1"}})

    assert statuses(run) == ["completed", "failed"]
    assert "the control_id rec-1: choose another, or stop that one" in run["error"]
    assert "record_call_url" not in run["variables"]  # it would be that of another recording


async def test_what_the_caller_cannot_mend_is_logged_and_not_told(swml: Swml) -> None:
    swml.commands.start_failure = DependencyError("the disk is on fire")

    with structlog.testing.capture_logs() as logs:
        run = await swml.main({"record_call": {}})

    assert run["steps"][0]["note"] == DependencyError.public_text
    assert [(each["event"], each["run_id"], each["session_id"], each["app_id"]) for each in logs] == [
        ("swml_step_failed", run["id"], CALL, "shop")
    ]


async def test_a_mistake_of_the_servers_ends_the_run_and_is_logged(swml: Swml) -> None:
    swml.commands.start_failure = ZeroDivisionError("a bug")

    with structlog.testing.capture_logs() as logs:
        run = await swml.main({"record_call": {}}, {"play": "silence:1"})

    assert statuses(run) == ["failed", "skipped"]
    assert run["error"] == "the server made a mistake; its log says more"
    assert [each["event"] for each in logs] == ["swml_run_failed"]


# ---- variables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["${record_control_id}", "%{record_control_id}", "${ vars.record_control_id }"])
async def test_a_variable_is_put_in_when_its_step_comes(swml: Swml, reference: str) -> None:
    run = await swml.main(
        {"record_call": {"control_id": "7.5"}},
        {"record_call": {"control_id": f"after-{reference}", "max_length": reference}},
    )

    assert run["status"] == "completed"
    assert run["variables"]["record_control_id"] == "after-7.5"
    first, second = swml.commands.recordings.values()
    assert (first.options.max_length_s, second.options.max_length_s) == (0, 7.5)


async def test_a_silence_may_be_as_long_as_a_variable_says(swml: Swml) -> None:
    run = await swml.main({"record_call": {"control_id": "2.5"}}, {"play": "silence:${record_control_id}"})

    assert (run["status"], swml.time.now_s) == ("completed", 2.5)


async def test_a_boolean_may_be_a_variable(swml: Swml) -> None:
    run = await swml.main(
        {"record_call": {"control_id": "true"}}, {"record_call": {"stereo": "${record_control_id}", "control_id": "b"}}
    )

    assert run["status"] == "completed"
    assert [each.options.channels for each in swml.commands.recordings.values()] == ["mono", "stereo"]


@pytest.mark.parametrize(
    ("parameter", "value", "why"),
    [
        ("beep", "perhaps", "beep must be true or false"),
        ("max_length", "-1", "max_length must be greater than or equal to 0"),
        ("input_sensitivity", "1e2", "input_sensitivity must be a number"),
        ("status_url", "ftp://shop.example", "status_url "),
        ("terminators", "no keys", "terminators must be digits of 0-9 * # A-D, each at most once"),
    ],
)
async def test_a_variable_with_a_wrong_value_fails_its_step(swml: Swml, parameter: str, value: str, why: str) -> None:
    run = await swml.main(
        {"record_call": {"control_id": value}},
        {"record_call": {parameter: "${record_control_id}", "control_id": "b"}},
    )

    assert statuses(run) == ["completed", "failed"]
    assert run["steps"][1]["note"].startswith(why)
    assert run["variables"]["record_call_result"] == "failed"
    assert len(swml.commands.recordings) == 1


async def test_a_variable_that_no_step_has_set_fails_its_step(swml: Swml) -> None:
    run = await swml.main({"play": "${record_call_url}"})

    assert run["error"] == (
        "step 0 (play): the variable record_call_url is not set: no step before this one has set it"
    )


async def test_a_document_finds_the_variables_that_the_one_before_it_on_the_call_has_set(swml: Swml) -> None:
    await swml.main({"record_call": {}}, "stop_record_call")
    swml.commands.stream("another")

    same = await swml.main({"play": "${record_call_url}"})
    other = await swml.run({"sections": {"main": [{"play": "${record_call_url}"}]}}, call="another")

    assert (same["status"], other["status"]) == ("completed", "failed")


async def test_a_document_may_stop_what_runs_beside_it(swml: Swml) -> None:
    url = await swml.start({"sections": {"main": ["record"]}})
    await until(lambda: swml.commands.recordings)
    recording = swml.commands.only

    stopped = await swml.main("stop_record_call")
    swml.commands.end_by_itself(swml.commands.only, EndReason.STOPPED)
    run = await swml.ended(url)

    assert stopped["status"] == "completed"
    assert (run["status"], run["steps"][0]["note"]) == ("completed", "the recording ended (stopped)")
    assert run["variables"]["record_url"] == swml.parts.urls.of(recording)


# ---- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.ABSENT, Status.FAILED])
async def test_a_foreground_recording_without_a_file_has_failed(swml: Swml, status: Status) -> None:
    url = await swml.start({"sections": {"main": ["record", {"play": "silence:1"}]}})
    await until(lambda: swml.commands.ends)
    swml.commands.end_by_itself(swml.commands.only, EndReason.NO_INPUT, status)

    run = await swml.ended(url)

    assert statuses(run) == ["failed", "completed"]
    assert run["steps"][0]["note"] == f"the recording has no file: it is {status} (no_input)"
    assert run["variables"]["record_result"] == "failed"


async def test_a_run_ends_with_its_call(swml: Swml) -> None:
    swml.time.at(3, swml.commands.hang_up)

    run = await swml.main({"record_call": {}}, {"play": "silence:10"}, "stop_record_call")

    assert statuses(run) == ["completed", "failed", "skipped"]
    assert (run["status"], run["error"], run["steps"][1]["note"]) == ("failed", *2 * ("the call has ended",))
    assert 3 <= swml.time.now_s < 3.5


async def test_a_hang_up_ends_a_foreground_recording_and_then_the_run(swml: Swml) -> None:
    url = await swml.start({"sections": {"main": ["record", {"play": "${record_url}"}]}})
    await until(lambda: swml.commands.ends)
    swml.commands.hang_up()
    swml.commands.end_by_itself(swml.commands.only, EndReason.HANGUP)

    run = await swml.ended(url)

    assert statuses(run) == ["completed", "skipped"]
    assert run["steps"][0]["note"] == "the recording ended (hangup)"
    assert run["error"] == "the call has ended"


@pytest.mark.parametrize("step", [{"play": "silence:100"}, "record"])
async def test_a_run_ends_when_the_server_shuts_down(swml: Swml, step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def restarting(_app_id: str, _call_id: str) -> None:
        raise LimitReached("the server is restarting: try again", retry_after_s=5)

    def shut_down() -> None:
        monkeypatch.setattr(swml.commands, "recordings_of", restarting)

    swml.time.at(3, shut_down)
    url = await swml.start({"sections": {"main": [step]}})
    if step == "record":
        await until(lambda: swml.commands.ends)
        shut_down()

    run = await swml.ended(url)

    assert (run["status"], run["error"]) == ("failed", "the server is shutting down")


async def test_a_call_that_a_restart_has_in_its_hands_is_still_there(
    swml: Swml, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recovering(_app_id: str, _call_id: str) -> None:
        raise LimitReached("A restart has the session in its hands: try again", retry_after_s=1)

    monkeypatch.setattr(swml.commands, "recordings_of", recovering)
    monkeypatch.setattr(swml.commands, "session", recovering)

    run = await swml.main({"play": "silence:1"})

    assert run["status"] == "completed"


async def test_a_run_whose_task_is_cancelled_says_so(swml: Swml) -> None:
    swml.time.at(1, lambda: next(task for task in asyncio.all_tasks() if task.get_name().startswith("swml")).cancel())

    run = await swml.main({"play": "silence:100"})

    assert (run["status"], run["error"]) == ("failed", "the server was stopped")


# ---- bounds ---------------------------------------------------------------------------------------------------------


async def test_so_many_documents_run_on_a_call_and_no_more(swml: Swml) -> None:
    swml.stand_still_until(still := asyncio.Event())
    swml.commands.stream("another")
    for _ in range(runs.MAX_RUNS_OF_CALL):
        await swml.start(LONG)

    refused = await swml.post(LONG)
    elsewhere = await swml.post(LONG, call="another")

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    assert refused.json() == {
        "error": "Too Many Requests", "message": "as many documents run on the call as may: wait for one to end"
    }  # fmt: skip
    assert elsewhere.status_code == 202
    swml.commands.hang_up()
    swml.commands.hang_up("another")
    still.set()


@pytest.mark.parametrize(("bound", "status"), [("MAX_RUNS_OF_APP", 429), ("MAX_RUNS", 503)])
async def test_so_many_documents_run_of_an_app_and_in_all(
    swml: Swml, monkeypatch: pytest.MonkeyPatch, bound: str, status: int
) -> None:
    swml.stand_still_until(still := asyncio.Event())
    monkeypatch.setattr(runs, bound, 2)
    for call in ("a", "b", "c"):
        swml.commands.stream(call)

    answers = [await swml.post(LONG, call=call) for call in ("a", "b", "c")]

    assert [answer.status_code for answer in answers] == [202, 202, status]
    for call in ("a", "b", "c"):
        swml.commands.hang_up(call)
    still.set()


async def test_a_run_is_forgotten_an_hour_after_its_end(swml: Swml) -> None:
    url = await swml.start({"sections": {"main": ["record_call"]}})
    await swml.ended(url)

    swml.commands.clock.move(minutes=60)
    kept = await swml.client.get(url)
    swml.commands.clock.move(seconds=1)
    forgotten = await swml.client.get(url)

    assert (kept.status_code, forgotten.status_code) == (200, 404)


async def test_the_newest_runs_are_remembered(swml: Swml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 2)
    ended = [(await swml.main({"play": "silence:0"}))["id"] for _ in range(4)]

    assert [(await swml.client.get(f"/swml/runs/{run_id}")).status_code for run_id in ended] == [404, 404, 200, 200]
    assert timedelta(hours=1) == runs.KEPT_FOR
