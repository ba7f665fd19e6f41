"""Which lines are written, and which are summed up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from wavstream.errors import DiskRefused
from wavstream.media.refusals import LINES, PERIOD_S
from wavstream.service import logs
from wavstream.service.log_queue import LogQueue
from wavstream.service.logs import Summary
from wavstream.settings import LogSettings


def flush() -> None:
    for handler in logging.getLogger().handlers:
        handler.flush()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Yield the standard error of a process whose logging was just set up; as JSON, unless a test wants it else."""
    before, stderr, root = structlog.get_config(), io.StringIO(), logging.getLogger()
    handlers, level, ours = list(root.handlers), root.level, logging.getLogger("wavstream").level
    for place, hook in ((sys, "stderr"), (sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(place, hook, stderr if hook == "stderr" else getattr(place, hook))
    monkeypatch.setattr(logs, "SUMMARY", Summary())
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "filters", [])  # a server before has left its own there
    logs.configure(LogSettings(format=getattr(request, "param", "json")))
    yield stderr
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("wavstream").setLevel(ours)
    logging.captureWarnings(False)


def lines_of(stderr: io.StringIO) -> list[dict[str, Any]]:
    flush()
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


@pytest.mark.parametrize("way", ["of its own", "of the handler"])
def test_an_error_that_tells_all_by_itself_has_no_traceback(written: io.StringIO, way: str) -> None:
    log = structlog.get_logger("wavstream.test")
    for error in (DiskRefused("the catalog could not be read: Input/output error"), KeyError("a bug")):
        try:
            raise error
        except Exception as caught:
            if way == "of its own":
                log.error("media_handshake_failed", exc_info=caught)
            else:
                log.exception("media_handshake_failed")

    known, bug = lines_of(written)

    assert known["error"] == "the catalog could not be read: Input/output error"
    assert "exception" not in known
    assert "KeyError" in bug["exception"]


def test_what_a_library_logs_is_one_object_whatever_it_says(written: io.StringIO) -> None:
    library = logging.getLogger("some.library")
    library.info("not written")
    library.warning("two\nlines of %s", "it")
    library.error("arguments that do not fit: %d", "one")
    try:
        raise ValueError("a\nb")
    except ValueError:
        library.exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, misfit, failed, warned = lines_of(written)
    assert {each["event"] for each in (first, misfit, failed, warned)} == {"library_line"}
    assert (first["logger"], first["level"], first["message"]) == ("some.library", "warning", "two\nlines of it")
    assert "'one'" in misfit["message"]
    assert failed["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert (warned["logger"], "DeprecationWarning: old" in warned["message"]) == ("py.warnings", True)


async def test_exceptions_that_nobody_caught_are_events(written: io.StringIO) -> None:
    def fail() -> None:
        raise RuntimeError("ours")

    class Unclean:
        def __del__(self) -> None:
            raise RuntimeError("ours")

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(logs.loop_exception)
    loop.call_soon(fail)
    await asyncio.sleep(0)
    loop.set_exception_handler(before)
    thread = threading.Thread(target=fail, name="some thread")
    thread.start()
    thread.join()
    Unclean()
    gc.collect()
    try:
        fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    # What other tests left behind is collected here too.
    lines = [line for line in lines_of(written) if line.get("exception", "").endswith("RuntimeError: ours")]
    assert [line["event"] for line in lines] == [
        "loop_exception", "thread_exception", "unraisable_exception", "uncaught_exception",
    ]  # fmt: skip
    assert lines[1]["thread"] == "some thread"


@pytest.mark.parametrize("written", ["console"], indirect=True)
def test_the_console_has_the_event_its_fields_and_the_traceback(written: io.StringIO) -> None:
    log = structlog.get_logger("wavstream.somewhere")
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("something_failed", recording_id="r1")
    flush()
    first, *rest = written.getvalue().splitlines()
    assert "something_failed" in first
    assert "recording_id=r1" in first
    assert rest[-1] == "ValueError: wrong"


@pytest.mark.parametrize("event", ["call_facts_left_out", "stream_events_left_out", "request_failed"])
def test_what_each_call_and_each_request_may_say_is_written_a_few_times(written: io.StringIO, event: str) -> None:
    log = structlog.get_logger("wavstream.somewhere")
    for number in range(1_000):
        log.error(event, number=number)
        log.error("another", number=number) if number % 100 == 0 else None
    lines = lines_of(written)
    assert [each["number"] for each in lines if each["event"] == event] == list(range(LINES))
    assert len([each for each in lines if each["event"] == "another"]) == 10


def test_what_uvicorn_says_of_each_request_is_written_a_few_times(written: io.StringIO) -> None:
    log = logging.getLogger("uvicorn.error")
    for number in range(100):
        log.error("Exception in ASGI application\n")
        log.warning("a request of %s", number)
    said = [line["message"].split()[0] for line in lines_of(written)]
    assert (said.count("Exception"), said.count("a")) == (LINES, LINES)


@pytest.mark.parametrize("hidden", [True, False])
def test_keys_of_files_are_in_the_log_only_where_they_do_not_tell_of_calls(written: io.StringIO, hidden: bool) -> None:
    logs.hide_keys(hidden=hidden)
    log = structlog.get_logger("wavstream.recorder.publisher")

    log.info("recording_published", recording_id="0d6c", object_key="plus4930/0d6c.wav")
    log.warning("unknown_files_left", files=1, some=["plus4930/0d6c.wav"])
    log.info("recording_ended", recording_id="0d6c")
    key = f"plus4930/{'a' * 32}.wav"
    said = f"s3://calls: {key} is gone; PUT http://127.0.0.1/calls/{key}?partNumber=1 failed: '/data/{key}'"
    log.warning("upload_failed", recording_id="0d6c", error=said)
    logs.hide_keys(hidden=False)

    published, unknown, ended, failed = lines_of(written)
    assert failed["error"] == ("s3://calls: *** is gone; PUT *** failed: '***'" if hidden else said)
    assert published["object_key"] == (None if hidden else "plus4930/0d6c.wav")
    assert unknown["some"] == (None if hidden else ["plus4930/0d6c.wav"])
    assert (published["recording_id"], unknown["files"], "object_key" in ended) == ("0d6c", 1, False)


def test_nobody_waits_for_a_reader_that_does_not_read_and_what_is_dropped_is_counted(written: io.StringIO) -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            reads_on.wait()
            return super().write(text)

    reads_on, stderr = threading.Event(), Stuck()
    root = logging.getLogger()
    (before,) = (each for each in root.handlers if isinstance(each, LogQueue))
    assert before.formatter is not None
    root.removeHandler(before)
    root.addHandler(LogQueue(stderr, before.formatter, max_lines=10))
    log = structlog.get_logger("wavstream.somewhere")
    for number in range(50):
        log.info("something_happened", number=number)
    reads_on.set()
    flush()
    log.info("something_happened", number=50)
    lines = lines_of(stderr)
    numbers = [line["number"] for line in lines if line["event"] == "something_happened"]
    (lost,) = [line["lines"] for line in lines if line["event"] == "log_lines_lost"]
    assert numbers[:10] == list(range(10))
    assert numbers[-1] == 50
    assert len(numbers) + lost == 51


# A process that logs more than a pipe holds, and ends.
TALKER = """
import functools
from wavstream.service import log_queue, logs
from wavstream.settings import LogSettings
log_queue.LogQueue.flush = functools.partialmethod(log_queue.LogQueue.flush, 0.1)
logs.configure(LogSettings(format="json"))
for number in range(2000):
    logs.log_refusal("x" * 100)
"""


@pytest.mark.parametrize("reader", ["does not read", "is gone", "is a full disk"])
def test_a_process_ends_as_it_should_whatever_becomes_of_its_log(reader: str) -> None:
    reads, writes = os.pipe()
    if reader == "is gone":
        os.close(reads)
    elif reader == "is a full disk":
        with open("/dev/full", "wb") as full:
            os.dup2(full.fileno(), writes)
    process = subprocess.Popen([sys.executable, "-c", TALKER], stdout=writes, stderr=writes)
    os.close(writes)
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        if reader != "is gone":
            os.close(reads)


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
