"""Tests of databases and URLs of PostgreSQL with settings that libpq and the server permit."""

from pathlib import Path

import msgspec
import pytest
from databases import only, reading, writing
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.engine import encoding_problem, reading_engine
from ffrtmp_shared.ids import new_id
from postgresql import Cluster
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

pytestmark = only("postgresql")


def _changed(settings: Settings, parameters: str) -> Settings:
    return msgspec.structs.replace(settings, database_url=settings.database_url + parameters)


def test_a_primary_can_be_required(migrated: Settings) -> None:
    changed = _changed(migrated, "&target_session_attrs=read-write")
    with writing(changed) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    with reading(changed) as engine, engine.connect() as connection:
        assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
        isolation = connection.execute(text("SHOW transaction_isolation")).scalar_one()
        assert isolation == "repeatable read"
        with pytest.raises(DBAPIError, match="read-only"):
            connection.execute(text("CREATE TABLE x (id int)"))


def test_options_of_the_url_are_kept_and_those_of_the_master_apply(migrated: Settings) -> None:
    options = "&options=-c%20DateStyle%3DGerman%20-c%20TimeZone%3DAsia/Tokyo%20-c%20work_mem%3D5MB"
    with reading(_changed(migrated, options)) as engine, engine.connect() as connection:
        assert connection.execute(text("SHOW work_mem")).scalar_one() == "5MB"
        assert connection.execute(text("SHOW TimeZone")).scalar_one() == "UTC"
        assert connection.execute(text("SELECT now()")).scalar_one().utcoffset() is not None


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding_is_refused_with_the_remedy(
    cluster: Cluster, migrated: Settings, encoding: str, tmp_path: Path
) -> None:
    name = f"test_{new_id().hex}"
    statement = sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0 OWNER {}")
    owner = migrated.database_url.split("//")[1].split("@")[0]
    parts = (sql.Identifier(name), sql.Literal(encoding), sql.Identifier(owner))
    cluster.execute(statement.format(*parts))
    try:
        url = f"postgresql://{owner}@127.0.0.1:{cluster.port}/{name}?sslmode=disable"
        engine = reading_engine(url, migrated.database_password())
        with engine.connect() as connection:
            problem = encoding_problem(connection)
        engine.dispose()
        assert problem is not None
        assert encoding in problem
        assert "--encoding=UTF8" in problem
    finally:
        cluster.drop(name)
