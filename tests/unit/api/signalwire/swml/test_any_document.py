"""Whatever is sent as a document is run or refused; it is never the server's mistake, and what is wrong is not run."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.unit.api.signalwire.conftest import CALL
from tests.unit.api.signalwire.swml.conftest import Swml
from wavstream.api.signalwire.swml import live_call, speech
from wavstream.api.signalwire.swml.variables import NAMES
from wavstream.model.recording import Recording

TEXT = st.text(st.characters(codec=None, categories=None), max_size=12)  # half a surrogate pair too
REFERENCES = st.sampled_from(
    [f"{sign}{{{name}}}" for sign in "$%" for name in (*NAMES, "vars.record_url", "other", "")]
)
URLS = st.sampled_from(
    ["silence:0.1", "silence:", "say:hello", "say:", "ring:us", "http://elsewhere.example/", "https://rec.example.com/files/a/b/c"]
)  # fmt: skip
WORDS = st.sampled_from(["wav", "mp3", "mp4", "speak", "listen", "both", "#", "", "rec-1", "en-US", "true", "1.0.0"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | WORDS | URLS | REFERENCES
NAMED = st.sampled_from(
    ["version", "sections", "main", "record_call", "record", "stop_record_call", "play", "url", "urls", "volume",
     "control_id", "stereo", "format", "direction", "terminators", "beep", "input_sensitivity", "max_length",
     "initial_timeout", "end_silence_timeout", "status_url", "say_language", "say", "silence"]
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMED | TEXT, inner, max_size=5),
    max_leaves=20,
)
PARAMETERS = st.dictionaries(NAMED, SCALARS | st.lists(SCALARS, max_size=3), max_size=4)
STEPS = (
    st.sampled_from(["record_call", "record", "stop_record_call", "stop_call_record", "play", "hangup"])
    | st.dictionaries(NAMED, PARAMETERS | JSON, min_size=1, max_size=1)
    | st.fixed_dictionaries({"play": URLS | st.lists(URLS | REFERENCES, max_size=3)})
)
NEARLY = st.fixed_dictionaries({"sections": st.fixed_dictionaries({"main": st.lists(STEPS, max_size=5)})})
CONTENT_TYPES = st.sampled_from(["application/json", "application/yaml", "text/plain", ""])
YAML_TEXT = st.text(st.sampled_from("abc:-?[]{},#&*!|>'\"%@` \n\t\u00e91.~<=$"), max_size=60)

thorough = examples(80, suppress_health_check=list(HealthCheck), deadline=None)


@dataclass
class Sender:
    """Sends documents, each in a loop of its own, and waits for the end of what they begin."""

    swml: Swml

    def send(self, content: bytes, content_type: str) -> None:
        asyncio.run(self._send(content, content_type))

    async def _send(self, content: bytes, content_type: str) -> None:
        commands, known = self.swml.commands, self.swml.client
        commands.recordings.clear()
        headers = {**known.headers, **({"Content-Type": content_type} if content_type else {})}
        async with httpx.AsyncClient(transport=known._transport, base_url=known.base_url, headers=headers) as client:
            answer = await client.post(f"/swml/calls/{CALL}", content=content)
            is_an_answer(answer)
            if answer.status_code != 202:
                assert commands.recordings == {}
                return
            await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name().startswith("swml")))
            run = (await client.get(answer.json()["url"])).json()
        assert run["status"] in ("completed", "failed")
        assert run["error"] != "the server made a mistake; its log says more"


@pytest.fixture
def sender(swml: Swml, monkeypatch: pytest.MonkeyPatch) -> Sender:
    """Return who sends to a call on which everything is over at once."""

    async def ended(*, app_id: str, recording_id: str) -> Recording:
        return swml.commands.publish(await swml.commands.get(app_id=app_id, recording_id=recording_id))

    monkeypatch.setattr(swml.commands, "wait_ended", ended)
    monkeypatch.setattr(speech, "can_speak", lambda: False)
    monkeypatch.setattr(live_call, "LOOK_EVERY_S", 1e6)
    swml.commands.rates = set()
    return Sender(swml)


def is_an_answer(answer: httpx.Response) -> None:
    assert answer.status_code in (202, 400, 422), answer.text
    body = answer.json()
    if answer.status_code == 422:
        assert body["errors"]
        assert all({"type", "code", "message", "attribute", "url"} == {*error} for error in body["errors"])
    elif answer.status_code == 400:
        assert {*body} == {"error", "message"}


async def test_arbitrary_json_is_run_or_refused(sender: Sender) -> None:
    @given(JSON | NEARLY)
    @example({"sections": {"main": [{"record_call": {"control_id": "\ud800"}}]}})
    @example({"sections": {"main": [{"\ud800": 1}]}})
    @example({"sections": {"main": [{"play": {"url": "https://rec.example.com/files/a/k1.\u00e9/b.wav"}}]}})
    @example({"sections": {"main": [{"play": {"url": "https://rec.example.com/files/a?signature=k1.x&expires=x"}}]}})
    @example({"sections": {"main": [{"play": {"url": "https://[/files/"}}]}})
    @example({"sections": {"main": [{"record_call": {"status_url": "https://[x"}}]}})
    @example({"sections": {"main": [{"record_call": {"max_length": 10**60}}]}})
    @thorough
    def send(said: Any) -> None:
        sender.send(json.dumps(said).encode(), "application/json")

    await asyncio.to_thread(send)


async def test_the_same_in_yaml_is_run_or_refused(sender: Sender) -> None:
    @given(NEARLY)
    @thorough
    def send(said: Any) -> None:
        sender.send(yaml.safe_dump(said).encode(errors="replace"), "application/yaml")

    await asyncio.to_thread(send)


async def test_arbitrary_bytes_are_run_or_refused(sender: Sender) -> None:
    @given(st.binary(max_size=60) | YAML_TEXT.map(str.encode), CONTENT_TYPES)
    @example(b"[" * 10_000, "application/json")
    @example(b"[" * 10_000, "application/yaml")
    @example(b"{a: " * 4_000, "application/yaml")
    @example(b"a: &a [*a]", "application/yaml")
    @example(b"1" * 10_000, "application/json")
    @example(b"1" * 10_000, "application/yaml")
    @example(b"", "application/yaml")
    @thorough
    def send(content: bytes, content_type: str) -> None:
        sender.send(content, content_type)

    await asyncio.to_thread(send)
