"""Bringing the database's schema to what this release needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text


@dataclass(frozen=True)
class Migrated:
    """The schema's revision, and whether it had to be changed to get there."""

    changed: bool
    revision: str


def upgrade(engine: Engine) -> Migrated:
    """Run the migrations that the database lacks, all of them or none."""
    with engine.connect() as connection, _free_to_rebuild(connection), connection.begin():
        if connection.dialect.name != "sqlite":
            # Two masters that are deployed at once migrate one after the other.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ffrtmp migrations'))"))
        before = revision(connection)
        alembic = config()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "head")
        _check_references(connection)
        return Migrated(changed=before != head(), revision=head())


@contextmanager
def _free_to_rebuild(connection: Connection) -> Iterator[None]:
    """Let SQLite's tables be rebuilt: dropping one would take along what refers to it.

    That cannot be switched within a transaction. References are checked before the commit.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _check_references(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise RuntimeError(f"the migration would leave rows that refer to nothing: {broken}")


def revision(connection: Connection) -> str | None:
    """Return the revision that the database is at; None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def head() -> str:
    """Return the revision that this release needs."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    if newest is None:
        raise RuntimeError("this installation holds no migrations")
    return newest


def config() -> Config:
    """Describe the migrations that are inside this package; there is no alembic.ini."""
    described = Config()
    described.set_main_option("script_location", "ffrtmp_master.store:migrations")
    described.set_main_option("path_separator", "os")
    return described
