"""A PostgreSQL cluster of Debian's package that lives as long as a line of the benchmark.

Durability is PostgreSQL's default (fsync, synchronous_commit); memory and checkpoints are set
moderately, alike for everybody who is measured on it.
"""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

USER = "postgres"

SETTINGS: Mapping[str, str] = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "random_page_cost": "1.1",
}
"""What is set beside the defaults."""


class NoPostgresqlError(Exception):
    """The computer has no PostgreSQL server to run."""


@dataclass(frozen=True)
class Cluster:
    """A running server on the loopback interface."""

    port: int
    password_file: Path
    passfile: Path
    version: str

    def url(self, database: str) -> str:
        """Return the address of a database, without the password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def environment(self, database: str) -> dict[str, str]:
        """Return libpq's variables for a database."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGDATABASE": database,
            "PGPASSFILE": str(self.passfile),
            "PGSSLMODE": "disable",
        }

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect, each statement its own transaction."""
        return psycopg.connect(self.url(database), passfile=str(self.passfile), autocommit=True)

    def renew(self, database: str) -> None:
        """Make a database that is empty."""
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}"')


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Run a cluster whose data, socket and log are below `folder`."""
    binaries = _binaries()
    home = folder / "postgresql"
    home.mkdir()
    # initdb refuses root, so the server runs as the user whom Debian's package made for it.
    owner = USER if os.geteuid() == 0 else None
    if owner is not None:
        shutil.chown(home, owner, owner)
    password = secrets.token_urlsafe(24)
    password_file = _private(folder / "postgresql.password", password, owner)
    data = home / "data"
    try:
        access: list[Path | str] = ["--auth", "scram-sha-256", "--pwfile", password_file]
        locale = ["--encoding", "UTF8", "--locale", "C.UTF-8"]
        initdb = [binaries / "initdb", "--pgdata", data, "--username", USER, *access, *locale]
        _run(initdb, owner)
        port = free_port()
        options = {
            **SETTINGS,
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(home),
        }
        flags = " ".join(f"-c {name}={value}" for name, value in options.items())
        control: list[Path | str] = [
            binaries / "pg_ctl",
            "--pgdata",
            data,
            "--log",
            home / "log",
            "--wait",
        ]
        _run([*control, "--options", flags, "start"], owner)
        passfile = _private(folder / "pgpass", f"*:*:*:*:{password}", None)
        try:
            version = _run([binaries / "postgres", "--version"], owner).split()[2]
            yield Cluster(port, password_file, passfile, version)
        finally:
            _run([*control, "--mode", "immediate", "stop"], owner)
    finally:
        shutil.rmtree(home)


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binaries() -> Path:
    """Find the newest server that Debian's packages installed."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    if not found:
        raise NoPostgresqlError("there is no PostgreSQL server: apt-get install postgresql")
    return found[-1]


def _private(path: Path, content: str, owner: str | None) -> Path:
    path.touch(mode=0o600)
    path.write_text(content + "\n")
    if owner is not None:
        shutil.chown(path, owner, owner)
    return path


def _run(command: Sequence[Path | str], owner: str | None) -> str:
    """Run a program of PostgreSQL's as its user; what it said is shown when it fails."""
    done = subprocess.run(
        command, user=owner, cwd="/", capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")
    return done.stdout
