"""Bringing the database's schema to what this release needs."""

from dataclasses import dataclass
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine


@dataclass(frozen=True)
class Migrated:
    """The schema's revision, and whether it had to be changed to get there."""

    changed: bool
    revision: str


def upgrade(engine: Engine) -> Migrated:
    """Run the migrations that the database lacks, all of them or none."""
    with engine.connect() as connection, connection.begin():
        before = revision(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return Migrated(changed=before != head(), revision=head())


def revision(connection: Connection) -> str | None:
    """Return the revision that the database is at; None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def head() -> str:
    """Return the revision that this release needs."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise RuntimeError("this installation holds no migrations")
    return newest


def _config() -> Config:
    """Describe the migrations that are inside this package; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", "ffrtmp_master.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
