"""Backup: a consistent copy of an SQLite database, made while the master writes to it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
from sqlalchemy import make_url


class BackupError(Exception):
    """The backup failed. The message is meant for the operator."""


class BackupResult(msgspec.Struct, frozen=True, kw_only=True):
    """The file that a backup wrote, and the revision of the database schema in it."""

    target: str
    size_bytes: int
    revision: str


def create_backup(database_url: str, target: Path) -> BackupResult:
    """Write a copy of the database to `target`. The copy is durable when the function returns.

    The copy is a single snapshot, and making it does not block writers. If copying fails, the
    incomplete `target` is removed. Raises BackupError, for example if `target` already exists, or
    OSError if the file cannot be written.
    """
    database = make_url(database_url).database
    if not database_url.startswith("sqlite") or database is None:
        raise BackupError(
            "this command copies SQLite databases only; back up PostgreSQL with pg_dump"
        )
    source = Path(database)
    if not source.is_file():
        raise BackupError(f"there is no database {source}")
    try:
        # Only the owner may read the contents of the database.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise BackupError(
            f"{target} already exists and was not changed; choose another file"
        ) from error
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
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as reader:
            # This statement copies one snapshot. SQLite's backup API would start again at each
            # write of the master, so it would never finish under load.
            reader.execute("VACUUM INTO ?", (str(target),))
        with closing(sqlite3.connect(f"{target.resolve().as_uri()}?mode=ro", uri=True)) as copy:
            problem = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise BackupError(f"the copy is damaged: {problem}")
            (revision,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(revision)
    except sqlite3.Error as error:
        raise BackupError(f"the database {source} could not be copied: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
