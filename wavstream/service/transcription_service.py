"""Transcripts as a running server makes them: the transcriber with its programs, by the settings.

What the engine lacks (a package, a model, an address) does not refuse the start: calls are recorded all the same. It is
in the log at the start, and each recording that asks for a transcript says so too.

A recording has the engine of the settings, unless its start asked in a vendor's words for another by its name, and the
settings say which that is. What the start said is with the recording, so a later wish has the same engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from wavstream.api.registry import FACADES
from wavstream.catalog.catalog import Catalog
from wavstream.model.fact import Fact
from wavstream.model.recording import Recording
from wavstream.settings import EngineSettings, TranscriptionSettings
from wavstream.storage.local import LocalStorage
from wavstream.storage.stores import FinishedFiles
from wavstream.transcription.engines.choice import HTTP, EngineChoice, missing
from wavstream.transcription.process import WorkerProcess
from wavstream.transcription.transcriber import Transcriber

log = structlog.get_logger(__name__)

USUAL_MODEL = "whisper-1"
"""What servers that transcribe call the model which each of them has."""


def engine_choice(settings: EngineSettings, nice: int) -> EngineChoice:
    """Return the engine that the settings choose, whose program has that priority."""
    usual = USUAL_MODEL if settings.engine == HTTP else ""
    return EngineChoice(
        engine=settings.engine,
        model=settings.model or usual,
        url=settings.url or "",
        key=None if settings.key is None else settings.key.get_secret_value(),
        timeout_s=settings.timeout_s,
        max_bytes=settings.max_bytes,
        allow_http=settings.allow_http,
        allow_localhost=settings.allow_localhost,
        nice=nice,
    )


def wanted_engine(recording: Recording) -> str:
    """Return the name of the engine that the start of a recording asked for; empty: it had no word for it."""
    origin = recording.origin
    return next((facade.engine_of(origin.said) for facade in FACADES if facade.name == origin.api), "")


def make_transcriber(
    settings: TranscriptionSettings,
    *,
    catalog: Catalog,
    files: FinishedFiles,
    storage: LocalStorage,
    spool: Path,
    facts_of: Callable[[Recording, dict[str, Any]], Sequence[Fact]],
    now: Callable[[], datetime],
    is_of_nodes: bool,
) -> Transcriber:
    """Return what transcribes, not started yet; say in the log what its engine lacks."""
    usual = engine_choice(settings, settings.nice)
    named: dict[str, EngineChoice] = {
        name: engine_choice(each, settings.nice) for name, each in settings.engines.items()
    }
    for choice in dict.fromkeys((usual, *named.values())):
        if (todo := missing(choice)) is not None:
            log.warning("transcription_engine_missing", engine=choice.engine, to_do=todo)
    # An engine that asks a server may be silent for as long as that may take.
    asking_s = [each.timeout_s + 30 for each in (usual, *named.values()) if each.engine == HTTP]
    hang_s = max([settings.hang_s, *asking_s])

    def choice_of(recording: Recording) -> EngineChoice:
        return named.get(wanted_engine(recording), usual)

    return Transcriber(
        catalog=catalog,
        files=files,
        storage=storage,
        spool=spool,
        processes=[WorkerProcess(usual, limit_s=hang_s) for _ in range(settings.workers)],
        choice_of=choice_of,
        language=settings.language,
        facts_of=facts_of,
        now=now,
        is_of_nodes=is_of_nodes,
    )
