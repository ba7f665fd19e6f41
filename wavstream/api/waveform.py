"""``/v1/recordings/{id}/waveform`` and ``/regions``: what a recording looks like, and what is to be marked on it.

What is asked of a waveform is worked out and written on the threads that read it: the event loop only sends it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId
from wavstream.api.playback import as_of, look_again
from wavstream.api.problems import problem
from wavstream.api.routes import Router
from wavstream.model.document import Document
from wavstream.model.recording import Integrity, LegReceipt, Recording, Status
from wavstream.model.regions import Region, regions_of
from wavstream.storage.waveform_file import MAX_POINTS, Stretch, Window

_DAT = "application/octet-stream"
_SOON = {"Retry-After": "1"}
_AsNumber = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class WaveformQuery(BaseModel):
    """Which part of the waveform, and how coarse: one of the three zooms at most."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    from_: _AsNumber = Field(default=0.0, alias="from")
    """Seconds of the file."""
    to: _AsNumber | None = None
    """Seconds of the file; without it: to the end."""
    points_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """At most; there are 50."""
    samples_per_pixel: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    """At least so many samples of each channel in a point."""
    points: Annotated[int, Field(ge=1, le=MAX_POINTS)] | None = None
    """In all, at most; without any zoom 20,000."""
    format: Literal["json", "dat"] | None = None
    """`dat`: the binary format of audiowaveform, version 2, 8 bit."""

    @model_validator(mode="after")
    def _has_one_zoom(self) -> WaveformQuery:
        zooms = (self.points_per_second, self.samples_per_pixel, self.points)
        if sum(zoom is not None for zoom in zooms) > 1:
            raise ValueError("points_per_second, samples_per_pixel and points: give one of them")
        return self

    def window(self) -> Window:
        """Return what is wanted."""
        return Window(self.from_, self.to, self.points_per_second, self.samples_per_pixel, self.points)


