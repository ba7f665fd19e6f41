"""The pages for the first hour, followed to the letter: what stands in them is typed, and the file is listened to.

FreeSWITCH, the tunnel and Twilio are stand-ins. Installing is left out: packages are built and installed elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from bench.processes import free_port
from tests.support.listening import beeps, find_beeps
from tests.support.recorder import hear
from tests.support.stand_ins.cloudflared import NAME
from tests.support.terminal import ROOT, terminal, tool
from tests.support.waiting import until
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import encode

RATE_HZ, SAID_HZ, HEARD_HZ = 8_000, 600.0, 1500.0
TWILIO_TOKEN = "0f0e0d0c0b0a09080706050403020100"


def commands(page: str, port: int) -> list[str]:
    """Return the shell blocks of a page without those that install, for a server on this machine at that port."""
    text = (ROOT / "docs" / page).read_text("utf-8").replace("10.0.0.7", "127.0.0.1").replace("8080", str(port))
    return [block for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if "pip " not in block]


def filled(block: str, **values: str) -> str:
    """Fill in what a reader fills in: the names that the block leaves empty."""
    for name, value in values.items():
        block, count = re.subn(rf"^((?:export )?{name}=)$", rf"\g<1>{value}", block, flags=re.MULTILINE)
        assert count == 1, f"{name} is not left open in: {block}"
    assert not re.search(r"^\S*\w=$", block, re.MULTILINE), block
    return block


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder that has what the pages use of the project's."""
    for name in ("examples", "wavstream"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def heard_in(file: Path) -> tuple[list[float], list[float]]:
    """Return when beeps begin that are said, in the left channel, and such that are heard, in the right one."""
    samples, rate_hz = hear(file.read_bytes())
    return find_beeps(samples[:, 0], rate_hz, SAID_HZ), find_beeps(samples[:, 1], rate_hz, HEARD_HZ)


async def test_ten_minutes_with_freeswitch_end_with_the_file_of_a_call(folder: Path) -> None:
    port = free_port()
    serve, first, modules, call, token, stream, look, hang_up, fetch = commands("ten-minutes-freeswitch.md", port)
    tools, state = folder / "tools", folder / "state"
    tool(tools, "fs_cli", "tests.support.stand_ins.fs_cli")
    state.mkdir()
    variables = {"WAVSTREAM_PORT": str(port)}
    async with (
        terminal(folder, variables) as recorder,
        terminal(folder, {"FS_CLI_STATE": str(state)}, tools=tools) as switch,
    ):
        recorder.type(serve)
        key = (await recorder.until(r"^KEY=(\w+)$"))[1]
        await recorder.until("server_ready")
        assert '"ready":true' in await switch.run(filled(first, KEY=key))
        assert await switch.run(modules) == "true\nfalse\n"
        await switch.run(call)
        assert "token wst_" in await switch.run(token)
        assert "+OK" in await switch.run(stream)
        assert int(re.findall(r'"received_ms":(\d+)', await switch.run(look))[0]) > 0
        assert '"status":"available"' in await switch.run(hang_up)
        await switch.run(fetch)

    said, heard = heard_in(folder / "call.wav")
    assert len(said) >= 2
    assert heard == []


async def test_ten_minutes_with_twilio_end_with_the_file_of_a_call(folder: Path) -> None:
    port, tunnel_port = free_port(), free_port()
    tunnel, serve, filled_in, ready, call, look, hang_up, fetch = commands("ten-minutes-twilio.md", port)
    tools = folder / "tools"
    tool(tools, "cloudflared", "tests.support.stand_ins.cloudflared")
    async with (
        twilio(tunnel_port) as api,
        terminal(folder, {"TUNNEL_PORT": str(tunnel_port)}, tools=tools) as first,
        terminal(folder, {"WAVSTREAM_PORT": str(port)}) as second,
        terminal(folder, {}) as third,
    ):
        # The internet: the name of the tunnel is at its port, with a certificate that nobody knows.
        (folder / "home" / ".curlrc").write_text(f'connect-to = "{NAME}:443:127.0.0.1:{tunnel_port}"\ninsecure\n')
        first.type(tunnel)
        public_url = (await first.until(r"(https://\S+)"))[1]
        second.type(filled(serve, WAVSTREAM_PUBLIC_URL=public_url, WAVSTREAM_TWILIO__AUTH_TOKEN=TWILIO_TOKEN))
        key = (await second.until(r"^KEY=(\w+)$"))[1]
        await second.until("server_ready")
        account = {"ACCOUNT": "AC1", "AUTH_TOKEN": TWILIO_TOKEN, "FROM": "+15005550006", "TO": "+493012345"}
        await third.run(filled(filled_in, KEY=key, TUNNEL=public_url, **account))
        assert '"ready":true' in await third.run(ready)
        await third.run(call.replace("https://api.twilio.com", api.url))
        await until(lambda: api.is_streaming)
        assert '"session_id":"CA1"' in await third.run(look)
        await api.hang_up()
        assert '"status":"available"' in await third.run(hang_up)
        await third.run(fetch)

    said, heard = heard_in(folder / "call.wav")
    assert len(said) >= 2
    assert len(heard) >= 2


async def test_the_gateways_page_ends_with_five_seconds_of_the_call(folder: Path) -> None:
    port = free_port()
    serve, application, media_server, beyond = commands("gateway-in-one-page.md", port)
    async with (
        terminal(folder, {"WAVSTREAM_PORT": str(port)}) as first,
        terminal(folder, {"BASE": f"http://127.0.0.1:{port}"}) as second,
        terminal(folder, {"WAVSTREAM_PORT": str(port)}) as third,
    ):
        first.type(serve)
        admin_key = (await first.until(r"^ADMIN_API_KEY=(\w+)$"))[1]
        await first.until("server_ready")
        second.type(filled(application, ADMIN_API_KEY=admin_key))
        key = (await second.until(r"^APP_KEY=(\w+)$"))[1]
        await second.until("registered; waiting")
        third.type(filled(media_server, APP_KEY=key).replace("--session", f"--url http://127.0.0.1:{port} --session"))
        await second.until(r"^saved call-77.wav, [456] s$")
    samples, rate_hz = hear((folder / "call-77.wav").read_bytes())
    assert 4.5 < len(samples) / rate_hz < 6.5
    assert [bool(np.abs(channel).max() > 1_000) for channel in samples.T] == [True, True]

    async with terminal(folder, {"WAVSTREAM_PORT": str(free_port())}) as anew:
        anew.type(beyond)
        await anew.until("server_ready")


# ---- Twilio ----------------------------------------------------------------------------------------------------------


class Twilio:
    """Takes one call by its REST API, and streams it where its TwiML says, signed, until it hangs up."""

    def __init__(self, tunnel_port: int) -> None:
        self.url = ""
        self.is_streaming = False
        self._tunnel_port = tunnel_port
        self._call: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request to make a call, and make it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.findall(r"(?i)content-length: (\d+)", head)[0])
        form = parse_qs((await reader.readexactly(length)).decode())
        assert head.startswith("POST /2010-04-01/Accounts/AC1/Calls.json "), head
        assert base64.b64encode(f"AC1:{TWILIO_TOKEN}".encode()).decode() in head
        assert (form["From"], form["To"]) == (["+15005550006"], ["+493012345"])
        url, record = re.findall(r'url="([^"]+)".*name="record" value="([^"]+)"', form["Twiml"][0])[0]
        self._call = asyncio.create_task(self._stream(url, record))
        body = b'{"account_sid": "AC1", "sid": "CA1", "status": "queued"}'
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async def hang_up(self) -> None:
        """End the call, after three seconds of it."""
        assert self._call is not None
        self._over.set()
        await self._call

    async def _stream(self, url: str, record: str) -> None:
        signature = base64.b64encode(hmac.digest(TWILIO_TOKEN.encode(), url.encode(), "sha1")).decode()
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        start = {
            "streamSid": "MZ1", "callSid": "CA1", "accountSid": "AC1", "tracks": ["inbound", "outbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE_HZ, "channels": 1},
            "customParameters": {"record": record},
        }  # fmt: skip
        tracks = {"inbound": sounds(SAID_HZ, 0.3), "outbound": sounds(HEARD_HZ, 0.6)}
        async with connect(
            url, host="127.0.0.1", port=self._tunnel_port, ssl=trusting, compression=None,
            additional_headers={"X-Twilio-Signature": signature},
        ) as stream:  # fmt: skip
            await stream.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
            await stream.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))
            for at in range(0, 3 * RATE_HZ, 160):
                for track, samples in tracks.items():
                    payload = base64.b64encode(encode(samples[at : at + 160, None], Codec.PCMU)).decode()
                    media = {"track": track, "timestamp": str(at // 8), "payload": payload}
                    await stream.send(json.dumps({"event": "media", "streamSid": "MZ1", "media": media}))
            self.is_streaming = True
            await self._over.wait()
            await stream.send(json.dumps({"event": "stop", "streamSid": "MZ1", "stop": {"callSid": "CA1"}}))


def sounds(frequency_hz: float, offset_s: float) -> NDArray[np.int16]:
    return beeps(3.0, rate_hz=RATE_HZ, frequency_hz=frequency_hz, offset_s=offset_s)


@asynccontextmanager
async def twilio(tunnel_port: int) -> AsyncIterator[Twilio]:
    api = Twilio(tunnel_port)
    async with await asyncio.start_server(api.answer, "127.0.0.1") as server:
        api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield api
