"""In whose words a fact is told, and which facts are told at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.recordings import a_recording
from tests.support.wanted import USUAL
from wavstream.api.registry import VOCABULARIES
from wavstream.model.app import WebhookTarget
from wavstream.model.fact import Fact, FactKind, recording_fact
from wavstream.model.ids import session_alias
from wavstream.model.origin import Origin
from wavstream.model.recording import Status

NOW = datetime(2026, 11, 1, 10, tzinfo=UTC)
HOOKS = "https://shop.example/hooks"
STATUS_URL = "https://shop.example/status"


def fact(api: str, *, status: Status = Status.AVAILABLE, url: str | None = None) -> Fact:
    recording = replace(a_recording(status=status), origin=Origin(api=api, status_url=url))
    return recording_fact(recording, url="https://rec.example/f.wav", at=NOW)


@pytest.mark.parametrize(
    ("api", "target", "words"),
    [
        ("telnyx", WebhookTarget(HOOKS), "telnyx"),
        ("gateway", WebhookTarget(HOOKS, vendor="telnyx"), "gateway"),
        ("native", WebhookTarget(HOOKS), "gateway"),
        ("native", WebhookTarget(HOOKS, vendor="telnyx"), "telnyx"),
        ("native", None, "gateway"),
    ],
)
def test_a_fact_is_told_in_the_words_of_its_api_and_else_of_its_target(
    api: str, target: WebhookTarget | None, words: str
) -> None:
    assert VOCABULARIES.name_of(fact(api), target) == words


@pytest.mark.parametrize(
    ("told", "target", "wanted"),
    [
        (fact("telnyx"), None, False),
        (fact("telnyx"), WebhookTarget(HOOKS), True),
        (fact("telnyx", status=Status.PAUSED), WebhookTarget(HOOKS), False),
        (fact("telnyx"), WebhookTarget(HOOKS, ("recording.completed",)), True),
        (fact("telnyx"), WebhookTarget(HOOKS, ("call.recording.error",)), False),
        (fact("telnyx"), WebhookTarget(HOOKS, ("call.recording.saved",)), True),
        (fact("bird"), WebhookTarget(HOOKS), False),
        (fact("bird"), WebhookTarget(HOOKS, ("voice.recording",)), True),
        (fact("signalwire"), WebhookTarget(HOOKS), False),
        (fact("signalwire"), WebhookTarget(HOOKS, ("calling.call.record",)), True),
        (fact("signalwire", url=STATUS_URL), None, True),
        (fact("signalwire", status=Status.PAUSED, url=STATUS_URL), None, True),
        (fact("signalwire", url=STATUS_URL), WebhookTarget(HOOKS, ("recording.failed",)), True),
        (fact("gateway"), WebhookTarget(HOOKS, ("call.recording.saved",)), False),
        (fact("gateway", status=Status.ABSENT), WebhookTarget(HOOKS), False),
    ],
)
def test_an_app_is_told_what_it_names_of_a_vendor_and_else_the_usual(
    told: Fact, target: WebhookTarget | None, wanted: bool
) -> None:
    assert USUAL(told, target) is wanted


def test_pauses_and_what_follows_them_are_facts_of_their_own_each_time() -> None:
    started = replace(a_recording(status=Status.ONGOING), started_at=NOW, updated_at=NOW)
    first = started.became(Status.PAUSED, NOW + timedelta(seconds=1))
    again = first.became(Status.ONGOING, NOW + timedelta(seconds=2)).became(Status.PAUSED, NOW + timedelta(seconds=3))
    told = [recording_fact(each, url="u", at=NOW) for each in (started, first, again)]
    told.append(recording_fact(again.became(Status.ONGOING, NOW + timedelta(seconds=4)), url="u", at=NOW))

    assert [each.kind for each in told] == [
        FactKind.RECORDING_STARTED,
        FactKind.RECORDING_PAUSED,
        FactKind.RECORDING_PAUSED,
        FactKind.RECORDING_RESUMED,
    ]
    assert len({each.id for each in told}) == 4
    assert recording_fact(again, url="u", at=NOW + timedelta(days=1)).id == told[2].id


def test_facts_of_a_session_wait_for_each_other_in_one_api_and_of_a_recording_in_the_others() -> None:
    one, other = fact("telnyx"), replace(fact("telnyx"), recording_id="rec-2")

    assert fact("gateway").line == fact("native").line == session_alias(fact("native").app_id, "call-77")
    assert len({fact("native").line, one.line, other.line, fact("signalwire").line}) == 4
