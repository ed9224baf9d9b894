"""The tests' PostgreSQL, durable as in the field and with memory for a benchmark.

Durability is PostgreSQL's default (fsync, synchronous_commit); memory and checkpoints are set
moderately, alike for everybody who is measured on it.
"""

import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import postgresql
from postgresql import OWNER, Database

SETTINGS: Mapping[str, str] = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "random_page_cost": "1.1",
}
"""What is set beside the defaults."""


class Cluster(postgresql.Cluster):
    """A durable server on the loopback interface."""

    def __init__(self, folder: Path, passfile: Path) -> None:
        """Make the cluster's files in `folder`, and libpq's password file for the peers."""
        super().__init__(folder, durable=True)
        self._settings |= SETTINGS
        self._passfile = passfile
        passfile.touch(mode=0o600)
        passfile.write_text(f"*:*:*:*:{self.password_file.read_text(encoding='utf-8')}\n")

    @property
    def version(self) -> str:
        """Which PostgreSQL it is."""
        with self.connect() as connection:
            return str(connection.info.parameter_status("server_version")).split()[0]

    def environment(self, database: str) -> dict[str, str]:
        """Return libpq's variables for a database."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": OWNER,
            "PGDATABASE": database,
            "PGPASSFILE": str(self._passfile),
            "PGSSLMODE": "disable",
        }

    def renew(self, name: str) -> Database:
        """Make a database that is empty."""
        self.drop(name)
        return self.create(name)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Run a cluster whose data, socket and log are below `folder`."""
    home = folder / "postgresql"
    home.mkdir()
    try:
        cluster = Cluster(home, folder / "pgpass")
        try:
            cluster.start()
            cluster.make_owner()
            yield cluster
        finally:
            cluster.stop(signal.SIGQUIT)
    finally:
        # It belongs to the server's user.
        shutil.rmtree(home)
