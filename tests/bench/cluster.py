"""A PostgreSQL server for benchmarks that is as durable as in a deployment.

The settings for durability (fsync, synchronous_commit) keep their defaults. Memory and checkpoints
have moderate settings, which are the same for all measured queues. All network connections use TLS:
those from agents to the master, and those from the producers and workers of other queues to the
database.
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
"""Settings of the server that differ from PostgreSQL's defaults."""


class Cluster(postgresql.Cluster):
    """A durable server on the loopback interface."""

    def __init__(self, folder: Path, passfile: Path) -> None:
        """Create the files of the cluster in `folder`, and libpq's password file for the peers."""
        super().__init__(folder, durable=True)
        self._ca_file = folder / "ca.pem"
        self._settings |= SETTINGS | self._create_certificate()
        self._passfile = passfile
        passfile.touch(mode=0o600)
        passfile.write_text(f"*:*:*:*:{self.password_file.read_text(encoding='utf-8')}\n")

    @property
    def version(self) -> str:
        """The version of PostgreSQL."""
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
        """Create a database, and return it with a URL that requires TLS."""
        database = super().create(name, template)
        over_tls = f"sslmode=verify-full&sslrootcert={self._ca_file}"
        return replace(database, url=database.url.replace("sslmode=disable", over_tls))

    def _create_certificate(self) -> dict[str, str]:
        """Create the certificate of the server, and return the settings that make it use it."""
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
        """Create an empty database, replacing an existing one."""
        self.drop(name)
        return self.create(name)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Run a cluster whose data, socket and log are below `folder`."""
    directory = folder / "postgresql"
    directory.mkdir()
    try:
        cluster = Cluster(directory, folder / "pgpass")
        try:
            cluster.start()
            cluster.make_owner()
            yield cluster
        finally:
            cluster.stop(signal.SIGQUIT)
    finally:
        # A TemporaryDirectory could not be used, because the files belong to the server's user.
        shutil.rmtree(directory)
