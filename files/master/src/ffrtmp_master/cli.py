"""The command ffrtmp-master."""

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from ffrtmp_shared import config, logs
from ffrtmp_shared.admin import AuditAction
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ffrtmp_master import settings
from ffrtmp_master.clock import utc_now
from ffrtmp_master.server import serve
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import audit, backup, credentials, migrate
from ffrtmp_master.store.credentials import CredentialFile, SyncResult
from ffrtmp_master.store.engine import writing_engine
from ffrtmp_master.store.errors import RequestError

_FAILED = 1
_BAD_CONFIG = 2


class OperatorError(Exception):
    """Something that the operator can mend; its text is all that they see."""


def main() -> None:
    """Do what the command line says."""
    arguments = _parser().parse_args()
    # What the master writes (the database, sources, artifacts) is not for everybody on the host.
    os.umask(0o027)
    try:
        loaded = settings.load(arguments.config)
        logs.configure(loaded.log_level)
        # It says what it found each time that the schema's revision is read.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        _COMMANDS[arguments.command](loaded, arguments)
    except config.ConfigError as error:
        _end(str(error), _BAD_CONFIG)
    except (OperatorError, OSError) as error:
        _end(str(error), _FAILED)
    except DBAPIError as error:
        _end(f"the database {loaded.database_url}: {error.orig}", _FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ffrtmp-master", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve the API until stopped")
    upgrade = commands.add_parser("migrate", help="bring the database's schema to this release")
    upgrade.add_argument(
        "--credentials", type=Path, metavar="FILE", help="then do what sync-credentials does"
    )
    commands.add_parser("check-config", help="say what is wrong with the settings")
    sync = commands.add_parser(
        "sync-credentials", help="make the credentials exactly those of FILE"
    )
    sync.add_argument("file", type=Path, metavar="FILE")
    copy = commands.add_parser("backup", help="copy SQLite's database while the master runs")
    copy.add_argument("target", type=Path, metavar="TARGET")
    return parser


def _serve(loaded: Settings, _arguments: argparse.Namespace) -> None:
    _check_files(loaded)
    _check_schema(_engine(loaded))
    serve.serve(loaded)


def _migrate(loaded: Settings, arguments: argparse.Namespace) -> None:
    engine = _engine(loaded)
    try:
        upgraded = migrate.upgrade(engine)
    finally:
        engine.dispose()
    if arguments.credentials is not None:
        is_changed = _synchronise(loaded, arguments.credentials)
        upgraded = dataclasses.replace(upgraded, changed=upgraded.changed or is_changed)
    _print(upgraded)


def _check_config(loaded: Settings, _arguments: argparse.Namespace) -> None:
    _check_files(loaded)


def _sync_credentials(loaded: Settings, arguments: argparse.Namespace) -> None:
    _print({"changed": _synchronise(loaded, arguments.file)})


def _synchronise(loaded: Settings, file: Path) -> bool:
    """Make the stored credentials exactly those of a file; return whether that changed any."""
    wanted = config.load(file, CredentialFile)
    engine = _engine(loaded)
    _check_schema(engine)
    now = utc_now()
    try:
        with engine.connect() as connection, connection.begin():
            done = credentials.sync(connection, wanted.credentials, now)
            if done.is_changed:
                _write_down(connection, now, done)
    except RequestError as error:
        raise OperatorError(str(error)) from error
    finally:
        engine.dispose()
    return done.is_changed


def _write_down(connection: Connection, now: datetime, done: SyncResult) -> None:
    audit.record(
        connection,
        now,
        audit.COMMAND_LINE,
        AuditAction.CREDENTIALS_SYNCHRONIZED,
        "credentials",
        **dataclasses.asdict(done),
    )


def _backup(loaded: Settings, arguments: argparse.Namespace) -> None:
    try:
        _print(backup.create_backup(loaded.database_url, arguments.target))
    except backup.BackupError as error:
        raise OperatorError(str(error)) from error


_COMMANDS: Mapping[str, Callable[[Settings, argparse.Namespace], None]] = {
    "serve": _serve,
    "migrate": _migrate,
    "check-config": _check_config,
    "sync-credentials": _sync_credentials,
    "backup": _backup,
}


def _engine(loaded: Settings) -> Engine:
    return writing_engine(loaded.database_url, loaded.database_password())


def _check_files(loaded: Settings) -> None:
    missing = settings.missing_files(loaded)
    if missing:
        raise config.ConfigError("; ".join(missing))


def _check_schema(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin():
        present = migrate.revision(connection)
    engine.dispose()
    if present != migrate.head():
        raise OperatorError(
            f"the database's schema is at {present or 'nothing'}, this release needs "
            f"{migrate.head()}: run ffrtmp-master migrate first"
        )


def _print(answer: object) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")


def _end(message: str, code: int) -> None:
    sys.stderr.write(f"ffrtmp-master: {message}\n")
    raise SystemExit(code)
