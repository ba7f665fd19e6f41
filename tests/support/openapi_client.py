"""A client that knows the API from its OpenAPI document alone: operations by name, everything checked by its schema."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import jsonschema_rs


class DocumentClient:
    """Calls the operations of a document. What the document does not allow, or does not name, is an AssertionError."""

    def __init__(self, document: dict[str, Any], http: httpx.AsyncClient, keys: dict[str, str]) -> None:
        """``keys``: by the names of the document's security schemes."""
        self._http, self._keys, self._components = http, keys, document["components"]
        self._prefix = urlsplit(document["servers"][0]["url"]).path.rstrip("/")
        self._webhooks = document["webhooks"]
        self._operations = {
            operation["operationId"]: (method, path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }

    async def call(self, name: str, body: object = None, **said: str) -> Any:
        """Return the answer, whose status the document names: JSON as such, else the response itself."""
        method, path, operation = self._operations[name]
        headers, query = self._credentials(operation), dict[str, str]()
        known = {each["name"]: each for each in operation.get("parameters", [])}
        assert said.keys() <= known.keys(), (name, said)
        assert {each for each in known if known[each].get("required")} <= said.keys(), (name, said)
        for parameter, value in said.items():
            match known[parameter]["in"]:
                case "path":
                    path = path.replace(f"{{{parameter}}}", quote(value, safe=""))
                case "query":
                    query[parameter] = value
                case "header":
                    headers[parameter] = value
        assert not re.search(r"[{}]", path), path
        if body is not None:
            (taken,) = operation["requestBody"]["content"].values()
            self._check(taken["schema"], body)
        answer = await self._http.request(method, self._prefix + path, params=query, headers=headers, json=body)
        described = operation["responses"][str(answer.status_code)]
        if not described.get("content"):
            return answer
        content = described["content"][answer.headers["content-type"].partition(";")[0]]
        if "json" not in answer.headers["content-type"]:
            return answer
        self._check(content["schema"], answer.json())
        return answer.json()

    def check_webhook(self, headers: dict[str, str], message: dict[str, Any]) -> None:
        """Check what was told by what the document says of its event."""
        operation = self._webhooks[message["event"]]["post"]
        for each in operation["parameters"]:
            assert each["in"] == "header"
            assert not each["required"] or each["name"].lower() in headers
        self._check(operation["requestBody"]["content"]["application/json"]["schema"], message)

    def _credentials(self, operation: dict[str, Any]) -> dict[str, str]:
        """Return the headers of the first way in which the operation takes a key."""
        found = {}
        for name in next(iter(operation.get("security", [])), {}):
            scheme, key = self._components["securitySchemes"][name], self._keys[name]
            if scheme["type"] == "http":
                assert scheme["scheme"] == "bearer"
                found["Authorization"] = f"Bearer {key}"
            else:
                assert (scheme["type"], scheme["in"]) == ("apiKey", "header")
                found[scheme["name"]] = key
        return found

    def _check(self, schema: dict[str, Any], value: object) -> None:
        jsonschema_rs.validator_for({**schema, "components": self._components}).validate(value)
