"""``wavstream catalog move``: the catalog taken from its file to PostgreSQL, or back, and compared row by row."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from wavstream.catalog.copying import CatalogPlace, TableDigest, check_unused, copy_catalog_rows, name_of
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.cli.data_folder import found_folder
from wavstream.errors import OperatorError
from wavstream.service.data_folder import DataFolder
from wavstream.settings import Settings
from wavstream.settings.catalog import CatalogSettings

LOCAL = "local"
_FILE = "sqlite:"


def run_catalog_move(to: str, settings: Settings, console: Console) -> None:
    """Copy all rows to an empty catalog, and say what is to be set; raise OperatorError, and then it is still empty."""
    folder = found_folder(settings)
    target = _place(to, folder, settings)
    if target == folder.database:
        raise OperatorError(f"--to: the catalog is in {name_of(target)} already: name where it is to be moved to")
    folder.claim()  # a server that runs would go on writing into the former one
    try:
        check_unused(folder.database)
        copied = _copy(folder.database, target, console)
        folder.keep_owner()
    finally:
        folder.release()
    table = Table("table", "rows", "digest", title=f"from {name_of(folder.database)} to {name_of(target)}")
    for name, found in copied.items():
        table.add_row(name, f"{found.rows:,}", found.sha256[:16])
    console.print(table)
    _say(f"every row is there, and {name_of(folder.database)} is as it was", console)
    _say(f"before the next start: {_to_set(target, folder)}", console)


def _copy(source: CatalogPlace, target: CatalogPlace, console: Console) -> dict[str, TableDigest]:
    is_new = isinstance(target, Path) and not target.exists()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("rows")

        def show(table: str, rows: int) -> None:
            progress.update(bar, description=f"{table}, {rows:,} rows")

        try:
            return copy_catalog_rows(source, target, on_progress=show)
        except BaseException:
            if is_new and isinstance(target, Path):
                for end in ("", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        target.with_name(target.name + end).unlink()
            raise


def _place(to: str, folder: DataFolder, settings: Settings) -> CatalogPlace:
    if to == LOCAL:
        return folder.catalog
    if to.startswith(_FILE):
        if not (path := to.removeprefix(_FILE)).strip("/"):
            raise OperatorError(f"--to {to}: name a file, as sqlite:/var/lib/wavstream/catalog.db")
        return Path(path)
    try:
        url = CatalogSettings.model_validate({"url": to}).url
    except ValidationError:
        url = None
    if url is None:
        raise OperatorError(
            f"--to must be postgresql://user:password@host:port/database, {LOCAL} for the file of the data folder, or "
            "sqlite:PATH"
        )
    password = settings.catalog.password
    return PostgresPlace(url.get_secret_value(), None if password is None else password.get_secret_value())


def _to_set(target: CatalogPlace, folder: DataFolder) -> str:
    if isinstance(target, PostgresPlace):
        return (
            f"set WAVSTREAM_CATALOG__URL (catalog.url) to that address, and move {folder.catalog} away once it works: "
            "it is not written to any more"
        )
    if target == folder.catalog:
        return "unset WAVSTREAM_CATALOG__URL (catalog.url)"
    return f"unset WAVSTREAM_CATALOG__URL (catalog.url), and put {target} into the data folder as catalog.db"


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
