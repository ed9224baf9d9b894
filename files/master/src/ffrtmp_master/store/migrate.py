"""Migration of the database schema to the revision that this release needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from ffrtmp_shared import __version__
from sqlalchemy import Connection, Engine, text


class NewerSchemaError(Exception):
    """A newer release has migrated the database."""


@dataclass(frozen=True)
class Migrated:
    """The revision of the schema after a migration, and whether the migration changed it."""

    changed: bool
    revision: str


def upgrade(engine: Engine) -> Migrated:
    """Run the missing migrations in one transaction.

    Raises NewerSchemaError if a newer release has migrated the database.
    """
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        if connection.dialect.name != "sqlite":
            # The lock lets masters that are deployed at the same time migrate one after another.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ffrtmp migrations'))"))
        before = revision(connection)
        check_known(before)
        alembic = config()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "head")
        _check_references(connection)
        return Migrated(changed=before != head(), revision=head())


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Disable foreign keys on SQLite, where dropping a table would delete rows that refer to it.

    Foreign keys cannot be disabled within a transaction, so the context must enclose it. The
    references are checked before the commit.
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
            raise RuntimeError(f"the migration would leave rows with dangling references: {broken}")


def revision(connection: Connection) -> str | None:
    """Return the schema revision of the database; None if the database is empty."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def head() -> str:
    """Return the schema revision that this release needs."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    if newest is None:
        raise RuntimeError("this installation has no migrations; reinstall the master")
    return newest


def check_known(present: str | None) -> None:
    """Raise NewerSchemaError if a database has a revision that this release does not know."""
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if present is not None and present not in known:
        raise NewerSchemaError(
            f"this database needs a newer release than {__version__}: its schema has revision "
            f"{present}, and {__version__} knows revisions up to {head()}. Install the release "
            "that migrated the database, or restore the backup that was created before"
        )


def config() -> Config:
    """Return the configuration of Alembic for the migrations in this package."""
    settings = Config()
    settings.set_main_option("script_location", "ffrtmp_master.store:migrations")
    settings.set_main_option("path_separator", "os")
    return settings
