"""Paths of both HTTP APIs: session ids in them, and the methods that one takes.

A session id in a path arrives decoded, and is any text: with slashes and, since a caller may send them, line ends.
Starlette's ``path`` ends at those, so that a request about a session would be told of an unknown address.

Of several routes with one path Starlette answers 405 for the first, with the methods of that one; RFC 9110, 15.5.6
wants those of the address.
"""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.routing import Match

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class _AnyText(Convertor[str]):
    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


ANY_TEXT = "any_text"
"""The type of a path's parameter that is any text at all."""
register_url_convertor(ANY_TEXT, _AnyText())


def allow(request: Request) -> str:
    """Return the ``Allow`` header of the request's path: every method that some route of it takes."""
    routes = request.app.routes
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )
