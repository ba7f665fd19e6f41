"""``/docs``: the OpenAPI document as a page on which requests can be tried, Swagger UI; without a key.

1. Every address in the page is relative to the page, so it is right below any path that a proxy takes away. Nothing is
   guessed from headers.
2. The page's script and style are files of an installed package (fastapi-offline: MIT; Swagger UI: Apache-2.0), so the
   page needs no other server. Reading a document must not tell a stranger's server who reads it, either.
3. It runs no script but those files and ours, which is a file too: its Content-Security-Policy says so.
"""

from __future__ import annotations

import asyncio
from html import escape
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from starlette.responses import Response

_ADDRESS = "docs"
_FOLDER = Path(fastapi_offline.__file__).parent / "static"
_SCRIPT, _STYLE, _ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
_MEDIA_TYPES = {_SCRIPT: "text/javascript", _STYLE: "text/css", _ICON: "image/png"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="{address}/{style}">
<link rel="icon" href="{address}/{icon}">
<title>{title}</title>
</head>
<body>
<div id="swagger-ui" data-url="openapi.json"></div>
<script src="{address}/{script}"></script>
<script src="{address}/begin.js"></script>
</body>
</html>
"""  # rule 1: the page's own name is the last part of its address
_BEGIN = """\
"use strict";
// Begins Swagger UI over the document that the page names. A file of its own: the page allows no script within it.
SwaggerUIBundle({
  url: document.getElementById("swagger-ui").dataset.url,
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Rule 3."""


def add_docs_page(app: FastAPI) -> None:
    """Add the page and its files to an application whose document is at ``/openapi.json``."""
    page = _PAGE.format(title=escape(app.title), address=_ADDRESS, script=_SCRIPT, style=_STYLE, icon=_ICON)
    kept: dict[str, bytes] = {}

    async def show(_request: Request) -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers=_HEADERS)

    async def begin(_request: Request) -> Response:
        return Response(_BEGIN, media_type="text/javascript", headers={"Cache-Control": "max-age=3600"})

    async def file(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        if name not in kept:  # not Starlette's StaticFiles: it reads the machine's media types on the event loop
            kept[name] = await asyncio.to_thread((_FOLDER / name).read_bytes)
        return Response(kept[name], media_type=_MEDIA_TYPES[name], headers={"Cache-Control": "max-age=3600"})

    app.add_route(f"/{_ADDRESS}", show, include_in_schema=False)
    app.add_route(f"/{_ADDRESS}/begin.js", begin, include_in_schema=False)
    for name in _MEDIA_TYPES:  # each a route: no other file of the folder can be asked for
        app.add_route(f"/{_ADDRESS}/{name}", file, include_in_schema=False)


def servers(public_url: str) -> list[dict[str, str]]:
    """Return the ``servers`` of a document: where its paths begin, seen from where the document is read.

    Without the host: who reads it by another name of the server than ``public_url`` would ask another origin.
    """
    path = public_url.partition("://")[2].partition("/")[2].rstrip("/")
    if not path:
        return [{"url": "/"}]
    return [{"url": f"/{path}"}, {"url": "/", "description": "Without the proxy that takes the path away"}]
