"""``POST /swml/calls/{call_id}`` runs a document on a live call; ``GET /swml/runs/{run_id}`` tells what came of it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import Request
from pydantic import ConfigDict
from starlette.responses import JSONResponse, Response

from wavstream.api.facade import Account, AppId, FacadeDependencies, check_call, check_status_url
from wavstream.api.paths import ANY_TEXT
from wavstream.api.routes import Router
from wavstream.api.signalwire.answers import WrongParameters, refusals
from wavstream.api.signalwire.call_recordings import CallRecordings
from wavstream.api.signalwire.swml.document import read_program
from wavstream.api.signalwire.swml.interpreter import Interpreter
from wavstream.api.signalwire.swml.live_call import REAL_TIME, Time
from wavstream.api.signalwire.swml.player import our_link
from wavstream.api.signalwire.swml.run import RunDocument, RunStatus, run_document
from wavstream.api.signalwire.swml.runs import Runs
from wavstream.api.signalwire.swml.source import JSON_TYPES, YAML_TYPES
from wavstream.api.signalwire.swml.verbs import Rules
from wavstream.errors import NotFound
from wavstream.model.document import Document
from wavstream.model.ids import is_customer_id

_EXAMPLE = {
    "version": "1.0.0",
    "sections": {
        "main": [
            {"record_call": {"beep": True, "terminators": "#"}},
            {"play": {"urls": ["say:Leave your message now", "silence:10"]}},
            {"stop_record_call": {}},
            {"play": {"urls": ["say:Playing back", "${record_call_url}"]}},
        ]
    },
}
_BODY = {
    "required": True,
    "description": "The document, as JSON or YAML.",
    "content": {
        media_type: {"schema": {"type": "object", "title": "SWML document"}, "example": _EXAMPLE}
        for media_type in (JSON_TYPES[0], YAML_TYPES[0])
    },
}


class RunStarted(Document):
    """A document is run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_id": "0d6c8d5f-6f0b-4f5e-9c8e-1d2f3a4b5c6d",
                    "call_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
                    "status": "running",
                    "url": "/swml/runs/0d6c8d5f-6f0b-4f5e-9c8e-1d2f3a4b5c6d",
                }
            ]
        }
    )

    run_id: str
    call_id: str
    status: RunStatus
    url: str
    """Where it tells what becomes of it."""


def routes(parts: FacadeDependencies, recordings: CallRecordings, *, time: Time = REAL_TIME) -> Router:
    """Return the routes of documents and their runs."""
    router = Router(prefix="/swml", tags=["swml"])

    rules = Rules(check_status_url=partial(check_status_url, parts), check_recording_url=partial(our_link, parts.urls))
    runs = Runs(parts, Interpreter(parts, recordings, rules=rules), time=time)

    @router.post(
        f"/calls/{{call_id:{ANY_TEXT}}}",
        operation_id="runDocument",
        summary="Run a document on a call",
        status_code=202,
        response_model=RunStarted,
        response_description="It is checked and runs; `url` tells what becomes of it.",
        responses=refusals(400, 404, 413, 422, fields=WrongParameters),
        openapi_extra={"requestBody": _BODY},
    )
    async def run_on_call(request: Request, call_id: str, app_id: AppId, account: Account) -> Response:
        """Run the section `main` of an SWML document; nothing of it is run if anything in it is wrong."""
        body = await request.body()
        program = await asyncio.to_thread(read_program, body, request.headers.get("content-type", ""), rules)
        if not is_customer_id(call_id):
            raise NotFound("no call has such an id")
        check_call(parts, app_id, call_id)
        run = runs.start(program, app_id=app_id, call_id=call_id, project=account)
        started = RunStarted(run_id=run.id, call_id=call_id, status=run.status, url=f"/swml/runs/{run.id}")
        return JSONResponse(started.as_json(), status_code=202)

    @router.get(
        "/runs/{run_id}",
        operation_id="readRun",
        summary="Read what became of a document",
        response_model=RunDocument,
        responses=refusals(404, fields=WrongParameters),
    )
    async def read_run(run_id: str, app_id: AppId) -> Any:
        """Read a run: its steps, its variables, and what went wrong. It is kept for an hour after its end."""
        return JSONResponse(run_document(runs.get(run_id, app_id=app_id)).as_json())

    return router
