from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi.responses import JSONResponse

from tests.unit.api.conftest import ApiHarness
from wavstream.api.documents import KeptDocument, reached
from wavstream.api.registry import FACADES
from wavstream.model.fact import Fact, command_done, recording_fact
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.webhooks.gateway import render
from wavstream.webhooks.vocabulary import Occasion

HTTP_METHODS = {"get", "post", "delete", "head", "put", "patch"}
OF_THE_GATEWAY = ("/api/v1/", "/admin/", "/health")
"""What its addresses begin with. Its keys and errors are its own."""


@pytest.fixture
def document(world: ApiHarness) -> dict[str, Any]:
    return world.app.openapi()


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in HTTP_METHODS
            yield path, operation


def test_every_operation_has_a_name_a_summary_and_a_description(document: dict[str, Any]) -> None:
    operations = [operation for _, operation in _operations(document)]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) == 46
    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_the_routes_of_the_contract_are_described(document: dict[str, Any]) -> None:
    assert {f"{method} {path}" for path, item in document["paths"].items() for method in item} == {
        "post /v1/recordings",
        "get /v1/recordings",
        "get /v1/recordings/{recording_id}",
        "delete /v1/recordings/{recording_id}",
        "get /v1/recordings/{recording_id}.wav",
        "get /v1/recordings/{recording_id}/live.wav",
        "get /v1/recordings/{recording_id}.mp3",
        "post /v1/recordings/{recording_id}/stop",
        "post /v1/recordings/{recording_id}/pause",
        "post /v1/recordings/{recording_id}/resume",
        "post /v1/recordings/{recording_id}/hold",
        "delete /v1/recordings/{recording_id}/hold",
        "get /v1/recordings/{recording_id}/audio.wav",
        "get /v1/recordings/{recording_id}/audio.mp3",
        "get /v1/recordings/{recording_id}/waveform",
        "post /v1/recordings/{recording_id}/transcription",
        "get /v1/recordings/{recording_id}/transcription",
        "get /v1/recordings/{recording_id}/transcript",
        "get /v1/recordings/{recording_id}/transcript.txt",
        "get /v1/recordings/{recording_id}/transcript.srt",
        "get /v1/recordings/{recording_id}/transcript.vtt",
        "get /v1/recordings/{recording_id}/transcript/redactions",
        "get /v1/transcripts",
        "get /v1/transcripts/usage",
        "get /v1/recordings/{recording_id}/regions",
        "post /v1/recordings/{recording_id}/verify",
        "get /v1/live",
        "get /v1/sessions",
        "post /v1/sessions",
        "get /v1/sessions/{session_id}",
        "post /v1/stream-tokens",
        "get /v1/webhooks/dead-letters",
        "get /v1/webhooks/dead-letters/{letter_id}",
        "post /v1/webhooks/dead-letters/replay",
        "get /files/{link}",
        "get /healthz",
        "get /readyz",
        "get /metrics",
        "post /api/v1/sessions/{session_id}/commands/record/start",
        "post /api/v1/sessions/{session_id}/commands/record/stop",
        "get /api/v1/sessions/{session_id}/recording/file.wav",
        "get /admin/apps",
        "get /admin/apps/{app_id}",
        "post /admin/apps/{app_id}",
        "delete /admin/apps/{app_id}",
        "get /health",
    }


def test_exactly_the_routes_of_v1_and_of_the_gateway_ask_for_a_key(document: dict[str, Any]) -> None:
    known = document["components"]["securitySchemes"]
    for path, operation in _operations(document):
        assert all(name in known for each in operation.get("security", []) for name in each)
        if path.startswith(OF_THE_GATEWAY) and not path.startswith("/healthz"):
            assert ("security" in operation) == ("401" in operation["responses"]) == (path != "/health"), path
            continue
        assert ("security" in operation) == path.startswith("/v1/"), path
        assert ("401" in operation["responses"]) == path.startswith("/v1/"), path
    schemes = document["components"]["securitySchemes"]
    assert (schemes["key"]["scheme"], schemes["gateway_key"]["name"]) == ("bearer", "X-API-Key")
    assert document["paths"]["/v1/sessions"]["get"]["security"] == [{"key": []}, {"gateway_key": []}]


