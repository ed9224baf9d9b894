"""Reference rates of the disk and of SQLite.

The ratios of other rates to these depend less on the machine.
"""

import os
import sqlite3
import time
import uuid
from pathlib import Path
from tempfile import TemporaryFile

_PAYLOAD = "x" * 600
_BLOCK = b"x" * 4096


def sqlite_cycles_per_s(folder: Path, seconds: float) -> float:
    """Return the number of job cycles per second with the sqlite3 module alone.

    The database is in WAL mode with synchronous=FULL. There is one connection, and submission,
    claim, heartbeat and result are separate transactions.
    """
    path = folder / f"reference-{uuid.uuid4()}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE jobs (id TEXT PRIMARY KEY, state TEXT NOT NULL, rank INTEGER NOT NULL, "
        "lease REAL, payload TEXT NOT NULL, result TEXT)"
    )
    connection.execute("CREATE INDEX queued ON jobs (rank) WHERE state = 'queued'")
    done = 0
    start = time.perf_counter()
    while (passed_s := time.perf_counter() - start) < seconds:
        job_id = str(uuid.uuid4())
        connection.execute(
            "INSERT INTO jobs VALUES (?, 'queued', ?, NULL, ?, NULL)", (job_id, done, _PAYLOAD)
        )
        # All rows are fetched, because the transaction of a statement ends after its last row.
        connection.execute(
            "UPDATE jobs SET state = 'leased', lease = ? WHERE id = "
            "(SELECT id FROM jobs WHERE state = 'queued' ORDER BY rank LIMIT 1) RETURNING id",
            (passed_s,),
        ).fetchall()
        connection.execute(
            "UPDATE jobs SET state = 'running', lease = ? WHERE id = ?", (passed_s, job_id)
        )
        connection.execute(
            "UPDATE jobs SET state = 'succeeded', lease = NULL, result = ? WHERE id = ?",
            (_PAYLOAD, job_id),
        )
        done += 1
    connection.close()
    return done / passed_s


def syncs_per_s(folder: Path, seconds: float = 1.0) -> float:
    """Return the number of blocks per second that can be appended and synchronized one by one."""
    with TemporaryFile(dir=folder, buffering=0) as file:
        count = 0
        start = time.perf_counter()
        while (passed_s := time.perf_counter() - start) < seconds:
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            count += 1
    return count / passed_s
