"""The OpenAPI document of each vendor's API: served to everybody, whole, and with examples that are what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from wavstream.api.registry import FACADES

VENDORS = [facade.name for facade in FACADES]
METHODS = {"get", "post", "delete", "patch"}


async def document(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    answer = await client.get(f"/openapi/{name}.json", headers={"Authorization": ""})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield f"{method} {path}", operation


def bodies(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        for kind, content in body.get("content", {}).items():
            if "json" in kind:
                yield content


@pytest.mark.parametrize("name", ["gateway", *VENDORS])
async def test_each_api_has_a_document_of_its_own_with_every_operation_named(
    client: httpx.AsyncClient, name: str
) -> None:
    found = await document(client, name)

    assert found["openapi"].startswith("3.1")
    names = [operation["operationId"] for _, operation in operations(found)]
    assert len(names) == len(set(names)) > 4
    assert all(operation["summary"] for _, operation in operations(found))
    assert "HTTPValidationError" not in found.get("components", {}).get("schemas", {})


@pytest.mark.parametrize("name", VENDORS)
async def test_every_body_has_an_example_and_every_example_is_what_its_schema_says(
    client: httpx.AsyncClient, name: str
) -> None:
    found = await document(client, name)
    schemas = found["components"]["schemas"]
    checked = 0
    for schema_name, schema in schemas.items():
        of_schema = {"$ref": f"#/components/schemas/{schema_name}", "components": found["components"]}
        for example in schema.get("examples", []):
            jsonschema_rs.validator_for(of_schema).validate(example)
            checked += 1

    assert checked >= 5
    bare = [
        place
        for place, operation in operations(found)
        for content in bodies(operation)
        if not _examples(content, schemas)
    ]
    assert bare == []


def _examples(content: dict[str, Any], schemas: dict[str, Any]) -> object:
    schema = content.get("schema", {})
    # A body that may be left out is its schema, or null.
    schema = next(iter(schema.get("anyOf", ())), schema)
    name = schema.get("$ref", "").rpartition("/")[2]
    return content.get("example") or content.get("examples") or schemas.get(name, schema).get("examples")


async def test_an_api_that_is_not_there_is_told_with_those_that_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi/acme.json")

    assert answer.status_code == 404
    assert "gateway" in answer.json()["detail"]
