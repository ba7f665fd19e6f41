"""``wavstream links`` and ``wavstream master-key``: what ends at once when a secret has leaked, or is to be changed."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from wavstream.cli.data_folder import found_folder
from wavstream.errors import OperatorError
from wavstream.settings import Settings
from wavstream.storage.links import rotate_link_keys


async def rotate_links(settings: Settings, console: Console) -> None:
    """End every link that was handed out; a running server notices within a second. Raise OperatorError (cluster)."""
    if settings.cluster.nats_url is not None:
        raise OperatorError(
            "the nodes of a cluster make their link keys of the master key: links end with it; stop all nodes, run "
            "'wavstream master-key reset' and set another WAVSTREAM_MASTER_KEY on all of them"
        )
    folder = found_folder(settings)

    async def rotate() -> None:
        rotate_link_keys(folder.link_keys, datetime.now(UTC))

    async with folder.open_catalog(to_revoke=True) as catalog:
        await folder.with_room(rotate)
        await folder.with_room(catalog.app_keys.has_changed)
    console.print(
        "every link made so far has ended, those in webhooks and sidecars too: ask the API for new ones", soft_wrap=True
    )


async def reset_master_key(settings: Settings, console: Console) -> None:
    """Let the next start, or the next command, take whatever master key is set then; raise OperatorError."""
    folder = found_folder(settings)
    folder.claim()  # a running server goes on with the old one, and would refuse what is made under the new one
    try:
        async with folder.open_catalog(to_revoke=True) as catalog:
            known = await catalog.app_keys.master()
            await folder.with_room(lambda: catalog.app_keys.set_master(None, known=known))
    finally:
        folder.release()
    console.print(
        "the next start takes the master key that is set, or master.key. If it is another one, app keys, stream tokens "
        "and webhook secrets of before are refused: 'wavstream apps rotate-key' gives an app a new key",
        soft_wrap=True,
    )
