"""The examples that are programs for the server to run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ON_STORED = Path(__file__).parents[2] / "examples" / "on_stored.sh"
TOLD = {
    "WAVSTREAM_RECORDING_ID": "a" * 32,
    "WAVSTREAM_CREATED": "2026-11-01T12:00:00.000000Z",
    "WAVSTREAM_DURATION_MS": "62340",
    "WAVSTREAM_STORE": "s3://calls/ours",
    "WAVSTREAM_KEY": f"shop/2026-11-01/{'a' * 32}.wav",
}


def run(*arguments: str, **told: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **TOLD, **told}
    return subprocess.run(
        [ON_STORED, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock: apt install util-linux")
def test_the_program_for_stored_files_writes_a_line_for_each_of_them_once(tmp_path: Path) -> None:
    listed = tmp_path / "stored.tsv"

    ended = [run(str(listed)), run(str(listed)), run(str(listed), WAVSTREAM_RECORDING_ID="b" * 32)]

    assert [(each.returncode, each.stderr) for each in ended] == [(0, "")] * 3
    first, second = [line.split("\t") for line in listed.read_text().splitlines()]
    assert first == ["a" * 32, "2026-11-01T12:00:00.000000Z", "62", f"s3://calls/ours/shop/2026-11-01/{'a' * 32}.wav"]
    assert second[0] == "b" * 32


def test_it_fails_and_says_why_where_its_list_cannot_be_written(tmp_path: Path) -> None:
    ended = run(str(tmp_path / "nowhere" / "stored.tsv"))

    assert ended.returncode != 0
    assert "nowhere" in ended.stderr
