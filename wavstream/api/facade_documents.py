"""``/openapi/{vendor}.json``: the OpenAPI document of each facade, open to everybody as our own is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse

from wavstream.errors import NotFound

_OF_THE_FRAMEWORK = ("HTTPValidationError", "ValidationError")


def documents_of_facades(documents: Mapping[str, Callable[[], dict[str, Any]]]) -> APIRouter:
    """Return the route of the documents, each made when it is asked for first."""
    router = APIRouter(include_in_schema=False)
    made: dict[str, dict[str, Any]] = {}

    @router.get("/openapi/{name}.json")
    async def document(name: str) -> JSONResponse:
        if name not in documents:
            raise NotFound(f"There is no such API here; there are: {', '.join(documents)}.")
        if name not in made:
            made[name] = documents[name]()
        return JSONResponse(made[name])

    return router


def facade_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the document of a facade, without the errors that its framework thinks are answered."""
    document = app.openapi()
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in list(operation["responses"].items()):
                schema = response.get("content", {}).get("application/json", {}).get("schema", {})
                if schema.get("$ref", "").rpartition("/")[2] == _OF_THE_FRAMEWORK[0]:
                    del operation["responses"][status]
    for unused in _OF_THE_FRAMEWORK:
        document.get("components", {}).get("schemas", {}).pop(unused, None)
    return document
