"""SignalWire's API as an application: who asks, and all of its routes."""

from __future__ import annotations

import base64
import binascii

from fastapi import FastAPI
from starlette.datastructures import Headers

from wavstream.api.facade import Credentials, Facade, FacadeDependencies, facade_app
from wavstream.api.routes import add_routes
from wavstream.api.signalwire import calls, recordings
from wavstream.api.signalwire.answers import refusal
from wavstream.api.signalwire.call_recordings import API, CallRecordings
from wavstream.api.signalwire.options import StartOptions, options_of
from wavstream.api.signalwire.swml.routes import routes as swml_routes
from wavstream.model.ids import is_customer_id
from wavstream.webhooks.signalwire import VOCABULARY

PATHS = ("/api/calling/", "/api/relay/", "/swml/")
DESCRIPTION = """Calls are recorded as with SignalWire: commands to a call over its REST API, or an SWML document.

`Authorization: Basic` has a project as the user and the key of the app as the password. Field names, defaults and the
shapes of errors are SignalWire's; fields that are not described here are refused."""


def create(parts: FacadeDependencies) -> FastAPI:
    """Return SignalWire's API over these collaborators."""
    app = facade_app(
        parts,
        vendor=API,
        title="wavstream: SignalWire",
        description=DESCRIPTION,
        scheme="Basic",
        credentials=credentials,
        refusal=refusal,
    )
    of_calls = CallRecordings(parts)
    for router in (calls.routes(parts, of_calls), recordings.routes(parts), swml_routes(parts, of_calls)):
        add_routes(app, router)
    return app


def credentials(headers: Headers) -> Credentials:
    """Return the key and the project that a request names; what is no Basic header names neither."""
    scheme, _, said = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return Credentials(None)
    try:
        project, _, key = base64.b64decode(said.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return Credentials(None)
    if project and not is_customer_id(project):
        return Credentials(None)
    return Credentials(key or None, project)


SIGNALWIRE = Facade(
    name=API, paths=PATHS, create=create, start_options=StartOptions, options_of=options_of, vocabulary=VOCABULARY
)
"""Its line in the registry."""
