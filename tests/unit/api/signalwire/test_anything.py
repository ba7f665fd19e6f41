"""Whatever is sent to SignalWire's API, the answer is one of its own, and never that the server made a mistake."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.unit.api.signalwire.conftest import CALL, SHOP, SignalWire
from wavstream.api.facade_documents import facade_openapi
from wavstream.api.signalwire.mount import create

COMMANDS = ["calling.record", "calling.record.pause", "calling.record.resume", "calling.record.stop"]
NAMES = [
    "id", "command", "params", "control_id", "audio", "record", "status_url", "behavior", "format", "stereo",
    "direction", "beep", "initial_timeout", "end_silence_timeout", "terminators", "input_sensitivity", "max_length",
]  # fmt: skip
VALUES = st.sampled_from([CALL, *COMMANDS, "mp3", "both", "silence", "rec-1", "https://shop.example/hooks", "#"])
TEXT = st.text(st.characters(codec=None, categories=None), max_size=20)  # half a surrogate pair too
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | VALUES
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | TEXT, inner, max_size=6),
    max_leaves=20,
)
AUDIO = st.dictionaries(st.sampled_from(NAMES[8:]), SCALARS, max_size=5)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "control_id": VALUES | TEXT,
        "audio": AUDIO | JSON,
        "record": st.fixed_dictionaries({}, optional={"audio": AUDIO | JSON}) | JSON,
        "status_url": VALUES | TEXT | JSON,
        "behavior": VALUES | JSON,
    },
)
NEARLY = st.fixed_dictionaries(
    {"id": st.just(CALL) | TEXT, "command": st.sampled_from(COMMANDS) | JSON}, optional={"params": PARAMS | JSON}
)

thorough = examples(50, suppress_health_check=list(HealthCheck), deadline=None)


class Callers:
    """Callers of one API, each with a loop of its own."""

    def __init__(self, signalwire: SignalWire) -> None:
        self._app = create(signalwire.parts)

    def send(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self._app, client=("192.0.2.7", 1), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://rec", headers=SHOP) as client:
                return [await client.request(method, path, **said) for method, path, said in requests]

        return asyncio.run(run())


def is_an_answer(answer: httpx.Response, statuses: set[int]) -> None:
    assert answer.status_code in statuses, answer.text
    if answer.status_code == 204:
        return
    body = answer.json()
    assert isinstance(body, dict)
    if answer.status_code == 422:
        assert body["errors"]
        assert all(len({*error}) >= 4 for error in body["errors"])
    elif answer.status_code >= 400:
        assert isinstance(body["error"], str)


async def test_arbitrary_json_to_the_calling_api_is_never_a_mistake_of_the_servers(signalwire: SignalWire) -> None:
    signalwire.commands.stream()
    callers = Callers(signalwire)

    @given(JSON | NEARLY)
    @example({"id": CALL, "command": "calling.record", "params": {"control_id": "\ud800"}})
    @example({"id": CALL, "command": "calling.record", "params": {"\ud800": 1}})
    @example({"id": "\x00", "command": "calling.record"})
    @thorough
    def send(said: Any) -> None:
        headers = {"Content-Type": "application/json"}
        request = {"content": json.dumps(said).encode(), "headers": headers}
        (answer,) = callers.send(("POST", "/api/calling/calls", request))
        is_an_answer(answer, {200, 400, 404, 422})
        if answer.status_code == 422:
            attributes = [error["attribute"] for error in answer.json()["errors"]]
            assert all(attribute is None or isinstance(attribute, str) for attribute in attributes)

    await asyncio.to_thread(send)


async def test_arbitrary_bytes_to_the_calling_api_are_never_a_mistake_of_the_servers(signalwire: SignalWire) -> None:
    callers = Callers(signalwire)

    @given(st.binary(max_size=60), st.sampled_from(["application/json", "text/plain", "multipart/form-data", ""]))
    @example(b"[" * 10_000, "application/json")
    @example(b"1" * 10_000, "application/json")
    @example(b"", "application/json")
    @thorough
    def send(content: bytes, content_type: str) -> None:
        request = {"content": content, "headers": {"Content-Type": content_type}}
        (answer,) = callers.send(("POST", "/api/calling/calls", request))
        is_an_answer(answer, {400, 422})

    await asyncio.to_thread(send)


async def test_arbitrary_json_as_a_document_is_never_a_mistake_of_the_servers(signalwire: SignalWire) -> None:
    signalwire.commands.stream()
    callers = Callers(signalwire)
    names = st.sampled_from(["record_call", "record", "stop_record_call", "play"])
    verbs = st.lists(st.dictionaries(names, AUDIO | SCALARS, max_size=2), max_size=3)
    document = st.fixed_dictionaries({"version": st.just("1.0.0"), "sections": st.fixed_dictionaries({"main": verbs})})

    @given(JSON | document, st.sampled_from([CALL, "nobody-knows", "%00", "a/b"]))
    @thorough
    def send(said: Any, call: str) -> None:
        headers = {"Content-Type": "application/json"}
        request = {"content": json.dumps(said).encode(), "headers": headers}
        answers = callers.send(("POST", f"/swml/calls/{call}", request), ("GET", f"/swml/runs/{call}", {}))
        for answer in answers:
            is_an_answer(answer, {202, 400, 404, 422})

    await asyncio.to_thread(send)


async def test_arbitrary_paths_and_queries_are_never_a_mistake_of_the_servers(signalwire: SignalWire) -> None:
    callers = Callers(signalwire)
    words = st.text(st.characters(codec="utf-8"), max_size=20)

    @given(words, st.dictionaries(st.sampled_from(["page_size", "page_token"]) | words, words, max_size=3))
    @example("", {"page_token": "\x00"})
    @example("\x00", {"page_size": "9" * 5_000})
    @thorough
    def ask(text: str, query: dict[str, str]) -> None:
        path = f"/api/relay/rest/recordings/{quote(text, safe='')}"
        methods = ("GET", "DELETE", "POST", "PUT", "PATCH")
        requests = [(method, path, {"params": query}) for method in methods]
        lists = ("GET", "/api/relay/rest/recordings", {"params": query})
        for answer in callers.send(*requests, lists):
            is_an_answer(answer, {200, 204, 404, 405, 422})

    await asyncio.to_thread(ask)


async def test_the_document_has_an_example_of_every_request_and_answer(signalwire: SignalWire) -> None:
    document = facade_openapi(create(signalwire.parts))

    for path, operations in document["paths"].items():
        if path.startswith("/swml"):
            continue
        for operation in operations.values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    assert example_of(document, content["schema"]), (path, content)
    schemas = document["components"]["schemas"]
    body = document["paths"]["/api/calling/calls"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [each["$ref"].rpartition("/")[2] for each in body["anyOf"]] == [
        "RecordCommand",
        "PauseCommand",
        "ResumeCommand",
        "StopCommand",
    ]
    assert all(schemas[each["$ref"].rpartition("/")[2]]["examples"] for each in body["anyOf"])
    assert "200" in document["paths"]["/api/calling/calls"]["post"]["responses"]


def example_of(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    name = schema["$ref"].rpartition("/")[2]
    return document["components"]["schemas"][name]["examples"][0]


async def test_the_examples_of_commands_are_taken(signalwire: SignalWire) -> None:
    document = facade_openapi(create(signalwire.parts))
    signalwire.commands.stream()

    async with signalwire.client(SHOP) as client:
        for name in ("RecordCommand", "PauseCommand", "ResumeCommand", "StopCommand"):
            (said,) = document["components"]["schemas"][name]["examples"]
            answer = await client.post("/api/calling/calls", json=said)
            assert answer.status_code == 200, answer.text
