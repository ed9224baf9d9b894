"""The tests' PostgreSQL, durable as in the field and with memory for a benchmark.

Durability is PostgreSQL's default (fsync, synchronous_commit); memory and checkpoints are set
moderately, alike for everybody who is measured on it. Who works over the network does so over TLS:
agents with our master, and the other queues' producers and workers with the database.
"""

import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import postgresql
import trustme
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
        self._ca_file = folder / "ca.pem"
        self._settings |= SETTINGS | self._certified()
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
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(self._ca_file),
        }

    def create(self, name: str, template: str = "template1") -> Database:
        """Make a database that is reached over TLS."""
        made = super().create(name, template)
        over_tls = f"sslmode=verify-full&sslrootcert={self._ca_file}"
        return replace(made, url=made.url.replace("sslmode=disable", over_tls))

    def _certified(self) -> dict[str, str]:
        """Make the server's certificate, and return the settings that name it."""
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        key, certificate = self._folder / "server.key", self._folder / "server.pem"
        key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
        authority.cert_pem.write_to_path(self._ca_file)
        for path in (key, certificate, self._ca_file):
            path.chmod(0o600 if path == key else 0o644)
            postgresql.give_to_server(path)
        return {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}

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
