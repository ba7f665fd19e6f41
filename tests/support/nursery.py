"""The process that others are forked from: it has imported all that the command line and its server need, once.

It is started by ``tests.support.processes`` with one end of a socket pair. Each message on it is an order, with two
descriptors: the standard error of the process to make, and the pipe in which its id is told, and at its end its exit
code. It ends when the other end of the socket does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any

from tests.support.kept_commands import keep_commands
from wavstream.cli.main import main

ORDER_BYTES = 1 << 18


def wait_for_orders(control: socket.socket) -> None:
    """Make a process for each order, and return in that process; the nursery itself ends here."""
    # For those that are forked too: a server looks through all that was imported when it is ready, for 0.2 s of a core.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, ORDER_BYTES, 2)
        if not message:
            raise SystemExit
        if os.fork() == 0:
            control.close()
            return become(json.loads(message), *descriptors)
        for each in descriptors:
            os.close(each)


def become(order: dict[str, Any], stderr: int, told: int) -> None:
    """Fork once more: the one waits, since only a parent learns an exit code; the other carries out the order."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process_id = os.fork()
    if process_id:
        os.close(stderr)
        with contextlib.suppress(OSError):  # whoever asked may be gone
            os.write(told, f"{process_id}\n".encode())
            _, status = os.waitpid(process_id, 0)
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.close(told)
    os.dup2(stderr, 2)
    os.close(stderr)
    os.umask(order["umask"])
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    program, *sys.argv[1:] = order["words"]
    sys.argv[0] = "wavstream"
    if program == "wavstream":
        main()
    else:
        exec(compile(program, "<script>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    importlib.import_module("wavstream.service.server")
    keep_commands()
    wait_for_orders(socket.socket(fileno=int(sys.argv[1])))
