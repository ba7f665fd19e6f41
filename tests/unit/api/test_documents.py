from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi.responses import JSONResponse

from tests.unit.api.conftest import ApiHarness
from wavstream.api.documents import KeptDocument

HTTP_METHODS = {"get", "post", "delete", "head", "put", "patch"}


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
    assert len(names) == len(set(names)) == 23
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
    }


def test_exactly_the_routes_of_v1_ask_for_a_key(document: dict[str, Any]) -> None:
    for path, operation in _operations(document):
        assert ("security" in operation) == path.startswith("/v1/"), path
        assert ("401" in operation["responses"]) == path.startswith("/v1/"), path
    schemes = document["components"]["securitySchemes"]
    assert (schemes["key"]["scheme"], schemes["gateway_key"]["name"]) == ("bearer", "X-API-Key")
    assert document["paths"]["/v1/sessions"]["get"]["security"] == [{"key": []}, {"gateway_key": []}]


def test_every_error_is_described_as_a_problem(document: dict[str, Any]) -> None:
    for path, operation in _operations(document):
        for status, response in operation["responses"].items():
            if status >= "400" and path != "/readyz":
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
                if "json" in media_type:
                    assert schemas[content["schema"]["$ref"].rpartition("/")[2]]["examples"], path


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
