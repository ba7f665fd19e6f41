"""``wavstream send``: files in, a call out, errors in one line."""

from __future__ import annotations

import asyncio
import io
import math
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from tests.unit.simulator.receiver import receiver
from wavstream.errors import Unauthenticated
from wavstream.simulator.control import Control
from wavstream.simulator.send import SendRequest, read_wav, run_send

NOWHERE = "ws://127.0.0.1:1"


def wav(path: Path, *, rate_hz: int = 8_000, channels: int = 1, samples: int = 800, subtype: str = "PCM_16") -> Path:
    sound = np.random.default_rng(1).integers(-9_000, 9_000, (samples, channels), dtype=np.int16)
    soundfile.write(path, sound if subtype.startswith("PCM") else sound / 32_768, rate_hz, subtype=subtype)
    return path


async def test_each_file_is_a_leg_of_one_session(tmp_path: Path) -> None:
    first, second = wav(tmp_path / "x.wav"), wav(tmp_path / "y.wav", rate_hz=16_000, channels=2)
    screen = Console(file=io.StringIO(), width=200)
    async with receiver() as heard:
        request = SendRequest(
            files=[first, second], url=f"ws://127.0.0.1:{heard.address.port}", session_id="call-1", speed=math.inf
        )
        assert await asyncio.to_thread(run_send, request, screen) == 0
    by_target = {one.target.partition("?")[0]: one for one in heard.connections}
    assert set(by_target) == {"/media/pcm/call-1/a", "/media/pcm/call-1/b"}
    for leg, file in (("a", first), ("b", second)):
        sound, _ = soundfile.read(file, dtype="int16")
        assert by_target[f"/media/pcm/call-1/{leg}"].audio == sound.tobytes()
    assert isinstance(screen.file, io.StringIO)
    assert "leg a 0.10 s in 1 messages, leg b 0.05 s" in screen.file.getvalue()


@pytest.mark.parametrize(
    ("session_id", "before", "after", "is_told"),
    [
        (None, (), (), True),
        (None, (), ("new",), False),
        ("call-1", ("old",), ("old",), True),
        ("call-1", ("running",), ("running",), False),
        ("call-1", (), ("absent",), True),
        ("call-1", (), None, False),
    ],
)
async def test_a_call_that_nobody_records_is_told_of_where_the_server_lets_us_look(
    session_id: str | None,
    before: tuple[str, ...],
    after: tuple[str, ...] | None,
    is_told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [after] if session_id is None else [before, after]

    def recordings(_: Control, limit: int, **filters: str | None) -> list[dict[str, object]]:
        if (found := answers.pop(0)) is None:
            raise Unauthenticated("a stream token")
        status = {"running": "ongoing", "absent": "absent"}
        return [
            {"id": each, "status": status.get(each, "available"), "ended_at": None if each == "running" else "then"}
            for each in found
        ]

    monkeypatch.setattr(Control, "recordings", recordings)
    screen = Console(file=io.StringIO(), width=200)
    async with receiver() as heard:
        request = SendRequest(
            files=[wav(tmp_path / "x.wav")],
            url=f"ws://127.0.0.1:{heard.address.port}",
            session_id=session_id,
            speed=math.inf,
        )
        assert await asyncio.to_thread(run_send, request, screen) == 0
    assert isinstance(screen.file, io.StringIO)
    assert ("nothing of it is kept" in screen.file.getvalue()) is is_told


async def test_a_refused_call_exits_1_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = wav(tmp_path / "x.wav")
    async with receiver(status=HTTPStatus.UNAUTHORIZED) as heard:
        request = SendRequest(files=[file], url=f"ws://127.0.0.1:{heard.address.port}")
        assert await asyncio.to_thread(run_send, request, Console(file=io.StringIO())) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "401" in line
    assert "--key" in line


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "cannot connect"),
        ({"url": "127.0.0.1"}, "ws://HOST:PORT"),
        ({"dialect": "morse"}, "pcm"),
        ({"codec": "opus"}, "l16"),
        ({"speed": 0.0}, "above 0"),
        ({"speed": math.nan}, "above 0"),
        ({"quirks": ["jump:1"]}, "stall:AT_S:FOR_S"),
        ({"quirks": ["b=late:1"]}, "the legs are a"),
        ({"session_id": "a\nb"}, "printable"),
        ({"session_id": ""}, "printable"),
        ({"files": []}, "1 to 26"),
        ({"files": [Path("/nowhere/x.wav")]}, "no such file"),
        ({"files": [Path(__file__)]}, "cannot be read"),
    ],
)
def test_a_command_that_cannot_work_exits_2_with_one_line_that_says_what_to_do(
    options: dict[str, object], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"files": [wav(tmp_path / "x.wav")], "url": NOWHERE, **options}
    assert run_send(SendRequest(**given), Console(file=io.StringIO())) == 2  # type: ignore[arg-type]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wavstream send: ")
    assert advice in line


@pytest.mark.parametrize(("shape", "advice"), [({"rate_hz": 96_000}, "-r 16000"), ({"channels": 3}, "-c 1")])
def test_a_file_that_cannot_be_streamed_is_refused_with_the_cure(
    shape: dict[str, int], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = wav(tmp_path / "x.wav", **shape)  # type: ignore[arg-type]
    assert run_send(SendRequest(files=[file], url=NOWHERE), Console(file=io.StringIO())) == 2
    assert advice in capsys.readouterr().err


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "DOUBLE"])
def test_other_sample_widths_are_played_as_16_bit_at_the_same_level(subtype: str, tmp_path: Path) -> None:
    narrow, _ = read_wav(wav(tmp_path / "narrow.wav"))
    wide, _ = read_wav(wav(tmp_path / "wide.wav", subtype=subtype))
    assert np.abs(wide.astype(int) - narrow.astype(int)).max() <= 1


def test_the_voices_of_the_demo_take_turns_and_never_clip() -> None:
    voices = files("wavstream.simulator") / "voices"
    caller, callee = (read_wav(Path(str(voices / name)))[0].astype(int) for name in ("caller.wav", "callee.wav"))
    assert len(caller) == len(callee)
    assert max(np.abs(caller).max(), np.abs(callee).max()) < 20_000
    assert not np.any((caller != 0) & (callee != 0))
    assert np.count_nonzero(caller) > 8_000 * 3
    assert np.count_nonzero(callee) > 8_000 * 3
