"""Which lines are written, and which are summed up."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from wavstream.media.refusals import LINES, PERIOD_S
from wavstream.service import logs
from wavstream.service.logs import Summary
from wavstream.settings import LogSettings


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Yield the standard error of a process whose logging was just set up."""
    before, stderr = structlog.get_config(), io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr(logs, "SUMMARY", Summary())
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    logs.configure(LogSettings(format="json"))
    yield stderr
    structlog.configure(**before)
    logging.getLogger("uvicorn.error").removeFilter(logs.SUMMARY)


@pytest.mark.parametrize("event", ["call_facts_left_out", "stream_events_left_out", "request_failed"])
def test_what_each_call_and_each_request_may_say_is_written_a_few_times(written: io.StringIO, event: str) -> None:
    log = structlog.get_logger()
    for number in range(1_000):
        log.error(event, number=number)
        log.error("another", number=number) if number % 100 == 0 else None
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [each["number"] for each in lines if each["event"] == event] == list(range(LINES))
    assert len([each for each in lines if each["event"] == "another"]) == 10


def test_tracebacks_of_uvicorn_are_written_a_few_times(written: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("uvicorn.error")
    for _ in range(100):
        log.error("Exception in ASGI application\n")
    for _ in range(20):
        log.error("another")
    assert len(caplog.records) == LINES + 20


def test_what_was_not_written_is_counted_when_the_period_is_over() -> None:
    now = 100.0
    summary = Summary(lambda: now)
    for _ in range(LINES + 7):
        with contextlib.suppress(structlog.DropEvent):
            summary(None, "error", {"event": "request_failed"})
    with capture_logs() as lines:
        summary.end_period()
        now += PERIOD_S
        summary.end_period()
    assert [(each["event"], each["kind"], each["count"]) for each in lines] == [
        ("refusals_summed_up", "request_failed", 7)
    ]
