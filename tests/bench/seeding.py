"""Filling a master's SQLite database with a long history, straight into its tables.

What one real job left behind is the pattern: its rows are copied under new ids, so that the
history is what the master itself would have written.
"""

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ffrtmp_master.store.schema import jobs, results, transitions
from sqlalchemy import Table

_ROWS_AT_ONCE = 20_000
_US_PER_S = 1_000_000

Row = dict[str, Any]


def copy_job(database: Path, job_id: str, copies: int, *, oldest_s_ago: float) -> list[str]:
    """Copy a job with its transitions and results; return the new ids.

    The copies were born evenly from `oldest_s_ago` until now, in the order of their ids.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        pattern = job_id.replace("-", "")
        job = _rows(connection, jobs, "id", pattern)[0]
        moved = _rows(connection, transitions, "job_id", pattern)
        measured = _rows(connection, results, "job_id", pattern)
        ids = list(_ids(copies, oldest_s_ago))
        step_us = int(oldest_s_ago * _US_PER_S / copies)
        first_rank = job["rank"] - step_us * copies
        for start in range(0, copies, _ROWS_AT_ONCE):
            part = range(start, min(copies, start + _ROWS_AT_ONCE))
            connection.execute("BEGIN IMMEDIATE")
            _insert(
                connection,
                jobs,
                [job | {"id": ids[n], "rank": first_rank + step_us * n, "key": None} for n in part],
            )
            _insert(
                connection, transitions, [row | {"job_id": ids[n]} for n in part for row in moved]
            )
            _insert(
                connection,
                results,
                [row | {"job_id": ids[n], "id": ids[n]} for n in part for row in measured],
            )
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return ids


def count(database: Path, state: str) -> int:
    """Count the jobs in a state."""
    with closing(sqlite3.connect(database)) as connection:
        query = f"SELECT count(*) FROM {jobs.name} WHERE state = ?"  # noqa: S608 - a constant
        return int(connection.execute(query, (state,)).fetchone()[0])


def _rows(connection: sqlite3.Connection, table: Table, column: str, value: str) -> list[Row]:
    """Read rows without the number that the database counts up by itself."""
    counted = {"transitions": "id", "results": "sequence"}.get(table.name)
    query = f"SELECT * FROM {table.name} WHERE {column} = ?"  # noqa: S608 - constants
    found = [dict(row) for row in connection.execute(query, (value,))]
    for row in found:
        row.pop(counted, None)
    return found


def _insert(connection: sqlite3.Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        names = ", ".join(f'"{name}"' for name in rows[0])
        places = ", ".join("?" * len(rows[0]))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608 - constants
        connection.executemany(statement, [tuple(row.values()) for row in rows])


def _ids(count_: int, oldest_s_ago: float) -> Iterator[str]:
    """Make UUIDs of version 7 with times from `oldest_s_ago` until now, as SQLite keeps them."""
    first_ms = int((time.time() - oldest_s_ago) * 1000)
    salt = secrets.randbits(32)
    for number in range(count_):
        at_ms = first_ms + int(number * oldest_s_ago * 1000 / count_)
        # The counter keeps apart what was born in the same millisecond, the salt other copies.
        value = at_ms << 80 | 0x7 << 76 | 0x2 << 62 | salt << 30 | number
        yield f"{value:032x}"
