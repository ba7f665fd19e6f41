"""The OpenAPI document of Bird's API: it promises what Bird's does, with an example of every request and answer."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.core.result import Ok

from tests.unit.api.bird.conftest import KEYS, Bird
from tests.unit.api.bird.schemas import SCHEMAS
from tests.unit.api.test_conformance import CHECKS

OPERATIONS = {
    "recordCallSession", "recordCall", "listCallRecordings", "getCallRecording", "updateCallRecording",
    "listRecordings", "getRecording", "fetchRecordingMp3", "fetchRecordingWav", "deleteRecording",
    "listRecordingMetrics", "createTranscription", "listTranscriptions", "getTranscription", "fetchTranscription",
}  # fmt: skip
OURS = {
    "command": "Started",
    "call-recording": "CallRecording",
    "call-recordings": "CallRecordings",
    "recording": "BirdRecording",
    "recordings": "Recordings",
    "recording-metrics": "RecordingMetrics",
}


@pytest.fixture
async def document(bird: Bird, shop: httpx.AsyncClient) -> dict[str, Any]:
    answer = await shop.get("/openapi/bird.json")
    assert answer.status_code == 200
    made: dict[str, Any] = answer.json()
    return made


async def test_the_document_has_every_operation_with_all_of_its_errors_and_promises_no_more_than_bird(
    document: dict[str, Any],
) -> None:
    operations = [each for path in document["paths"].values() for each in path.values()]
    schemas = document["components"]["schemas"]
    access_key = document["components"]["securitySchemes"]["key"]

    assert (access_key["type"], access_key["scheme"]) == ("http", "AccessKey")
    assert {each["operationId"] for each in operations} == OPERATIONS
    for each in operations:
        assert {"401", "404", "422", "429", "503"} <= set(each["responses"])
        assert each["security"] == [{"key": []}]
        assert each["summary"]
        assert each["description"]
    for vector, name in OURS.items():
        birds, ours = SCHEMAS[vector], schemas[name]
        assert set(birds["required"]) <= set(ours["required"]), name
        assert set(ours["properties"]) <= set(birds["properties"]), name


async def test_every_request_and_answer_has_an_example_and_no_example_has_a_field_that_is_not_there(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    used = {
        part["schema"]["$ref"].rpartition("/")[2]
        for path in document["paths"].values()
        for each in path.values()
        for holder in (*each["responses"].values(), each.get("requestBody", {}))
        for part in holder.get("content", {}).values()
        if "$ref" in part.get("schema", {})
    } | {"RecordCall", "Record"}  # whose body may be empty

    assert {"ChangeRecording", "CreateTranscription", "BirdError", *OURS.values()} <= used
    for name in used:
        assert schemas[name]["examples"], name
        for each in schemas[name]["examples"]:
            assert set(each) <= set(schemas[name]["properties"])
            assert set(schemas[name].get("required", ())) <= set(each)


async def test_whatever_is_sent_the_answer_is_one_that_the_document_names(bird: Bird) -> None:
    called = await asyncio.to_thread(call_all, bird.service.app)  # it calls from loops of its own
    assert called == len(OPERATIONS)


def call_all(app: FastAPI) -> int:
    """Return how many operations were called, each some times, by the app whose workspace is any."""
    seen = 0
    for found in schemathesis.openapi.from_asgi("/openapi/bird.json", app).get_all_operations():
        assert isinstance(found, Ok)

        @given(case=found.ok().as_strategy())
        @settings(
            max_examples=4,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def call(case: Case[Any]) -> None:
            case.call_and_validate(headers={"Authorization": f"AccessKey {KEYS['bank']}"}, checks=CHECKS)

        call()
        seen += 1
    return seen
