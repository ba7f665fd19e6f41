"""Which engine the settings choose, made where it works: in the worker program."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from wavstream.transcription.engines.base import Engine, EngineFailed
from wavstream.transcription.engines.faster_whisper_engine import INSTALL as INSTALL_FASTER_WHISPER
from wavstream.transcription.engines.faster_whisper_engine import FasterWhisperEngine
from wavstream.transcription.engines.http_engine import HttpEngine
from wavstream.transcription.engines.pocketsphinx_engine import INSTALL as INSTALL_POCKETSPHINX
from wavstream.transcription.engines.pocketsphinx_engine import PocketSphinxEngine

POCKETSPHINX, FASTER_WHISPER, HTTP = "pocketsphinx", "faster-whisper", "http"
_PACKAGES = {
    POCKETSPHINX: ("pocketsphinx", INSTALL_POCKETSPHINX),
    FASTER_WHISPER: ("faster_whisper", INSTALL_FASTER_WHISPER),
}


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine and how it is set, as the worker program is told."""

    engine: str
    """`pocketsphinx`, `faster-whisper` or `http`."""
    model: str = ""
    """faster-whisper: its folder; http: the name that the server knows."""
    url: str = ""
    key: str | None = None
    timeout_s: float = 120.0
    max_bytes: int = 25_000_000
    allow_http: bool = False
    allow_localhost: bool = False
    nice: int = 19
    """Priority of the program: 19 is the lowest."""

    @property
    def name(self) -> str:
        """What a transcript says of it."""
        return f"{self.engine} {self.model}" if self.engine == HTTP and self.model else self.engine


def missing(choice: EngineChoice) -> str | None:
    """Return what has to be done before the engine can work; None: nothing that can be known without it."""
    package, install = _PACKAGES.get(choice.engine, (None, ""))
    if package is not None and find_spec(package) is None:
        return f"{choice.engine} is not installed: {install}"
    if choice.engine == FASTER_WHISPER and not choice.model:
        return "set transcription.model to the folder of a model"
    if choice.engine == HTTP and not choice.url:
        return "set transcription.url to the address of a server that transcribes"
    return None


def make_engine(choice: EngineChoice) -> Engine:
    """Return the engine, with its model loaded; raise EngineFailed."""
    if (todo := missing(choice)) is not None:
        raise EngineFailed(todo, is_lasting=True)
    if choice.engine == POCKETSPHINX:
        return PocketSphinxEngine()
    if choice.engine == FASTER_WHISPER:
        return FasterWhisperEngine(choice.model)
    return HttpEngine(
        url=choice.url,
        key=choice.key,
        model=choice.model,
        timeout_s=choice.timeout_s,
        max_bytes=choice.max_bytes,
        allow_http=choice.allow_http,
        allow_localhost=choice.allow_localhost,
    )
