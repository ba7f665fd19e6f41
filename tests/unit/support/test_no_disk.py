"""The guard finds what the product asks of a disk on its thread, however it asks, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest

import wavstream
from tests.support.no_disk import DiskOnTheLoop, no_disk, watched

MODULE = "api/invented.py"


def of(module: str, call: Callable[..., object]) -> Callable[..., object]:
    """Return the function as if it stood in a module of the product."""
    return in_file(str(Path(wavstream.__file__).parent / module), call)


def in_file(file: str, call: Callable[..., object]) -> Callable[..., object]:
    assert isinstance(call, FunctionType)
    return FunctionType(call.__code__.replace(co_filename=file), call.__globals__)


def look(path: Path) -> bool:
    return path.exists()


def look_with_stat(path: Path) -> int:
    return os.stat(path).st_size


def read_and_write(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    os.pwrite(descriptor, b"x", 0)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(b"RIFF")
    return made


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda path: path.read_bytes(), ["open"]),
        (look, ["os.stat"]),
        (lambda path: os.path.getsize(path), ["os.stat"]),
        (lambda path: list(path.parent.iterdir()), ["os.listdir"]),
        (lambda path: shutil.disk_usage(path), ["os.statvfs"]),
        (lambda path: path.unlink(), ["os.remove"]),
        (lambda path: path.replace(path.with_name("other")), ["os.rename"]),
        (lambda path: path.with_name("folder").mkdir(), ["os.mkdir"]),
        (read_and_write, ["open", "os.pwrite", "os.fsync", "os.close"]),
    ],
    ids=["read", "exists", "size", "list", "disk usage", "unlink", "replace", "mkdir", "descriptor"],
)
def test_whatever_the_product_asks_of_a_file_system_is_found_with_its_place(
    file: Path, call: Callable[[Path], object], names: list[str]
) -> None:
    with watched() as calls:
        of(MODULE, call)(file)
    assert [found.name for found in calls] == names
    assert {found.module for found in calls} == {MODULE}
    assert all(found.stack[-1].startswith(f"wavstream/{MODULE}:") for found in calls)


@pytest.mark.parametrize("module", ["simulator/caller.py", "cli/replay.py"])
def test_a_client_may_wait_for_a_disk_and_so_may_a_test(file: Path, module: str) -> None:
    with watched() as calls:
        file.read_bytes()
        of(module, look)(file)
    assert calls == []


async def test_a_callback_of_a_library_that_only_the_product_uses_is_the_products(file: Path) -> None:
    library = "/x/site-packages/uvicorn/server.py"
    loop, is_over = asyncio.get_running_loop(), asyncio.Event()
    with watched() as calls:
        in_file(library, look)(file)  # below a frame of a test
        loop.call_soon(in_file(library, look), file)
        loop.call_soon(is_over.set)
        await is_over.wait()
    assert [(found.name, found.module) for found in calls] == [("os.stat", library)]


def test_another_thread_may_wait_for_a_disk(file: Path) -> None:
    with watched() as calls:
        thread = threading.Thread(target=of(MODULE, look), args=(file,))
        thread.start()
        thread.join()
    assert calls == []


def test_a_socket_is_no_disk() -> None:
    def close(descriptor: int) -> None:
        os.write(descriptor, b"x")
        os.close(descriptor)

    ours, theirs = socket.socketpair()
    with watched() as calls, ours:
        of(MODULE, close)(theirs.detach())
    assert calls == []


def test_a_module_that_is_imported_late_is_no_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_late.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def import_late() -> object:
        return __import__("imported_late")

    with watched() as calls:
        of(MODULE, import_late)()
    assert calls == []


def test_what_is_found_is_raised_at_the_end(file: Path) -> None:
    ask = of(MODULE, look_with_stat)
    with pytest.raises(DiskOnTheLoop, match=r"os\.stat in api/invented\.py"), no_disk():
        ask(file)


def test_an_error_is_not_hidden_by_what_is_found(file: Path) -> None:
    def ask_and_fail() -> None:
        with no_disk():
            of(MODULE, look)(file)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_and_fail()


def test_nothing_is_found_and_nothing_is_wrapped_when_no_guard_is_armed(file: Path) -> None:
    before = os.stat
    with watched() as calls:
        assert os.stat is not before
    of(MODULE, look)(file)
    assert os.stat is before
    assert calls == []
