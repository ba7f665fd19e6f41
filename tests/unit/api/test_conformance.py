"""Whatever a caller makes of the OpenAPI document, it gets one of the answers that the document names."""

from __future__ import annotations

import asyncio
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.api.conftest import ApiHarness

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

THINLY = ("/api/v1/", "/admin/", "/health")
"""The gateway, whose own tests ask for every refusal."""


async def test_whatever_is_sent_the_answer_is_one_that_the_document_names(world: ApiHarness) -> None:
    assert await asyncio.to_thread(call_all, world) == 55  # it calls from loops of its own


def call_all(world: ApiHarness) -> int:
    """Return how many operations were called, in how many ways."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", world.app)
    seen = 0
    for found in schema.exclude(path="/metrics").get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in GenerationMode:
            if mode.is_negative and not operation.body:
                continue  # Any path is an id that may be unknown.

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=3 if operation.path.startswith(THINLY) else 10,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def call(case: Case[Any]) -> None:
                case.call_and_validate(headers={"Authorization": "Bearer key-one"}, checks=CHECKS)

            call()
            seen += 1
    return seen
