"""Documents with mistakes: each is told by its name and its place, and nothing of such a document is run."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from tests.unit.api.fakes import START
from tests.unit.api.signalwire.swml.conftest import Swml
from wavstream.api.signalwire.swml.document import MAX_ERRORS, MAX_STEPS, read_program
from wavstream.api.signalwire.swml.player import our_link
from wavstream.api.signalwire.swml.verbs import MAX_SOUNDS, Rules
from wavstream.errors import FieldError, InvalidFields
from wavstream.model.options import PauseBehavior
from wavstream.storage.links import LinkKey, LinkKeys, PublicUrls
from wavstream.webhooks.target import check_url

VARIABLES = (
    "there are record_call_url, record_call_result, record_control_id, record_url, record_result, "
    "stop_record_call_result"
)
KEY = LinkKey("k1", b"s" * 32, START)
VERBS = "accepted: record_call, stop_record_call, stop_call_record, record, play"


async def mistakes(swml: Swml, document: Any) -> list[tuple[str | None, str, str]]:
    """Return what the answer says is wrong: (attribute, code, message); nothing must have begun."""
    answer = await swml.post(document)
    assert answer.status_code == 422, answer.text
    assert swml.commands.recordings == {}
    errors = answer.json()["errors"]
    assert all(error["type"] == "validation_error" and error["url"] for error in errors)
    return [(error["attribute"], error["code"], error["message"]) for error in errors]


RULES = Rules(
    check_status_url=lambda url: check_url(url, allow_http=False, allow_localhost=False),
    check_recording_url=partial(our_link, PublicUrls(LinkKeys((KEY,)), "https://rec.example.com")),
)


def wrong(document: Any) -> tuple[FieldError, ...]:
    """Return what is wrong with a document."""
    with pytest.raises(InvalidFields) as refused:
        read_program(json.dumps(document).encode(), "application/json", RULES)
    return refused.value.fields


async def test_every_mistake_of_a_document_is_told_with_its_line_and_column(swml: Swml) -> None:
    document = """\
version: 2.0.0
title: mine
sections:
  main:
    - record_call:
        bepp: true
        format: mp4
        direction: in
        terminators: 5
        stereo: maybe
        input_sensitivity: 100.5
    - play:
        urls: [ring:us, 'silence:ten', 'https://elsewhere.example/a.wav']
    - hangup
    - transfer: {dest: other}
    - stop_record_call: {control_id: ${nothing}}
  other:
    - play: say:hello
