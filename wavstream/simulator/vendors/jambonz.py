"""jambonz' side of ``listen``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from wavstream.simulator.vendors.base import Message
from wavstream.simulator.vendors.freeswitch import AudioForkPeer


class JambonzPeer(AudioForkPeer):
    """Sends its facts of the call and of the audio with the verb's metadata among them, then raw samples."""

    dialect: ClassVar[str] = "jambonz"
    subprotocol: ClassVar[str | None] = "audio.jambonz.org"
    rates_hz: ClassVar[Sequence[int] | None] = (8_000, 16_000, 24_000, 32_000, 48_000)

    def opening(self) -> list[Message]:
        """Return the first text, in jambonz' order: metadata last."""
        stream = self.stream
        call = {
            "callSid": f"call-{stream.leg}",
            "direction": "inbound",
            "from": "+4930111",
            "to": "+4930222",
            "callId": f"{stream.leg}@sbc",
            "sipStatus": 200,
            "callStatus": "in-progress",
            "accountSid": "account-1",
        }
        mix = "stereo" if stream.channels == 2 else "mono"
        return [json.dumps({"sampleRate": stream.rate_hz, "mixType": mix, **call, **stream.parameters})]