class WaveformDocument(Document):
    """A waveform as ``audiowaveform`` writes it in JSON, with root mean squares beside it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": 2,
                    "channels": 2,
                    "sample_rate": 8000,
                    "samples_per_pixel": 160,
                    "bits": 8,
                    "length": 3,
                    "data": [-65, 63, -2, 2, -66, 64, -2, 1, -39, 45, -1, 1],
                    "rms": [38, 2, 40, 2, 22, 1],
                    "start": 0,
                    "start_s": 0.0,
                    "samples": 480,
                    "duration_s": 0.06,
                    "is_final": True,
                    "status": "available",
                }
            ]
        }
    )

    version: int
    channels: int
    sample_rate: int
    samples_per_pixel: int
    bits: int
    length: int
    """Points."""
    data: list[int]
    """Point after point, channel after channel: the smallest and the greatest sample, -128 to 127."""
    rms: list[int]
    """Point after point, channel after channel: the root mean square, 0 to 255, which is full scale."""
    start: int
    """The number of the first point at this zoom."""
    start_s: float
    samples: int
    """Of each channel in the whole file, so far."""
    duration_s: float
    is_final: bool
    """False: the recording is still being made."""
    status: Status


class RegionList(Document):
    """What there is to mark on the waveform of a recording."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "recording_id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
                    "duration_s": 61.24,
                    "is_final": True,
                    "omitted": 0,
                    "regions": [
                        {
                            "kind": "gap",
                            "start_s": 20.3,
                            "end_s": 20.78,
                            "length_s": 0.48,
                            "leg": "b",
                            "track": "inbound",
                            "channel": "right",
                            "cause": "stall",
                            "text": "0.48 s of leg b (inbound) are silence that the call did not have: nothing came "
                            "from it for a while.",
                        }
                    ],
                }
            ]
        }
    )

    recording_id: str
    duration_s: float
    is_final: bool
    omitted: int
    """Gaps and pauses beyond those that a receipt lists."""
    regions: list[Region]


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of waveforms."""
    router = Router(prefix="/v1/recordings", tags=["recordings"])

    @router.get(
        "/{recording_id}/waveform",
        operation_id="readWaveform",
        summary="Read the waveform",
        description="Smallest and greatest sample and root mean square of each channel, 50 points a second or "
        "coarser; of a running recording what there is by now.",
        response_model=WaveformDocument,
        responses={
            200: {"content": {_DAT: {"schema": {"type": "string", "format": "binary"}}}},
            304: {"description": "The caller's copy is right"},
            **problems(401, 404, 422, 502, 503),
        },
    )
    async def waveform(
        request: Request, recording_id: str, query: Annotated[WaveformQuery, Query()], app_id: AppId
    ) -> Response:
        recording = as_of(parts.now(), await parts.commands.get(app_id=app_id, recording_id=recording_id))
        as_dat = query.format == "dat" or (query.format is None and _DAT in request.headers.get("accept", ""))
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        if recording.status is Status.AVAILABLE:
            assert recording.receipt is not None
            asked = hashlib.sha256(f"{query!r} {as_dat}".encode()).hexdigest()[:16]
            etag = f'"{recording.receipt.audio_sha256[:32]}-{asked}"'
            headers |= {"Cache-Control": "private, no-cache", "ETag": etag}
            if etag in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            parts.check_disk_of(recording)
            found = await parts.waveforms.finished(recording, query.window())
            if found is None and (again := await look_again(parts, recording)) is not None:
                found = await parts.waveforms.finished(again, query.window())
            is_final = True
        elif recording.status.is_unfinished:
            found, is_final = await parts.waveforms.growing(recording, query.window()), False
        else:
            return problem(404, f"The recording has no audio: it is {recording.status}.")
        if found is None:
            return _none_yet(recording)
        headers |= {
            "X-Waveform-Start": str(found.start // found.factor),
            "X-Audio-Samples": str(found.samples),
            "X-Recording-Status": recording.status,
        }
        if as_dat:
            body = await parts.downloads.run(app_id, lambda: found.peaks().as_dat())
            return Response(body, media_type=_DAT, headers=headers)
        body = await parts.downloads.run(app_id, _as_json, found, is_final, recording.status)
        return Response(body, media_type=JSONResponse.media_type, headers=headers)

    @router.get(
        "/{recording_id}/regions",
        operation_id="readRegions",
        summary="Read what is to be marked",
        description="Gaps, pauses, trimmed, late and lost audio, in seconds of the file and in words.",
        response_model=RegionList,
        responses=problems(401, 404, 503),
    )
    async def regions(recording_id: str, app_id: AppId) -> Response:
        recording = as_of(parts.now(), await parts.commands.get(app_id=app_id, recording_id=recording_id))
        integrity, legs, duration_ms = await _account(recording)
        told = regions_of(integrity, legs, duration_ms=duration_ms, pause_behavior=recording.options.pause_behavior)
        found = RegionList(
            recording_id=recording.id,
            duration_s=duration_ms / 1000,
            is_final=not recording.status.is_unfinished,
            omitted=integrity.gaps_omitted + integrity.pauses_omitted,
            regions=told,
        )
        return JSONResponse(found.as_json())

    async def _account(recording: Recording) -> tuple[Integrity, tuple[LegReceipt, ...], int]:
        if (receipt := recording.receipt) is not None:
            return receipt.integrity, receipt.legs, receipt.duration_ms
        account = await parts.live.account(recording.id) if recording.status.is_unfinished else None
        if account is None or not account.sample_rate:
            return Integrity(), (), 0
        return account.integrity, account.legs, account.samples * 1000 // account.sample_rate

    return router


def _none_yet(recording: Recording) -> Response:
    if recording.status is Status.AVAILABLE:
        return problem(404, "The file of the recording is gone.")
    if recording.status is Status.ACCEPTED:
        return problem(404, "The recording waits for its first stream.", headers=_SOON)
    if recording.status is Status.COMPLETED:
        return problem(404, "The file is being finished.", headers=_SOON)
    return problem(404, "The recording has no audio yet, or is brought back after a restart.", headers=_SOON)


def _as_json(found: Stretch, is_final: bool, status: Status) -> bytes:
    peaks = found.peaks()
    form = peaks.form
    document: dict[str, Any] = {
        "version": 2,
        "channels": form.channels,
        "sample_rate": form.sample_rate_hz,
        "samples_per_pixel": form.samples_per_point,
        "bits": 8,
        "length": len(peaks.values),
        "data": peaks.extremes.reshape(-1).tolist(),
        "rms": peaks.root_mean_squares.reshape(-1).tolist(),
        "start": peaks.start,
        "start_s": peaks.start * form.samples_per_point / form.sample_rate_hz,
        "samples": found.samples,
        "duration_s": found.samples / form.sample_rate_hz,
        "is_final": is_final,
        "status": status,
    }
    return msgspec.json.encode(document)
