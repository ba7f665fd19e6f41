"""A server that transcribes, as the engine ``http`` asks one: it hears one thing, and knows no German."""

from __future__ import annotations

import json
from typing import Any

from tests.support.receiver import Answer, Received, Receiver
from wavstream.settings import TranscriptionSettings

HEARD = "good morning"


class Hearing(Receiver):
    """Answers each stretch of speech with what it ``heard``; German is refused for good."""

    def __init__(self, heard: str = HEARD) -> None:
        super().__init__(self._hear)
        self._heard = heard

    async def _hear(self, request: Received) -> Answer:
        if b'name="language"\r\n\r\nde\r\n' in request.body:
            return Answer(400, body=b'{"error": "no German"}')
        return Answer(body=json.dumps({"text": self._heard}).encode())

    @property
    def engine(self) -> dict[str, Any]:
        """How a server is set that asks this one."""
        return {"engine": "http", "url": self.url, "allow_http": True, "allow_localhost": True}

    def other(self, name: str) -> dict[str, Any]:
        """Return the setting of an engine with a name, which asks for a model of its own."""
        return {name: {**self.engine, "model": f"the-model-of-{name}"}}

    def settings(self, **more: object) -> dict[str, Any]:
        """Return the settings of a recorder that asks this one."""
        return {"transcription": TranscriptionSettings.model_validate({**self.engine, "nice": 0, **more})}
