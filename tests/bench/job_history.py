"""Creation of a long history of jobs, directly in the SQLite database of a master.

The rows of a real job are copied with new ids, so that they have the same content as rows that a
master writes.
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

_BATCH_ROWS = 20_000
_US_PER_S = 1_000_000

Row = dict[str, Any]


def copy_job(database: Path, job_id: str, copies: int, *, oldest_s_ago: float) -> list[str]:
    """Copy a job with its transitions and results, and return the ids of the copies.

    The creation times of the copies are evenly distributed over the last `oldest_s_ago` seconds and
    have the same order as the ids.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        template_id = job_id.replace("-", "")
        job = _rows(connection, jobs, "id", template_id)[0]
        transition_rows = _rows(connection, transitions, "job_id", template_id)
        result_rows = _rows(connection, results, "job_id", template_id)
        ids = list(_ids(copies, oldest_s_ago))
        step_us = int(oldest_s_ago * _US_PER_S / copies)
        first_rank = job["rank"] - step_us * copies
        for start in range(0, copies, _BATCH_ROWS):
            part = range(start, min(copies, start + _BATCH_ROWS))
            connection.execute("BEGIN IMMEDIATE")
            _insert(
                connection,
                jobs,
                [job | {"id": ids[n], "rank": first_rank + step_us * n, "key": None} for n in part],
            )
            _insert(
                connection,
                transitions,
                [row | {"job_id": ids[n]} for n in part for row in transition_rows],
            )
            _insert(
                connection,
                results,
                [row | {"job_id": ids[n], "id": ids[n]} for n in part for row in result_rows],
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
    """Read the rows whose `column` has a value, without the automatically incremented column."""
    automatic = {"transitions": "id", "results": "sequence"}.get(table.name)
    query = f"SELECT * FROM {table.name} WHERE {column} = ?"  # noqa: S608 - constants
    found = [dict(row) for row in connection.execute(query, (value,))]
    for row in found:
        row.pop(automatic, None)
    return found


def _insert(connection: sqlite3.Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        names = ", ".join(f'"{name}"' for name in rows[0])
        places = ", ".join("?" * len(rows[0]))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608 - constants
        connection.executemany(statement, [tuple(row.values()) for row in rows])


def _ids(count_: int, oldest_s_ago: float) -> Iterator[str]:
    """Generate UUIDs of version 7 as stored in SQLite.

    Their times are evenly distributed over the last `oldest_s_ago` seconds.
    """
    first_ms = int((time.time() - oldest_s_ago) * 1000)
    salt = secrets.randbits(32)
    for number in range(count_):
        at_ms = first_ms + int(number * oldest_s_ago * 1000 / count_)
        # The number distinguishes the ids of one millisecond, and the salt those of other calls.
        value = at_ms << 80 | 0x7 << 76 | 0x2 << 62 | salt << 30 | number
        yield f"{value:032x}"
