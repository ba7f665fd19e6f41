"""The dialect that ``docs/add-a-dialect.md`` adds: its file, its line and its vectors do all that is needed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from tests.support.recorder import close_code, recorder
from tests.support.tones import tone
from wavstream.dialects import registry
from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.events import Event, Frame, StreamStarted
from wavstream.errors import MediaError
from wavstream.model.audio import MediaFormat, TrackClock

PAGE = Path(__file__).parents[2] / "docs" / "add-a-dialect.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^(?:`([\w.-]+)`:\n\n)?```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
(SOURCE,) = [content for _, language, content in BLOCKS if language == "python"]
FILES = {name: content for name, _, content in BLOCKS if name}
VECTORS = sorted(name for name in FILES if name.endswith(".jsonl"))


@pytest.fixture
def tincan(monkeypatch: pytest.MonkeyPatch) -> type[Dialect]:
    """Register the dialect of the page, as its line in the registry does."""
    module = ModuleType("wavstream.dialects.tincan")
    exec(compile(SOURCE, str(PAGE), "exec"), module.__dict__)
    added: type[Dialect] = module.TinCanDialect
    before = registry.DIALECTS
    after = MappingProxyType({**before, added.name: added})
    for each in list(sys.modules.values()):
        if getattr(each, "DIALECTS", None) is before:
            monkeypatch.setattr(each, "DIALECTS", after)
    return added


def test_the_page_has_vectors_of_a_normal_call_and_of_bad_input() -> None:
    assert VECTORS == ["bad-rate.jsonl", "call.jsonl"]
    assert "usual.json" in FILES


def told(event: Event) -> dict[str, Any]:
    fields = json.loads(msgspec.json.encode(event))
    if isinstance(event, Frame):
        del fields["payload"], fields["messages"]
    return {type(event).__name__: fields}


def full(expected: dict[str, Any]) -> dict[str, Any]:
    ((kind, fields),) = expected.items()
    if kind != StreamStarted.__name__:
        return expected
    bare = StreamStarted(session_id=None, leg=None, format=MediaFormat(), clock=TrackClock.CONTIGUOUS, tracks=())
    usual = {**json.loads(msgspec.json.encode(bare)), **json.loads(FILES["usual.json"])}
    merged = {**usual, **fields}
    for nested in ("format", "call"):
        merged[nested] = {**usual[nested], **fields.get(nested, {})}
    return {kind: merged}


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_the_page_hold(tincan: type[Dialect], name: str) -> None:
    head, *lines = map(json.loads, FILES[name].splitlines())
    dialect = tincan(
        UpgradeRequest(session_id=head.get("session_id", "s"), leg=head.get("leg", "a"), query={}, headers={})
    )
    got = [*dialect.opened()]
    for line in lines:
        if "expect" in line:
            assert [told(event) for event in got] == [full(event) for event in line["expect"]]
            got = []
        elif "error" in line:
            break
        elif lines[lines.index(line) + 1 :][:1] and "error" in lines[lines.index(line) + 1]:
            with pytest.raises(MediaError) as refused:
                dialect.text(json.dumps(line["text"]).encode())
            error = lines[lines.index(line) + 1]["error"]
            assert {"kind": type(refused.value).__name__, "field": refused.value.field} == error
        else:
            message = json.dumps(line["text"]).encode() if "text" in line else bytes(line["binary_zeros"])
            got += dialect.text(message) if "text" in line else dialect.binary(message)
    assert got == []


async def test_a_call_in_the_added_dialect_is_recorded_and_shown_under_its_name(
    tincan: type[Dialect], tmp_path: Path
) -> None:
    said = tone(440, 0.5, rate_hz=16_000)
    async with recorder(tmp_path) as (client, _), client.connect("/media/tincan") as socket:
        recording = await client.start("call-77")
        await socket.send(json.dumps({"hello": "tincan", "can": "call-77", "hz": 16_000}))
        for first in range(0, len(said), 320):
            await socket.send(said[first : first + 320].tobytes())
        await client.until_received("call-77", 500)
        (stream,) = (await client.http.get("/v1/sessions/call-77")).json()["streams"]
        assert (stream["dialect"], stream["rate"]) == ("tincan", 16_000)
        metrics = (await client.http.get("/metrics")).text
        assert 'wavstream_streams_spoken_total{dialect="tincan"} 1.0' in metrics
        await socket.send(json.dumps({"bye": True}))
        samples, rate_hz = await client.listen(recording)
        done = await client.get(recording)
    assert rate_hz == 16_000
    assert done["legs"][0]["dialect"] == "tincan"
    heard = samples[np.flatnonzero(samples[:, 0])[0] - 1 :, 0]  # a tone begins with a zero
    assert np.array_equal(heard[: len(said)], said)


async def test_its_refusals_are_closes_that_name_the_field(tincan: type[Dialect], tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with recorder(tmp_path) as (client, _), client.connect("/media/tincan/call-77/a") as socket:
            await socket.send(json.dumps({"hello": "tincan", "hz": "fast"}))
            code, reason = await close_code(socket)
    assert (code, (reason or "").partition(":")[0]) == (1008, "hz")
    assert [line["dialect"] for line in lines if line["event"] == "media_stream_refused"] == ["tincan"]
