"""``/openapi/{vendor}.json``: the OpenAPI document of each facade, open to everybody as our own is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_fields_from_routes
from pydantic import TypeAdapter
from starlette.responses import Response

from wavstream.api.documents import KeptDocument, let_answers_grow
from wavstream.api.routes import Router
from wavstream.errors import NotFound

_OF_THE_FRAMEWORK = ("HTTPValidationError", "ValidationError")


def documents_of_facades(documents: Mapping[str, Callable[[], dict[str, Any]]]) -> Router:
    """Return the route of the documents, each made when it is asked for first."""
    router = Router(include_in_schema=False)
    kept = {name: KeptDocument(make) for name, make in documents.items()}

    @router.get("/openapi/{name}.json")
    async def document(name: str) -> Response:
        if name not in kept:
            raise NotFound(f"There is no such API here; there are: {', '.join(kept)}.")
        return await kept[name].answer()

    return router


def facade_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the document of a facade: without the errors that its framework thinks are answered, examples whole."""
    document = app.openapi()
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in list(operation["responses"].items()):
                schema = response.get("content", {}).get("application/json", {}).get("schema", {})
                if schema.get("$ref", "").rpartition("/")[2] == _OF_THE_FRAMEWORK[0]:
                    del operation["responses"][status]
    schemas = document.get("components", {}).get("schemas", {})
    for unused in _OF_THE_FRAMEWORK:
        schemas.pop(unused, None)
    for name, examples in _examples(app).items():
        if name in schemas:
            schemas[name]["examples"] = examples
    let_answers_grow(document)
    return document


def _examples(app: FastAPI) -> dict[str, list[Any]]:
    """Return the examples of every schema, by its name. The framework leaves out what is null in them."""
    found = {}
    for field in get_fields_from_routes(app.routes):
        annotation: Any = field.field_info.annotation
        schema = TypeAdapter(annotation).json_schema()
        for name, each in {**schema.get("$defs", {}), schema.get("title", ""): schema}.items():
            if "examples" in each:
                found[name] = each["examples"]
    return found
