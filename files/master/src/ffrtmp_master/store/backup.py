"""A consistent copy of SQLite's database while the master writes to it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
from sqlalchemy import make_url


class BackupError(Exception):
    """Why there is no copy; its text is for the operator."""


class BackupResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, and the revision of the schema that is in it."""

    target: str
    size_bytes: int
    revision: str


def create_backup(database_url: str, target: Path) -> BackupResult:
    """Write a copy to `target`, which must not be there yet; durable when this returns.

    It is one snapshot and holds up nobody who writes meanwhile. Raises CannotBackUpError, or
    OSError when the disk does not take it; nothing is left at `target` then.
    """
    database = make_url(database_url).database
    if not database_url.startswith("sqlite") or database is None:
        raise BackupError(
            "only SQLite's database is copied by this command; back PostgreSQL up with pg_dump"
        )
    source = Path(database)
    if not source.is_file():
        raise BackupError(f"there is no database {source}")
    try:
        # What is in the database is not for everybody on the host.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise BackupError(f"{target} is there already; it was not changed") from error
    try:
        revision = _write(source, target)
        _sync(target)
        _sync(target.parent)
    except BaseException:
        target.unlink()
        raise
    return BackupResult(target=str(target), size_bytes=target.stat().st_size, revision=revision)


def _write(source: Path, target: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            # One snapshot from beginning to end. The backup of SQLite's API would begin anew at
            # each write of the master, and so never end under load.
            opened.execute("VACUUM INTO ?", (str(target),))
        with closing(sqlite3.connect(f"{target.resolve().as_uri()}?mode=ro", uri=True)) as written:
            problem = written.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise BackupError(f"the copy is damaged: {problem}")
            (revision,) = written.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(revision)
    except sqlite3.Error as error:
        raise BackupError(f"the database {source} could not be copied: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
