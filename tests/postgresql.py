"""A temporary PostgreSQL server for tests, which uses the programs of Debian's package."""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql

OWNER = "ffrtmp"
"""The owner of the tests' databases, which is not a superuser, as in a deployment."""

_SUPERUSER = "postgres"
_PREFIX = "ffrtmp-test-postgresql-"
_START_S = 60
_STOP_S = 60

_SETTINGS: Mapping[str, str] = {"shared_buffers": "64MB", "max_connections": "100"}
# These settings make the tests faster. They are only unsafe if the operating system crashes.
_NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


class NoPostgresqlError(Exception):
    """Raised if PostgreSQL's server is not installed on this computer."""


@dataclass(frozen=True)
class Database:
    """The URL of a database, and the file with the password."""

    url: str
    password_file: Path | None = None


class Cluster:
    """A PostgreSQL server whose data, socket and log are in one folder."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        """Create the files of the cluster, which is as durable as a deployment if `durable`."""
        self._folder = folder
        self._data = folder / "data"
        self._settings = dict(_SETTINGS) if durable else {**_SETTINGS, **_NOT_DURABLE}
        self._server: subprocess.Popen[bytes] | None = None
        self._superuser_password = secrets.token_urlsafe(24)
        self.port = free_port()
        self.password_file = _private(folder / "password", secrets.token_urlsafe(24))
        password_file = _private(folder / "superuser", self._superuser_password)
        for path in (folder, password_file):
            give_to_server(path)
        options: list[str | Path] = ["--username", _SUPERUSER, "--auth", "scram-sha-256"]
        options += ["--pwfile", password_file]
        options += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        command = [*_as_server(), _binaries() / "initdb", "--pgdata", self._data, *options]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")

    def use_tls(self, certificate_file: Path, key_file: Path) -> None:
        """Offer TLS with files that the server's user can read; before `start`."""
        files = {"ssl_cert_file": str(certificate_file), "ssl_key_file": str(key_file)}
        self._settings |= {"ssl": "on", **files}

    def start(self) -> None:
        """Start the server and wait until it accepts connections.

        The kernel stops the server when the thread that started it ends, so that killed tests do
        not leave a server behind. This method must therefore be called from the main thread.
        """
        options = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
        }
        arguments = [item for name, value in options.items() for item in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*_as_server(), _binaries() / "postgres", "-D", self._data, *arguments],
                cwd="/",
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self, signal_number: signal.Signals = signal.SIGINT) -> None:
        """Stop the server; SIGINT makes it end all sessions, and SIGQUIT simulates a crash."""
        if self._server is not None:
            self._server.send_signal(signal_number)
            self._server.wait(_STOP_S)
            self._server = None

    def start_as_replica(self) -> None:
        """Start the server as a replica without a primary, which refuses writes."""
        signal_file = self._data / "standby.signal"
        subprocess.run([*_as_server(), "touch", signal_file], cwd="/", check=True)
        self.start()

    def promote(self) -> None:
        """Make the replica a primary."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote()")

    def make_owner(self) -> None:
        """Create the role that owns the tests' databases."""
        password = self.password_file.read_text(encoding="utf-8")
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        self.execute(statement.format(sql.Identifier(OWNER), sql.Literal(password)))

    def create(self, name: str, template: str = "template1") -> Database:
        """Create a database as a copy of `template`."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        names = (sql.Identifier(part) for part in (name, OWNER, template))
        self.execute(statement.format(*names))
        return Database(
            f"postgresql://{OWNER}@127.0.0.1:{self.port}/{name}?sslmode=disable",
            self.password_file,
        )

    def drop(self, name: str) -> None:
        """Drop a database, even if it has connections."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self.execute(statement.format(sql.Identifier(name)))

    def execute(self, statement: sql.Composed) -> None:
        """Execute a statement as the superuser, outside of any transaction."""
        with self.connect() as connection:
            connection.execute(statement)

    def client_environment(self) -> Mapping[str, str]:
        """Return the environment in which PostgreSQL's programs connect as the superuser."""
        return {
            "PATH": f"{_binaries()}:{os.environ['PATH']}",
            "PGHOST": str(self._folder),
            "PGPORT": str(self.port),
            "PGUSER": _SUPERUSER,
            "PGPASSWORD": self._superuser_password,
        }

    def connect(self, name: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to a database as the superuser, with autocommit."""
        return psycopg.connect(
            host=str(self._folder),
            port=self.port,
            user=_SUPERUSER,
            password=self._superuser_password,
            dbname=name,
            autocommit=True,
        )


@contextmanager
def running(*, durable: bool = False) -> Iterator[Cluster]:
    """Run a cluster within the context, and remove its files afterwards."""
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with _locked(folder):
        try:
            cluster = Cluster(folder, durable=durable)
            try:
                cluster.start()
                cluster.make_owner()
                yield cluster
            finally:
                cluster.stop(signal.SIGQUIT)
        finally:
            shutil.rmtree(folder)


def remove_leftovers() -> None:
    """Remove the servers and files of killed tests."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = folder / "lock"
        if not lock.exists():
            continue  # Another process is creating or removing the folder.
        with lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # The tests that use this server are still running.
            _end_server_of(folder / "data")
            shutil.rmtree(folder)


def give_to_server(path: Path) -> None:
    """Give a file to the server's user, which is another one if the tests run as root."""
    if _is_root():
        shutil.chown(path, _SUPERUSER, _SUPERUSER)


def free_port() -> int:
    """Return an unused port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _locked(folder: Path) -> Iterator[IO[bytes]]:
    """Hold the lock of a folder; the kernel releases it even if this process is killed."""
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _end_server_of(data: Path) -> None:
    """End the server that uses a data folder, if it is running."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        if Path(f"/proc/{pid}/cwd").readlink() != data:
            return
    except FileNotFoundError:
        return
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + _STOP_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _binaries() -> Path:
    """Return the folder with the programs of the newest installed PostgreSQL."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    if not found:
        raise NoPostgresqlError("there is no PostgreSQL server here: make test-tools installs it")
    return found[-1]


def _as_server() -> list[str]:
    """Return the beginning of a command that runs a program as the server's user.

    The program is killed when this process ends.
    """
    prefix = ["setpriv", "--pdeathsig", "QUIT"]
    if _is_root():
        prefix += ["--reuid", _SUPERUSER, "--regid", _SUPERUSER, "--init-groups"]
    return [*prefix, "--"]


def _is_root() -> bool:
    return os.geteuid() == 0


def _private(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    return path
