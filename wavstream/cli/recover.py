"""``wavstream recover``: finish what a crash left, without serving."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.progress import Progress

from wavstream.cli.data_folder import found_folder
from wavstream.errors import WavstreamError
from wavstream.service.service import Service
from wavstream.settings import Settings

POLL_S = 0.1


class NotRecovered(WavstreamError):
    """A recording or a journal could not be finished: the text says how many, the log which."""


async def run_recover(settings: Settings, console: Console) -> None:
    """Recover every journal, wait for no stream, and publish everything; raise OperatorError or NotRecovered."""
    folder = found_folder(settings, for_catalog=False)
    service = Service(settings.model_copy(update={"reconnect_wait_s": 0.0, "host": "127.0.0.1"}))
    try:
        await service.start()
        with Progress(console=console) as progress:
            bar = progress.add_task("journals", total=service.recovery.total)
            while service.recovery.running or service.recorder.unfinished:
                progress.update(bar, completed=service.recovery.done - service.recorder.unfinished)
                await asyncio.sleep(POLL_S)
            progress.update(bar, completed=service.recovery.total)
        failed, unreadable = service.recorder.failed, service.recovery.unreadable
        if failed or unreadable or not service.recovery.reconciled:
            raise NotRecovered(
                f"{failed} recordings could not be rendered and {unreadable} journals not be read: the log names them; "
                "what they hold is kept"
            )
        console.print(f"{service.recovery.total} journals brought back; nothing is unfinished")
    finally:
        await service.stop()
        await asyncio.to_thread(folder.keep_owner, below=True)
