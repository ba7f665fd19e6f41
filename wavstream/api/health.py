"""``/healthz``, ``/readyz`` and ``/metrics``: for whoever watches over the server; without a key."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ConfigDict

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.routes import Router
from wavstream.model.document import Document


class Health(Document):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: str


class WaitingUploads(Document):
    """What waits to be uploaded to the store; a store that is away keeps no call from being recorded."""

    waiting: int
    """Files."""
    oldest_s: float
    """Seconds since the stop of the one that waits longest."""
    error: str | None
    """Why the oldest that has failed did; null: none has."""


class Readiness(Document):
    """Whether the server can take calls, and if not, why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ready": True, "reasons": []}]})

    ready: bool
    reasons: list[str]
    """A sentence each; empty: it can."""
    lost: Sequence[str] = ()
    """What was lost since the start, with folders that were removed, a sentence each; left out where nothing was."""
    uploads: WaitingUploads | None = None
    """Left out where there is no store."""


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of health."""
    router = Router(tags=["health"])

    @router.get(
        "/healthz",
        operation_id="health",
        summary="Liveness",
        description="Answers as long as the process does: restart it where this fails.",
        response_model=Health,
    )
    @router.head("/healthz", include_in_schema=False)
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @router.get(
        "/readyz",
        operation_id="readiness",
        summary="Readiness",
        description="Whether calls should be sent here.",
        response_model=Readiness,
        responses={
            503: {
                "model": Readiness,
                "description": "It cannot take calls now",
                "content": {"application/json": {"example": {"ready": False, "reasons": ["The disk is full."]}}},
            }
        },
    )
    @router.head("/readyz", include_in_schema=False)
    async def readiness() -> Response:
        reasons = list(await parts.readiness())
        body = {"ready": not reasons, "reasons": reasons}
        lost = {"lost": list(parts.losses())} if parts.losses() else {}
        waiting = None if parts.uploads is None else await parts.uploads()
        uploads = {} if waiting is None else {"uploads": waiting}
        return JSONResponse(body | lost | uploads, status_code=503 if reasons else 200)

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Metrics",
        description="Counters and gauges for Prometheus.",
        response_class=Response,
        responses={200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(await parts.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
