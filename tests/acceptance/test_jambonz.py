"""jambonz' "record all calls" on a real socket: wavstream in the place of its stock receiver."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.support.recorder import Recorder, recorder
from tests.support.speech import noise
from wavstream.dialects.jambonz import BUCKET_VENDORS

KEY = "key-of-jambonz-" + "0123456789abcdef" * 2
FIRST = {
    "sampleRate": 8000,
    "mixType": "stereo",
    "callSid": "7f0e",
    "direction": "inbound",
    "from": "+4930111",
    "to": "+4930222",
    "callId": "a@b",
    "accountSid": "acc1",
    "applicationSid": "app1",
}


def dial(client: Recorder, path: str, key: str = KEY) -> connect:
    """Connect as the feature server does: any user, and a password."""
    basic = base64.b64encode(f"jambonz:{key}".encode()).decode()
    return connect(
        client.base_url.replace("http", "ws", 1) + path,
        subprotocols=[Subprotocol("audio.jambonz.org")],
        additional_headers={"Authorization": f"Basic {basic}"},
    )


@pytest.mark.parametrize("vendor", BUCKET_VENDORS)
async def test_a_call_is_recorded_under_its_sid_and_keys_are_no_audio(tmp_path: Path, vendor: str) -> None:
    said = np.stack((noise(1.0, seed=1), noise(1.0, seed=2)), 1)
    template = "{year}/{month}/{day}/{session}-{recording_id}.{ext}"
    async with recorder(tmp_path, api_key=KEY, object_key=template) as (plain, service):
        client = Recorder(plain.base_url, key=KEY, service=service)
        async with dial(client, f"/record/{vendor}") as socket:
            assert socket.subprotocol == "audio.jambonz.org"
            await socket.send(json.dumps(FIRST))
            for start in range(0, len(said), 160):
                await socket.send(said[start : start + 160].tobytes())
                if start % 1600 == 0:
                    await socket.send('{"event":"dtmf","dtmf":"5","duration":"1600"}')
        recording = await client.only_recording("7f0e")
        samples, rate_hz = await client.listen(recording)
        files = [path.relative_to(tmp_path / "recordings") for path in (tmp_path / "recordings").rglob("*.wav")]
        await client.http.aclose()
    assert rate_hz == 8000
    assert np.array_equal(samples[-len(said) :], said)
    assert [(len(path.parts), path.name.startswith("7f0e-")) for path in files] == [(4, True)]


@pytest.mark.parametrize("path", ["/record", "/record/dropbox", "/record/aws_s3/a/b/c"])
async def test_elsewhere_there_is_nothing(tmp_path: Path, path: str) -> None:
    async with recorder(tmp_path, api_key=KEY) as (client, _):
        with pytest.raises(InvalidStatus) as refused:
            await dial(client, path)
    assert refused.value.response.status_code == 404


async def test_a_wrong_password_opens_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key=KEY) as (client, _):
        with pytest.raises(InvalidStatus) as refused:
            await dial(client, "/record/aws_s3", "wrong")
    assert refused.value.response.status_code == 401
