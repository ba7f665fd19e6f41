"""Telnyx's API as an application of its own."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import Headers

from wavstream.api.facade import Credentials, Facade, FacadeDependencies, facade_app
from wavstream.api.routes import add_routes
from wavstream.api.telnyx import calls, deliveries, recordings, transcriptions
from wavstream.api.telnyx.commands import API
from wavstream.api.telnyx.options import StartOptions, engine_of, options_of
from wavstream.api.telnyx.refusals import refusal
from wavstream.webhooks.telnyx import VOCABULARY

PATHS = ("/v2/",)
DESCRIPTION = """Records calls as Telnyx's API does: start, stop, pause and resume, and the recordings that come of it.

Point Telnyx's client here (`base_url`), with the key of an app. Times are ISO 8601 in UTC, and fields that are not
described here are refused."""


def create(parts: FacadeDependencies) -> FastAPI:
    """Return Telnyx's API over its collaborators; start nothing."""
    app = facade_app(
        parts,
        vendor=API,
        title="wavstream: Telnyx",
        description=DESCRIPTION,
        scheme="Bearer",
        credentials=credentials,
        refusal=refusal,
    )
    for room in (calls, recordings, transcriptions, deliveries):
        add_routes(app, room.routes(parts))
    return app


def credentials(headers: Headers) -> Credentials:
    """Return the key of ``Authorization: Bearer <key>``."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return Credentials(key=(key.strip() or None) if scheme.lower() == "bearer" else None)


TELNYX = Facade(
    name=API,
    paths=PATHS,
    create=create,
    start_options=StartOptions,
    options_of=options_of,
    vocabulary=VOCABULARY,
    engine_of=engine_of,
)
"""Its line in the registry."""
