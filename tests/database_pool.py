"""A pool of PostgreSQL databases that tests use one after another.

It takes less time to empty a small database than to drop it and copy the template again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from postgresql import Cluster, Database
from psycopg import sql

_MAX_ROWS = 5000
"""A database that has more rows after a test is dropped, because their deletion would be slow."""

_SCHEMA = """
SELECT md5(string_agg(format('%s.%s %s %s', c.relname, a.attname, a.atttypid, a.attnotnull), ','
                      ORDER BY c.relname, a.attname))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i', 'S', 'v')
"""
_DISCONNECT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_TABLES = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"


class DatabasePool:
    """Copies of a template database, each of which is used by one test at a time."""

    def __init__(self, cluster: Cluster, template: str) -> None:
        """Prepare a pool of copies of `template`, which have its schema and its credentials."""
        self._cluster = cluster
        self._template = template
        self._free: list[tuple[str, Database]] = []
        with cluster.connect(template) as connection:
            connection.execute("CREATE SCHEMA template")
            connection.execute("CREATE TABLE template.credentials AS TABLE credentials")
            self._schema = _schema(connection)

    @contextmanager
    def lend(self) -> Iterator[Database]:
        """Yield a database that contains only the schema and the credentials of the template."""
        name, database = self._free.pop() if self._free else self._create()
        yield database
        if self._is_emptied(name):
            self._free.append((name, database))
        else:
            self._cluster.drop(name)

    def _create(self) -> tuple[str, Database]:
        name = f"test_{uuid4().hex}"
        return name, self._cluster.create(name, self._template)

    def _is_emptied(self, name: str) -> bool:
        """Empty a database and return whether it can be used again."""
        try:
            with self._cluster.connect(name) as connection:
                connection.execute(_DISCONNECT)
                if _schema(connection) != self._schema:
                    return False
                # Without checks of foreign keys, the tables can be emptied in any order.
                connection.execute("SET session_replication_role = replica")
                rows = 0
                for (table,) in connection.execute(_TABLES).fetchall():
                    delete = sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
                    rows += connection.execute(delete).rowcount
                for (sequence,) in connection.execute(_SEQUENCES).fetchall():
                    restart = sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.Identifier(sequence))
                    connection.execute(restart)
                connection.execute("INSERT INTO credentials SELECT * FROM template.credentials")
                return rows <= _MAX_ROWS
        except psycopg.Error:
            # This happens if a test has stopped the server or removed a table.
            return False


def _schema(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    """Return a digest of the tables and columns, and the revision of the schema."""
    digest = connection.execute(_SCHEMA).fetchone()
    return digest, connection.execute("SELECT version_num FROM alembic_version").fetchall()
