"""What a load recorded: every file looked at, compared sample by sample where that is asked for, and removed again."""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import numpy as np
import soundfile

from wavstream.errors import WavstreamError
from wavstream.simulator.control import Control
from wavstream.simulator.load_messages import CODECS
from wavstream.simulator.load_plan import Call, LoadRequest, LoadResult
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, ChannelCheck, check_channel, make_ring, sent_by

_FINISH_TIMEOUT_S = 60.0
_RUNNING = ("accepted", "ongoing", "paused", "completed")
_IN_FLIGHT_FRAMES = 3
"""The newest frames of a leg at the moment of a stop, which may not have reached the server yet."""


class Files:
    """Looks at the recordings of a load, one after another; for one thread."""

    def __init__(self, control: Control, request: LoadRequest, result: LoadResult) -> None:
        self._control, self._request, self._result = control, request, result
        self._ring = make_ring(CODECS[request.dialect])
        if request.verify:
            result.lost_samples = 0

    def look(self, call: Call) -> None:
        """Check the recording of a call that is over, and remove it; what is wrong is among the complaints."""
        if not call.recording_id:
            return
        try:
            recording = self._finished(call.recording_id)
            if recording["status"] != "available":
                self._complain(call, f"its recording is {recording['status']}, not available")
            elif self._request.verify:
                self._compare(self._control.fetch(recording["url"]), call)
                self._result.verified_files += 1
            if not self._request.keep and recording["status"] not in _RUNNING:
                self._control.erase(call.recording_id)
                call.recording_id, call.is_asked_for = "", False
        except WavstreamError as refused:
            self._complain(call, str(refused))

    def _complain(self, call: Call, what: str) -> None:
        self._result.complaints.append(f"call {call.number}: {what}")

    def _finished(self, recording_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + _FINISH_TIMEOUT_S
        while True:
            recording = self._control.recording(recording_id)
            if recording["status"] not in _RUNNING or time.monotonic() > deadline:
                return recording
            time.sleep(0.05)

    def _compare(self, wav: bytes, call: Call) -> None:
        samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="int16", always_2d=True)
        if samples.shape[1] != 2 or rate_hz != 8_000:
            self._complain(call, f"{samples.shape[1]} channels at {rate_hz} Hz, not 2 at 8000")
            return
        required = None
        if call.stopped_frame is not None:
            required = max(min(call.stopped_frame - _IN_FLIGHT_FRAMES, call.frames), 0) * FRAME_SAMPLES
        for channel, leg in enumerate((2 * call.place, 2 * call.place + 1)):
            signal = sent_by(leg, legs=self._request.legs, frames=call.frames, ring=self._ring)
            check = check_channel(np.ascontiguousarray(samples[:, channel]), signal, required=required)
            if not check.is_exact:
                self._complain(call, f"channel {channel}: {check}")
            self._add(check)

    def _add(self, check: ChannelCheck) -> None:
        result, offset_ms = self._result, check.offset / FRAME_SAMPLES * PTIME_S * 1000
        result.lost_samples = (result.lost_samples or 0) + check.lost
        result.extra_samples += check.extra
        result.hole_samples += check.holes
        low, high = result.offset_ms or (offset_ms, offset_ms)
        result.offset_ms = (min(low, offset_ms), max(high, offset_ms))


def remove(calls: list[Call], control: Control) -> None:
    """Stop and remove what a load that was broken off has recorded, as far as that can be done."""
    for call in calls:
        if call.recording_id:
            _remove(call.recording_id, control)
        elif call.is_asked_for:
            with contextlib.suppress(WavstreamError):
                for found in control.recordings(1, session_id=call.session_id):
                    _remove(found["id"], control)


def _remove(recording_id: str, control: Control) -> None:
    for ask in (control.stop, control.erase):
        # It may have ended by itself, or the server be gone: the next is tried all the same.
        with contextlib.suppress(WavstreamError):
            ask(recording_id)
