"""Deletes the signing keys from a database of Grafana, which then creates new ones."""

import sqlite3
import sys
from contextlib import closing

_TIMEOUT_S = 30.0
_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'signing_key'"


def delete_signing_keys(path: str) -> None:
    """Delete all signing keys. Earlier releases of Grafana have none.

    Args:
        path: Path of the database.

    Raises:
        sqlite3.Error: The database does not exist, or another program uses it.
    """
    address = f"file:{path}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=_TIMEOUT_S)) as database:
        if database.execute(_TABLE).fetchone() is not None:
            database.execute("DELETE FROM signing_key")
            database.commit()


if __name__ == "__main__":
    delete_signing_keys(sys.argv[1])