def test_every_error_is_described_as_a_problem(document: dict[str, Any]) -> None:
    for path, operation in _operations(document):
        for status, response in operation["responses"].items():
            if status >= "400" and path != "/readyz" and not path.startswith(OF_THE_GATEWAY):
                assert list(response["content"]) == ["application/problem+json"], (path, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        validator = jsonschema_rs.validator_for(
            {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )
        for example in schema.get("examples", []):
            validator.validate(example)
            checked += 1
    assert checked >= 10


def test_every_body_of_a_request_or_an_answer_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for path, operation in _operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for media_type, content in body.get("content", {}).items():
                if "json" in media_type and "example" not in content:
                    assert schemas[content["schema"]["$ref"].rpartition("/")[2]]["examples"], path


@pytest.mark.parametrize("name", ["", *(facade.name for facade in FACADES)])
async def test_every_schema_has_a_title_of_its_own_since_generated_clients_name_their_classes_so(
    client: httpx.AsyncClient, name: str
) -> None:
    document = (await client.get(f"/openapi/{name}.json" if name else "/openapi.json")).json()
    schemas = document["components"]["schemas"]
    titles = [schema.get("title", each) for each, schema in schemas.items()]
    assert len(titles) == len({*titles})
    assert [each for each in schemas if "__" in each] == []


def test_every_operation_says_which_errors_it_answers(document: dict[str, Any]) -> None:
    without = [path for path, operation in _operations(document) if max(operation["responses"]) < "400"]
    assert without == ["/healthz", "/metrics", "/health"]  # they answer as long as the process does


@pytest.mark.parametrize("name", ["", *(facade.name for facade in FACADES)])
async def test_what_is_sent_may_grow_and_what_is_asked_may_not_have_more(client: httpx.AsyncClient, name: str) -> None:
    document = (await client.get(f"/openapi/{name}.json" if name else "/openapi.json")).json()
    schemas = document["components"]["schemas"]
    told = [each for item in document.get("webhooks", {}).values() for each in item.values()]
    answered = [operation["responses"] for _, operation in _operations(document)]
    sent = reached([answered, told], schemas)
    assert len(sent) > 4
    assert [each for each in sent if schemas[each].get("additionalProperties") is False] == []
    asked = reached([each.get("requestBody", {}) for _, each in _operations(document)], schemas)
    objects = {each for each in asked if schemas[each].get("type") == "object"}
    assert objects
    assert {each for each in objects if schemas[each].get("additionalProperties", True) is True} <= {"RecordParams"}


OCCASION = Occasion(
    sequence=7, attempt=1, url="https://shop.example", now=datetime.now(UTC), file_url=lambda *_: "https://rec.example"
)
ENDED = (Status.ONGOING, Status.AVAILABLE, Status.ABSENT, Status.FAILED)


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize("request_id", ["rec-1", None])
def test_what_an_app_is_told_of_a_recording_is_what_the_document_says(
    document: dict[str, Any], running: Recording, status: Status, request_id: str | None
) -> None:
    receipt = Receipt(8000, 2, 800, "9f", 80) if status is Status.AVAILABLE else None
    error = "its file is gone" if status is Status.FAILED else None
    told = replace(running, status=status, receipt=receipt, error=error, request_id=request_id)
    assert_is_told(document, recording_fact(told, url="https://rec.example", at=OCCASION.now))


@pytest.mark.parametrize("error", [None, "not recording"])
def test_what_an_app_is_told_of_a_command_is_what_the_document_says(
    document: dict[str, Any], error: str | None
) -> None:
    ids = {"app_id": "one", "session_id": "call-77", "operation_id": "op-1", "request_id": "rec-1"}
    assert_is_told(document, command_done(**ids, command="record/stop", error=error, at=OCCASION.now))


def assert_is_told(document: dict[str, Any], fact: Fact) -> None:
    message = json.loads(render(fact, OCCASION))
    operation = document["webhooks"][message["event"]]["post"]
    assert operation["summary"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(message)
    described = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
    assert set(message) <= set(described)
    assert ("recording_id" in message) == message["event"].startswith("recording.")


def test_the_defaults_of_options_are_not_promised_since_the_operator_sets_them(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["StartRecording"]["properties"]
    assert not [name for name, field in fields.items() if "default" in field]
    assert all(field.get("description") for field in fields.values())


async def test_the_document_is_served_and_shown(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    assert (await client.get("/openapi.json")).json() == document


async def test_a_document_is_made_once_on_a_thread_whoever_asks_at_once() -> None:
    made: list[int] = []

    def make() -> dict[str, Any]:
        made.append(threading.get_ident())
        return {"b": "\u00e4", "a": [1, None]}

    kept = KeptDocument(make)
    answers = [*await asyncio.gather(*(kept.answer() for _ in range(60))), await kept.answer()]
    assert {(bytes(each.body), each.headers["content-type"]) for each in answers} == {
        (JSONResponse(make()).body, "application/json")
    }
    assert len(made) == 2  # the last of them is the test's
    assert made[0] != threading.get_ident()


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi/gateway.json", "/openapi/telnyx.json"])
async def test_the_documents_are_not_made_for_each_request(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    first = await client.get(path)
    monkeypatch.setattr(JSONResponse, "render", lambda *_: pytest.fail("it is encoded again"))
    again = await client.get(path)
    assert (again.content, again.headers) == (first.content, first.headers)
    assert "swagger" in (await client.get("/docs")).text
