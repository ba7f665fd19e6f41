"""The console's commands in a terminal, beside a server that runs, ends, and comes again."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from rich.console import Console

from tests.support.recorder import Recorder, hear, recorder
from tests.support.talking import RATE_HZ, say
from tests.support.tones import tone
from tests.support.waiting import until
from wavstream.cli import drawing
from wavstream.cli.apps import add_app, revoke_key
from wavstream.cli.drawing import NotPlayed, draw_waveform, play_recording
from wavstream.cli.watching import watch
from wavstream.errors import Unauthenticated
from wavstream.service.server import running
from wavstream.settings import Settings
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control

KEY = "key-of-the-app-default"


class Screen:
    """Where a command writes to."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, width=100)

    def told(self) -> list[str]:
        """Return the names of the events that were printed."""
        return [json.loads(line)["event"] for line in self.file.getvalue().splitlines()]


async def told(base_url: str, command: Callable[[Control], None], key: str | None = None) -> None:
    """Run a command beside the server, on a thread."""

    def run() -> None:
        control = Control(ServerAddress.parse(base_url), key=key)
        try:
            command(control)
        finally:
            control.close()

    await asyncio.to_thread(run)


async def test_watching_goes_on_over_a_restart_and_ends_with_its_key(tmp_path: Path) -> None:
    settings, out, screen = Settings(data_dir=tmp_path), Console(record=True, width=500), Screen()
    async with recorder(tmp_path, api_key=SecretStr(KEY)) as (client, service):
        port = service.settings.port
        await asyncio.to_thread(asyncio.run, add_app("shop", None, (), settings, out))
        key = out.export_text().split()[-1]
        mine = Recorder(client.base_url, key=key)

        async def is_known() -> bool:
            return (await mine.http.get("/v1/sessions")).status_code == 200

        await until(is_known)
        watching = asyncio.create_task(
            told(client.base_url, lambda control: watch(control, screen.console, as_json=True, for_s=None), key)
        )
        await until(lambda: "whole" in screen.told())
    await until(lambda: "lost" in screen.told())
    async with running(Settings(port=port, data_dir=tmp_path, api_key=SecretStr(KEY))):
        await until(lambda: screen.told().count("reset") == 2)
        await mine.start("call-77")
        await until(lambda: '"call-77"' in screen.file.getvalue())
        await asyncio.to_thread(asyncio.run, revoke_key("shop", "main", settings, out))
        with pytest.raises(Unauthenticated):
            await watching
    await mine.http.aclose()


async def test_watching_for_a_while_ends_though_nothing_is_told_and_a_recording_is_drawn(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        screen = Screen()
        await told(client.base_url, lambda control: watch(control, screen.console, as_json=False, for_s=0.5))
        text = screen.file.getvalue()
        assert text.rstrip().endswith("nothing is live")
        assert text.endswith("\n")
        recording = await client.start("call-77", channels="mono")
        async with client.connect("/media/pcm/call-77/a") as socket:
            await say(socket, tone(440, 1.0), np.zeros(RATE_HZ, np.int16))
        await client.until(recording)
        drawing = Screen()
        await told(
            client.base_url,
            lambda control: draw_waveform(control, recording["id"], as_json=False, console=drawing.console),
        )
        line, scale = drawing.file.getvalue().splitlines()
        bars = line.strip(" ")
        # Of two seconds the first is loud, on half of the 72 places.
        assert 0.4 < len(bars) / (len(scale) - len("       ")) < 0.6
        assert scale.split()[-2:] == ["2.0", "s"]


async def test_a_recording_is_played_by_the_player_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    players, kept = tmp_path / "players", tmp_path / "kept.wav"
    await asyncio.to_thread(players.mkdir)

    def install(name: str, code: int) -> None:
        player = players / name
        player.write_text(
            f'#!/bin/sh\nfor last; do :; done\ncat "$last" > {kept}\necho "$@" > {kept}.said\nexit {code}\n'
        )
        player.chmod(0o755)

    monkeypatch.setenv("PATH", f"{players}:/bin:/usr/bin")
    monkeypatch.setattr(drawing, "PLAYERS", [each for each in drawing.PLAYERS if each[0] in ("ffplay", "aplay")])
    async with recorder(tmp_path / "data") as (client, _):
        recording = await client.start("call-77", format="mp3", channels="mono")
        async with client.connect("/media/pcm/call-77/a") as socket:
            await say(socket, tone(440, 1.0))
        await client.until(recording)
        await asyncio.to_thread(install, "aplay", 0)
        screen = Screen()

        def play(control: Control) -> None:
            play_recording(control, recording["id"], as_json=True, console=screen.console)

        await told(client.base_url, play)
        told_of = json.loads(screen.file.getvalue())
        assert (told_of["player"], told_of["recording_id"]) == ("aplay", recording["id"])
        samples, rate_hz = hear(await asyncio.to_thread(kept.read_bytes))  # a WAV file, whatever was recorded
        assert rate_hz == RATE_HZ
        assert len(samples) / rate_hz == pytest.approx(1.0, abs=0.01)
        await asyncio.to_thread(install, "ffplay", 3)  # a better one, which fails
        with pytest.raises(NotPlayed, match="ffplay has failed with exit code 3"):
            await told(client.base_url, play)
        said = await asyncio.to_thread(Path(f"{kept}.said").read_text)
        assert "-autoexit" in said
        assert not Path(said.split()[-1]).exists()  # noqa: ASYNC240 - of a test
