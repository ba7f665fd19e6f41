"""What a server says of itself when it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from wavstream.service.server import running
from wavstream.settings import Settings

NOTHING_SAID: list[str] = []


@pytest.mark.parametrize(
    ("settings", "links"),
    [
        ({"host": "0.0.0.0"}, ["http://127.0.0.1:{port}"]),
        ({"host": "0.0.0.0", "public_url": "https://rec.example.com"}, NOTHING_SAID),
        ({"host": "127.0.0.1"}, NOTHING_SAID),
    ],
)
async def test_a_server_for_other_machines_whose_links_open_on_its_own_alone_warns_of_it(
    tmp_path: Path, settings: dict[str, Any], links: list[str]
) -> None:
    everything = Settings(port=0, data_dir=tmp_path, api_key=SecretStr("key-of-the-default-app"), **settings)
    with capture_logs() as logs:
        async with running(everything) as (service, _):
            port = service.settings.port
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["links"] for entry in warnings] == [each.format(port=port) for each in links]
    assert all("WAVSTREAM_PUBLIC_URL" in entry["event"] for entry in warnings)
