"""The page itself: the files of ``wavstream/console/static/`` (`make console`), at ``/console/``; without a key.

1. Only files that are there when the server starts can be asked for. They are read when they are asked for first, and
   kept: there are few, and they are small.
2. The page loads nothing from elsewhere, and runs no script but its own: a Content-Security-Policy says so. Styles that
   its scripts make are marked with a number that is another one in each answer, which is why the page is not kept.
3. Names below ``assets/`` have a hash of their content in them, so browsers may keep them for good.
4. Of what only some views need, what the address asks for is named in a header: else a browser knows of it only when
   the first script runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import secrets
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request, Response

from wavstream.api.problems import problem

FOLDER = Path(__file__).parents[1] / "console" / "static"
_INDEX = "index.html"
_NONCE = b"__CSP_NONCE__"
_VISITOR = b"__VISITOR__"
_KEPT = "assets/"
_OF_RECORDING = "assets/recording-"
"""The script that shows a recording: fetched beside the first one where the address names one (rule 4)."""
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Files of other kinds are not served."""
_SQUEEZED = (".css", ".html", ".js", ".json", ".map", ".svg", ".txt")
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    squeezed: bytes | None
    """By gzip; None: it does not become smaller."""
    etag: str


def policy(nonce: str) -> str:
    """Return the Content-Security-Policy of the page (rule 2)."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
        "media-src 'self' blob:; connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def add_console_page(app: FastAPI, *, visitor: Callable[[Request], Awaitable[bytes]], folder: Path = FOLDER) -> None:
    """Add the page and its files to an application; ``visitor`` returns who asks for it, as JSON, which it is told."""
    names = {
        each.relative_to(folder).as_posix(): each
        for each in sorted(folder.rglob("*"))
        if each.suffix in _MEDIA_TYPES and each.is_file()
    }
    ahead = [name for name in names if name.startswith(_OF_RECORDING) and name.endswith(".js")]
    kept: dict[str, _File] = {}

    async def file_of(name: str) -> _File:
        if name not in kept:
            kept[name] = await asyncio.to_thread(_read, names[name])
        return kept[name]

    async def begin(_request: Request) -> Response:
        # Relative, so that it is right below a path that a proxy takes away.
        return Response(status_code=307, headers={"Location": "console/", "Cache-Control": "no-store"})

    async def below(_request: Request) -> Response:
        return Response(status_code=307, headers={"Location": "console/", "Cache-Control": "no-store"})

    async def index(request: Request) -> Response:
        if _INDEX not in names:
            return problem(404, "The console was not built into this package.")
        nonce = secrets.token_urlsafe(16)
        told = html.escape((await visitor(request)).decode())
        page = (await file_of(_INDEX)).content.replace(_NONCE, nonce.encode()).replace(_VISITOR, told.encode())
        headers = {"Content-Security-Policy": policy(nonce), "Cache-Control": "no-store", **_SAFE}
        if "recording" in request.query_params and ahead:
            headers["Link"] = ", ".join(f"<./{name}>; rel=modulepreload" for name in ahead)
        return Response(page, media_type=_MEDIA_TYPES[".html"], headers=headers)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in names or name == _INDEX:
            return problem(404, "The console has no such file.")
        found = await file_of(name)
        cache = "public, max-age=31536000, immutable" if name.startswith(_KEPT) else "no-cache"
        headers = {"Cache-Control": cache, "ETag": found.etag, "Vary": "Accept-Encoding", **_SAFE}
        headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"  # an SVG opened by itself
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = found.content
        if found.squeezed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = found.squeezed, "gzip"
        return Response(content, media_type=_MEDIA_TYPES[names[name].suffix], headers=headers)

    app.add_route("/", begin, include_in_schema=False)
    app.add_route("/console", below, include_in_schema=False)
    app.add_route("/console/", index, include_in_schema=False)
    app.add_route("/console/{name:path}", file, include_in_schema=False)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    squeezed = None
    if path.suffix in _SQUEEZED:
        squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
        squeezed = squeezer.compress(content) + squeezer.flush()
    is_smaller = squeezed is not None and len(squeezed) < len(content)
    return _File(content, squeezed if is_smaller else None, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
