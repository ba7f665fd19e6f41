"""What FreeSWITCH's modules are sent, and the lines that start them; what they send is in ``tests/vectors``."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from tests.support.routes import ROUTES
from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.events import CallInfo, Ignored, Reason, StreamStarted
from wavstream.dialects.freeswitch import AudioForkDialect, AudioStreamDialect
from wavstream.media.request import read_request

ROOT = Path(__file__).parents[3]
COMMAND = re.compile(r"uuid_(audio_\w+) \S+ start (wss?://\S+) (mono|mixed|stereo) (\w+)")
LINES = [
    (file.name, *found.groups())
    for file in (ROOT / "docs/freeswitch.md", ROOT / "docs/media-servers.md", ROOT / "config/freeswitch/dialplan.xml")
    for found in COMMAND.finditer(html.unescape(file.read_text("utf-8")))
]


def started(kind: type[Dialect], **query: str) -> Dialect:
    dialect = kind(UpgradeRequest(session_id="s", leg="a", query=query, headers={}))
    assert isinstance(dialect.binary(bytes(640))[0], StreamStarted)
    return dialect


def test_a_fork_is_sent_the_samples_as_they_are_and_nothing_to_clear_them() -> None:
    fork = started(AudioForkDialect, rate="8000", two_way="1")
    assert fork.message(b"abcd") == (False, b"abcd")
    assert fork.clear() is None


@pytest.mark.parametrize(("return_rate", "rate_hz"), [({}, 16_000), ({"return_rate": "24000"}, 24_000)])
def test_a_stream_is_sent_a_sound_with_its_rate(return_rate: dict[str, str], rate_hz: int) -> None:
    message = started(AudioStreamDialect, rate="16000", two_way="1", **return_rate).message(b"abcd")
    assert message.is_text
    data = {"audioDataType": "raw", "sampleRate": rate_hz, "audioData": base64.b64encode(b"abcd").decode()}
    assert json.loads(message.data) == {"type": "streamAudio", "data": data}


def test_a_text_of_very_many_documents_is_read_in_part() -> None:
    events = started(AudioForkDialect, rate="8000").text(b'{"event":"x"}' * 10_000)
    assert len(events) == 65


@pytest.mark.parametrize(("file", "module", "url", "mix", "rate"), LINES)
def test_the_url_of_a_documented_command_says_what_the_command_says(
    file: str, module: str, url: str, mix: str, rate: str
) -> None:
    target = "/" + re.sub(r"\$\{\w+\}", "100", url).split("/", 3)[3]
    asked = read_request(Request(target, Headers()), routes=ROUTES, peer_host=None)
    assert asked.route.dialect.name == module.replace("_", "-"), file
    dialect = asked.route.dialect(asked.upgrade)
    dialect.opened()
    start = dialect.binary(bytes(640))[0]
    assert isinstance(start, StreamStarted)
    assert (start.format.rate_hz, start.format.channels) == (int(rate.rstrip("k")) * 1000, 2 if mix == "stereo" else 1)


def test_the_documents_have_such_commands() -> None:
    assert {file for file, *_ in LINES} == {"freeswitch.md", "media-servers.md", "dialplan.xml"}


def test_of_metadata_with_hundreds_of_fields_the_first_are_looked_at() -> None:
    stream = started(AudioStreamDialect, rate="8000")

    info, ignored = stream.text(json.dumps({f"id-{number}": "v" for number in range(300)}).encode())

    assert isinstance(info, CallInfo)
    assert len(info.call.vendor_ids) == 256
    assert ignored == Ignored(Reason.TOO_MANY_FIELDS)
