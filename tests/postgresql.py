"""A PostgreSQL server of Debian's package that lives as long as some tests need it."""

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
"""Who owns the databases of the tests: as in the field, no superuser."""

_SUPERUSER = "postgres"
_PREFIX = "ffrtmp-test-postgresql-"
_START_S = 60
_STOP_S = 60

_SETTINGS: Mapping[str, str] = {"shared_buffers": "64MB", "max_connections": "100"}
# Nothing that a test of the contract sees; a crash of the operating system is not tested here.
_FORGETFUL: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


class NoPostgresqlError(Exception):
    """The computer has no PostgreSQL server to run."""


@dataclass(frozen=True)
class Database:
    """Where a master keeps its state."""

    url: str
    password_file: Path | None = None


class Cluster:
    """A server whose data, socket and log are in a folder of its own."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        """Make the cluster's files; `durable` has it wait for the disk as it does in the field."""
        self._folder = folder
        self._data = folder / "data"
        self._settings = dict(_SETTINGS) if durable else {**_SETTINGS, **_FORGETFUL}
        self._server: subprocess.Popen[bytes] | None = None
        self._superuser_password = secrets.token_urlsafe(24)
        self.port = free_port()
        self.password_file = _private(folder / "password", secrets.token_urlsafe(24))
        given = _private(folder / "superuser", self._superuser_password)
        for path in (folder, given):
            give_to_server(path)
        options: list[str | Path] = ["--username", _SUPERUSER, "--auth", "scram-sha-256"]
        options += ["--pwfile", given]
        options += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        command = [*_as_server(), _binaries() / "initdb", "--pgdata", self._data, *options]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the server and wait until it lets somebody in.

        The server is told to end when the thread that starts it does: call this from the main
        thread, and nothing is left behind even by tests that were killed.
        """
        options = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*_as_server(), _binaries() / "postgres", "-D", self._data, *words],
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

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends sessions first, SIGQUIT ends it as a crash would."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(_STOP_S)
            self._server = None

    def make_owner(self) -> None:
        """Make the role that owns the databases of the tests."""
        password = self.password_file.read_text(encoding="utf-8")
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        self.execute(statement.format(sql.Identifier(OWNER), sql.Literal(password)))

    def create(self, name: str, template: str = "template1") -> Database:
        """Make a database that has what `template` has."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        names = (sql.Identifier(word) for word in (name, OWNER, template))
        self.execute(statement.format(*names))
        return Database(
            f"postgresql://{OWNER}@127.0.0.1:{self.port}/{name}?sslmode=disable",
            self.password_file,
        )

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self.execute(statement.format(sql.Identifier(name)))

    def execute(self, statement: sql.Composed) -> None:
        """Execute a statement as the superuser, outside of any transaction."""
        with self.connect() as connection:
            connection.execute(statement)

    def connect(self, name: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to a database as the superuser, each statement its own transaction."""
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
    """Run a cluster; all of it is gone when the context ends."""
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
    """Remove what tests that were killed left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = folder / "lock"
        if not lock.exists():
            continue  # It is being made, or removed, by somebody else.
        with lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # Its tests run.
            _end_server_of(folder / "data")
            shutil.rmtree(folder)


def give_to_server(path: Path) -> None:
    """Let the server read a file: run by root, it is another user."""
    if _is_root():
        shutil.chown(path, _SUPERUSER, _SUPERUSER)


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _locked(folder: Path) -> Iterator[IO[bytes]]:
    """Hold the folder's lock, which the kernel releases however this process ends."""
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _end_server_of(data: Path) -> None:
    """End the server that works in a folder, if one does."""
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
    """Find the newest server that Debian's packages installed."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name),
    )
    if not found:
        raise NoPostgresqlError("there is no PostgreSQL server here: make test-tools installs it")
    return found[-1]


def _as_server() -> list[str]:
    """Return the words that run a program as the server's user, and end it with this process."""
    words = ["setpriv", "--pdeathsig", "QUIT"]
    if _is_root():
        words += ["--reuid", _SUPERUSER, "--regid", _SUPERUSER, "--init-groups"]
    return [*words, "--"]


def _is_root() -> bool:
    return os.geteuid() == 0


def _private(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    return path