"""
    document = document.replace("${nothing}", "'${nothing}'")

    assert await mistakes(swml, document) == [
        ("title", "invalid_parameter", "title is not part of a document, at line 2, column 1"),
        ("version", "invalid_parameter", "version must be 1.0.0, at line 1, column 1"),
        ("sections.other", "invalid_parameter",
         "sections.other is not part of what is run: there is only main, at line 17, column 3"),
        ("sections.main.0.record_call.bepp", "invalid_parameter",
         "sections.main.0.record_call.bepp is not a parameter of record_call here, at line 6, column 9"),
        ("sections.main.0.record_call.format", "invalid_parameter",
         "sections.main.0.record_call.format mp4 is not made here; accepted: mp3, wav, at line 7, column 9"),
        ("sections.main.0.record_call.direction", "invalid_parameter",
         "sections.main.0.record_call.direction accepted: speak, listen, both, at line 8, column 9"),
        ("sections.main.0.record_call.terminators", "invalid_parameter",
         "sections.main.0.record_call.terminators must be text, at line 9, column 9"),
        ("sections.main.0.record_call.stereo", "invalid_parameter",
         "sections.main.0.record_call.stereo must be true or false, at line 10, column 9"),
        ("sections.main.0.record_call.input_sensitivity", "invalid_parameter",
         "sections.main.0.record_call.input_sensitivity must be less than or equal to 100, at line 11, column 9"),
        ("sections.main.1.play.urls.0", "invalid_parameter",
         "sections.main.1.play.urls.0 ring tones are not played, at line 13, column 16"),
        ("sections.main.1.play.urls.1", "invalid_parameter",
         "sections.main.1.play.urls.1 must be silence: and seconds, 0 to 14400, at line 13, column 25"),
        ("sections.main.1.play.urls.2", "invalid_parameter",
         "sections.main.1.play.urls.2 is not the URL of a recording of this server: such begin with "
         "https://rec.example.com/files/, at line 13, column 40"),
        ("sections.main.2", "invalid_parameter",
         f"sections.main.2 hangup is not a verb that is run here; {VERBS}, at line 14, column 7"),
        ("sections.main.3.transfer", "invalid_parameter",
         f"sections.main.3.transfer transfer is not a verb that is run here; {VERBS}, at line 15, column 7"),
        ("sections.main.4.stop_record_call.control_id", "invalid_parameter",
         f"sections.main.4.stop_record_call.control_id nothing is not a variable; {VARIABLES}, at line 16, column 26"),
    ]  # fmt: skip


async def test_in_json_a_mistake_is_told_with_its_pointer(swml: Swml) -> None:
    document = {"sections": {"main": [{"record_call": {"be/ep": True}}]}}

    assert await mistakes(swml, document) == [
        (
            "sections.main.0.record_call.be/ep",
            "invalid_parameter",
            "sections.main.0.record_call.be/ep is not a parameter of record_call here, "
            "at /sections/main/0/record_call/be~1ep",
        )
    ]


@pytest.mark.parametrize(
    ("document", "pointer", "kind", "what"),
    [
        ([], "", "invalid", "must be an object with sections"),
        ("text", "", "invalid", "must be an object with sections"),
        ({}, "/sections", "missing", "is missing"),
        ({"version": "1.0.0"}, "/sections", "missing", "is missing"),
        ({"sections": []}, "/sections", "invalid", "must be an object with the section main"),
        ({"sections": {}}, "/sections/main", "missing", "is missing"),
        ({"sections": {"main": {}}}, "/sections/main", "invalid", "must be a list of steps"),
        ({"sections": {"main": []}}, "/sections/main", "invalid", "must have 1 to 100 steps; it has 0"),
        (
            {"sections": {"main": ["record_call"] * (MAX_STEPS + 1)}},
            "/sections/main",
            "invalid",
            "must have 1 to 100 steps; it has 101",
        ),
    ],
)
def test_what_is_no_document_is_refused(document: Any, pointer: str, kind: str, what: str) -> None:
    (error,) = wrong(document)

    assert (error.pointer, error.kind) == (pointer, kind)
    assert error.detail.startswith(what)


@pytest.mark.parametrize(
    ("step", "place", "what"),
    [
        (5, "", "must be a verb with its parameters, one in each step"),
        ({}, "", "must be a verb with its parameters, one in each step"),
        ({"play": "silence:1", "record": {}}, "", "must be a verb with its parameters, one in each step"),
        ({"record_call": []}, "/record_call", "must be an object with the parameters of record_call"),
        ({"stop_record_call": "rec-1"}, "/stop_record_call", "must be an object with the parameters of"),
        ({"record": {"control_id": "x"}}, "/record/control_id", "is not a parameter of record here"),
        ({"record": {"direction": "both"}}, "/record/direction", "accepted: speak, listen"),
        ({"record_call": {"beep": None}}, "/record_call/beep", "must be true or false"),
        ({"record_call": {"beep": "true"}}, "/record_call/beep", "must be true or false"),
        ({"record_call": {"beep": 1}}, "/record_call/beep", "must be true or false"),
        ({"record_call": {"max_length": True}}, "/record_call/max_length", "must be a number"),
        ({"record_call": {"max_length": -1}}, "/record_call/max_length", "must be greater than or equal to 0"),
        ({"record_call": {"initial_timeout": 0.05}}, "/record_call/initial_timeout", "must be 0, or at least 0.1"),
        ({"record_call": {"terminators": "##"}}, "/record_call/terminators", "must be digits of 0-9 * # A-D"),
        ({"record_call": {"control_id": ""}}, "/record_call/control_id", "must have at least 1 character"),
        ({"record_call": {"control_id": "a\nb"}}, "/record_call/control_id", "must be printable characters"),
        ({"record_call": {"control_id": 5}}, "/record_call/control_id", "must be text"),
        ({"record_call": {"status_url": "http://127.0.0.1/"}}, "/record_call/status_url", ""),
        ({"record_call": {"status_url": "ftp://a.example"}}, "/record_call/status_url", ""),
        ({"record_call": {"format": "${record_call_url}"}}, "/record_call/format", "accepted: wav, mp3"),
        ({"record_call": {"stereo": "${record_url} x"}}, "/record_call/stereo", "must be true or false"),
        ({"record_call": {"stereo": "%{stereo}"}}, "/record_call/stereo", f"stereo is not a variable; {VARIABLES}"),
        ({"play": None}, "/play", "must have either url or urls"),
        ("play", "", "must have either url or urls"),
        ({"play": {}}, "/play", "must have either url or urls"),
        ({"play": {"url": "silence:1", "urls": ["silence:1"]}}, "/play", "must have either url or urls"),
        ({"play": []}, "/play", "must have at least 1 item"),
        ({"play": {"urls": "silence:1"}}, "/play/urls", "must be a list"),
        ({"play": ["silence:0"] * (MAX_SOUNDS + 1)}, "/play", "must have at most 100 items"),
        ({"play": {"url": ["silence:1"]}}, "/play/url", "must be text"),
        ({"play": {"url": "silence:-1"}}, "/play/url", "must be silence: and seconds, 0 to 14400"),
        ({"play": {"url": "silence:1e3"}}, "/play/url", "must be silence: and seconds, 0 to 14400"),
        ({"play": {"url": "silence:14401"}}, "/play/url", "must be silence: and seconds, 0 to 14400"),
        ({"play": {"url": "say: "}}, "/play/url", "must be say: and a text of 1 to 5000 characters"),
        ({"play": {"url": "say:" + "a" * 5_001}}, "/play/url", "must be say: and a text of 1 to 5000 characters"),
        ({"play": {"url": "hello"}}, "/play/url", "must be silence:<seconds>, say:<text> or the URL of a recording"),
        ({"play": {"url": "file:///etc/passwd"}}, "/play/url", "must be silence:<seconds>, say:<text> or the URL"),
        ({"play": {"url": "http://${record_url}"}}, "/play/url", "is not the URL of a recording of this server"),
        ({"play": {"url": "ring:${record_url}"}}, "/play/url", "ring tones are not played"),
        ({"play": [{"say": 5}]}, "/play/0", "must be text"),
        ({"play": [{"silence": True}]}, "/play/0", "must be text"),
        ({"play": [{"ring": "us"}]}, "/play/0", "must be text"),
        ({"play": {"url": "silence:1", "volume": 41}}, "/play/volume", "must be less than or equal to 40"),
        ({"play": {"url": "silence:1", "say_voice": "x"}}, "/play/say_voice", "is not a parameter of play here"),
        ({"play": {"url": "silence:1", "say_language": "../x"}}, "/play/say_language", "match pattern"),
        ({"play": {"url": "https://rec.example.com/files/a/k1.x/b.wav"}}, "/play/url", "its signature is wrong"),
        ({"play": {"url": "https://rec.example.com.evil/files/"}}, "/play/url", "is not the URL of a recording of"),
        ({"play": {"url": "https://rec.example.com@evil/files/"}}, "/play/url", "is not the URL of a recording of"),
    ],
)
def test_a_wrong_step_is_told_by_its_place(step: Any, place: str, what: str) -> None:
    (error,) = wrong({"sections": {"main": ["record_call", step]}})

    pointer = f"/sections/main/1{place}"
    assert error.pointer == pointer
    assert what in error.detail
    assert error.detail.endswith(f", at {pointer}")


async def test_a_name_that_is_there_twice_is_refused(swml: Swml) -> None:
    document = "sections:\n  main:\n    - record_call:\n        beep: true\n        beep: false\n"

    ((attribute, _, message),) = await mistakes(swml, document)

    assert attribute == "sections.main.0.record_call.beep"
    assert message.endswith("beep is there twice, at line 5, column 9")


def test_of_many_mistakes_a_hundred_are_told_and_the_rest_counted() -> None:
    found = wrong({"sections": {"main": [{"record_call": {f"p{number}": 1 for number in range(150)}}]}})

    assert len(found) == MAX_ERRORS + 1
    assert found[-1].detail == "has 50 more mistakes"


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"{", {"Content-Type": "application/json"}, 400, "The body is not JSON: "),
        (b"a: [", {"Content-Type": "application/yaml"}, 400, "The body is not YAML: "),
        (b"a: &a b", {"Content-Type": "application/yaml"}, 400, "Anchors and aliases (& and *) are not taken"),
        (b"[" * 10_000, {"Content-Type": "application/json"}, 400, "The body is nested more than 32 deep"),
        (b"[" * 10_000, {"Content-Type": "application/yaml"}, 400, "The body is "),
        (b"\xff", {"Content-Type": "application/yaml"}, 400, "The body is not UTF-8"),
        (b"", {"Content-Type": "application/yaml"}, 400, "The body is empty"),
        (b"{}", {}, 400, "The document must be sent with Content-Type"),
        (b"{}", {"Content-Type": "text/plain"}, 400, "The document must be sent with Content-Type"),
        (b" " * 20_001, {"Content-Type": "application/yaml"}, 413, "must not be larger than 20000 bytes"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_signalwires_shape(
    swml: Swml, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    answer = await swml.client.post("/swml/calls/any", content=body, headers=headers)

    assert answer.status_code == status
    assert {*answer.json()} == {"error", "message"}
    assert message in answer.json()["message"]


async def test_a_document_at_all_bounds_is_run(swml: Swml) -> None:
    steps: list[Any] = [{"play": ["silence:0"] * MAX_SOUNDS}] * (MAX_STEPS - 1)
    text = json.dumps({"version": "1.0.0", "sections": {"main": ["record_call", *steps[:10]]}})

    run = await swml.run(text)

    assert run["status"] == "completed"
    assert swml.commands.only.options.pause_behavior is PauseBehavior.SKIP
