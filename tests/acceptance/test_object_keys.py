"""Files lie where the operator's template says, by what was known of their call when they were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.listening import beeps
from tests.support.recorder import Recorder, recorder
from wavstream.service.service import Service
from wavstream.simulator.caller import Leg

RATE_HZ = 8000
SAID = beeps(0.5, rate_hz=RATE_HZ, frequency_hz=700.0)
TEMPLATE = "{metadata.customer}/{direction}/{from}/{to}/{date}-{hour}/{session_id}-{recording_id}.{ext}"
FACTS = "from=%2B4930123456&to=sip:a/../b@example.com&direction=inbound"
KNOWN = "inbound/plus4930123456/sip-a-..-b-example.com--"
"""What of these is in a key; a digest follows."""


async def key_of(service: Service, recording: dict[str, Any]) -> str:
    """Return the key of a finished recording, whose file is there."""
    row = await service.catalog.recordings.get(recording["id"])
    assert row is not None
    assert (service.folder.recordings / row.object_key).is_file()
    assert row.object_key.endswith(f"/{row.session_id}-{row.id}.wav")
    assert f"/{row.created_at:%Y-%m-%d-%H}/" in row.object_key
    return row.object_key


async def ended(client: Recorder, session_id: str) -> dict[str, Any]:
    """Return the only recording of a session, finished."""
    (recording,) = (await client.http.get("/v1/recordings", params={"session_id": session_id})).json()["data"]
    return await client.until(recording)


async def test_a_key_has_what_is_known_of_the_call_when_its_recording_is_asked_for(tmp_path: Path) -> None:
    async with recorder(tmp_path, object_key=TEMPLATE) as (client, service):
        async with client.connect(f"/media/pcm/by-stream/a?record=1&{FACTS}") as media:
            await media.send(SAID.tobytes())
        async with client.connect(f"/media/pcm/while-live/a?{FACTS}") as media:
            await media.send(SAID.tobytes())
            body = {"session_id": "while-live", "metadata": {"customer": "Acme_3"}}
            assert (await client.http.post("/v1/recordings", json=body)).status_code == 201
            await media.send(SAID.tobytes())
        early = await client.start("before")
        await client.play_at_once("before", Leg("a", SAID[:, None], RATE_HZ, query={"from": "+4930123456"}))

        keys = [await key_of(service, await ended(client, each)) for each in ("by-stream", "while-live")]
        late = await client.until(early)

        assert keys[0].startswith(f"none/{KNOWN}")
        assert keys[1].startswith(f"Acme_3/{KNOWN}")
        assert (await key_of(service, late)).startswith("none/none/none/none/")
        assert late["from"] == "+4930123456"
        assert (await client.fetch(late))[:4] == b"RIFF"
