"""A run: one document on one call, as it stands at a moment, and the document in which it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import ConfigDict

from wavstream.api.signalwire.swml.verbs import Step
from wavstream.model.document import Document
from wavstream.model.times import Moment

MAX_MADE = 100
"""Recordings of a call that a run remembers, the newest."""


class RunStatus(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    COMPLETED = "completed"
    """Every step succeeded."""
    FAILED = "failed"
    """A step did not, or the run ended before its document."""


class StepStatus(StrEnum):
    """Where a step is."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """The run ended before it."""


class Made(NamedTuple):
    """A recording that a document has started on the call."""

    recording_id: str
    control_id: str | None


@dataclass(slots=True)
class StepState:
    """One step of a run."""

    verb: str
    status: StepStatus = StepStatus.WAITING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    note: str | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """One document on one call."""

    id: str
    app_id: str
    call_id: str
    project: str | None
    """The account that its caller named."""
    program: Sequence[Step]
    started_at: datetime
    steps: list[StepState] = field(init=False)
    status: RunStatus = RunStatus.RUNNING
    ended_at: datetime | None = None
    error: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)
    """The recordings that documents have started on the call, by their URLs, in order."""

    def __post_init__(self) -> None:
        self.steps = [StepState(step.verb) for step in self.program]

    def inherit(self, earlier: Run) -> None:
        """Take over what an earlier document of the same call has set."""
        self.variables = dict(earlier.variables)
        self.made = dict(earlier.made)

    def remember(self, url: str, recording_id: str, control_id: str | None) -> None:
        """Note that a recording was started."""
        self.made[url] = Made(recording_id, control_id)
        while len(self.made) > MAX_MADE:
            del self.made[next(iter(self.made))]

    def end(self, now: datetime, error: str | None) -> None:
        """Note that the run is over; ``error`` says why it is over before its time, None: it came to its end."""
        for index, step in enumerate(self.steps):
            if step.status is StepStatus.RUNNING:
                step.status, step.ended_at, step.note = StepStatus.FAILED, now, error
            elif step.status is StepStatus.WAITING:
                step.status = StepStatus.SKIPPED
            if step.status is StepStatus.FAILED and (error is None or step.note != error):
                self.error = self.error or f"step {index} ({step.verb}): {step.note}"
        self.error = error or self.error
        self.status = RunStatus.COMPLETED if self.error is None else RunStatus.FAILED
        self.ended_at = now
        self.program = ()


class StepDocument(Document):
    """One step of a run."""

    index: int
    """From 0."""
    verb: str
    status: StepStatus
    """waiting, running, completed, failed, or skipped: the run ended before it."""
    started_at: Moment | None
    ended_at: Moment | None
    note: str | None
    """Why it failed, or what there is to say about it."""


class RunDocument(Document):
    """One document on one call."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0d6c8d5f-6f0b-4f5e-9c8e-1d2f3a4b5c6d",
                    "call_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
                    "status": "completed",
                    "started_at": "2026-11-01T10:00:00.000000Z",
                    "ended_at": "2026-11-01T10:00:00.012000Z",
                    "steps": [
                        {
                            "index": 0,
                            "verb": "record_call",
                            "status": "completed",
                            "started_at": "2026-11-01T10:00:00.000100Z",
                            "ended_at": "2026-11-01T10:00:00.011900Z",
                            "note": None,
                        }
                    ],
                    "variables": {"record_call_result": "success", "record_control_id": "rec-1"},
                    "error": None,
                }
            ]
        }
    )

    id: str
    call_id: str
    status: RunStatus
    """running; completed: every step succeeded; failed: a step did not, or the run ended before its document."""
    started_at: Moment
    ended_at: Moment | None
    steps: tuple[StepDocument, ...]
    variables: dict[str, str]
    """As they are now."""
    error: str | None
    """What went wrong first, or why the run ended before its document."""


def run_document(run: Run) -> RunDocument:
    """Return the run as it is now."""
    return RunDocument(
        id=run.id,
        call_id=run.call_id,
        status=run.status,
        started_at=run.started_at,
        ended_at=run.ended_at,
        steps=tuple(
            StepDocument(
                index=index,
                verb=step.verb,
                status=step.status,
                started_at=step.started_at,
                ended_at=step.ended_at,
                note=step.note,
            )
            for index, step in enumerate(run.steps)
        ),
        variables=dict(run.variables),
        error=run.error,
    )
