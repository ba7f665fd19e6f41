"""``fs_cli -x COMMAND`` of a FreeSWITCH with ``mod_audio_stream``, as far as a page of ours uses it.

A channel is a file below FS_CLI_STATE, named by its UUID; it streams until the file is gone. Left it says beeps of 600
Hz; right it hears nothing, since it is parked. A start says OK before it has connected, as the module does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

from tests.support.listening import beeps

RATE_HZ = 8_000
FRAME = 160
LONGEST_S = 60.0


def main(command: str) -> None:
    """Run the command and print what FreeSWITCH prints."""
    state = Path(os.environ["FS_CLI_STATE"])
    match command.split():
        case ["module_exists", module]:
            print("true" if module == "mod_audio_stream" else "false")
        case ["originate", _, "&park()"]:
            channel = str(uuid.uuid4())
            (state / channel).touch()
            print(f"+OK {channel}\n")
        case ["uuid_audio_stream", channel, "start", url, "stereo", "8k"]:
            stream = [sys.executable, "-m", __spec__.name, "--stream", str(state / channel), url]
            subprocess.Popen(stream, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            print("+OK Success\n")
        case ["uuid_kill", channel]:
            (state / channel).unlink()
            print("+OK\n")
        case _:
            print(f"-ERR {command} Command not found!\n")


async def stream(channel: Path, url: str) -> None:
    """Send what the channel says and hears, 20 ms in each message, until it is gone."""
    said = beeps(LONGEST_S, rate_hz=RATE_HZ, frequency_hz=600.0, offset_s=0.3)
    both = np.stack((said, np.zeros_like(said)), 1)
    async with connect(url, compression=None) as socket:
        start = asyncio.get_running_loop().time()
        for at in range(0, len(both), FRAME):
            if not await asyncio.to_thread(channel.exists):
                break
            await socket.send(both[at : at + FRAME].tobytes())
            await asyncio.sleep(start + at / RATE_HZ - asyncio.get_running_loop().time())


if __name__ == "__main__":
    if sys.argv[1] == "--stream":
        with contextlib.suppress(OSError):
            asyncio.run(stream(Path(sys.argv[2]), sys.argv[3]))
    else:
        main(sys.argv[2])
