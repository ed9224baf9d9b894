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
from ffrtmp_shared import __version__, config, logs
from ffrtmp_shared.admin import AuditAction
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ffrtmp_master import settings
from ffrtmp_master.clock import utc_now
from ffrtmp_master.price_file import check_price_file
from ffrtmp_master.server import serve
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import audit, backup, credentials, migrate
from ffrtmp_master.store.credentials import CredentialFile, SyncResult
from ffrtmp_master.store.engine import encoding_problem, writing_engine
from ffrtmp_master.store.errors import RequestError
from ffrtmp_master.store.migrate import NewerSchemaError

_FAILED = 1
_BAD_CONFIG = 2
_CHECK_PRICES = "check-prices"


class OperatorError(Exception):
    """An error that the operator can fix; only its message is printed."""


def main() -> None:
    """Run the command ffrtmp-master."""
    parser = _parser()
    arguments = parser.parse_args()
    # Other users of the host must not read the database, sources and artifacts.
    os.umask(0o027)
    try:
        if arguments.command == _CHECK_PRICES:
            check_price_file(arguments.file)
            return
        if arguments.config is None:
            parser.error("the option --config is required")
        loaded = settings.load(arguments.config)
        logs.configure(loaded.log_level)
        # Alembic logs a message at level info each time the schema revision is read.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        _COMMANDS[arguments.command](loaded, arguments)
    except config.ConfigError as error:
        _end(str(error), _BAD_CONFIG)
    except (OperatorError, NewerSchemaError, OSError) as error:
        _end(str(error), _FAILED)
    except DBAPIError as error:
        _end(f"the database {loaded.database_url}: {error.orig}", _FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ffrtmp-master", description=__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the settings")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve the API until stopped")
    upgrade = commands.add_parser("migrate", help="migrate the database schema to this release")
    upgrade.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="afterwards synchronize the credentials with FILE",
    )
    commands.add_parser("check-config", help="check the settings and print errors")
    # The price book is installed before the settings that name it, so it is checked without them.
    prices = commands.add_parser(_CHECK_PRICES, help="check the price book in FILE")
    prices.add_argument("file", type=Path, metavar="FILE")
    sync = commands.add_parser("sync-credentials", help="replace the credentials by those of FILE")
    sync.add_argument("file", type=Path, metavar="FILE")
    copy = commands.add_parser("backup", help="copy the SQLite database while the master runs")
    copy.add_argument("target", type=Path, metavar="TARGET")
    return parser


def _serve(loaded: Settings, _arguments: argparse.Namespace) -> None:
    _check_files(loaded)
    _check_schema(_engine(loaded))
    serve.serve(loaded)


def _migrate(loaded: Settings, arguments: argparse.Namespace) -> None:
    engine = _engine(loaded)
    try:
        with engine.connect() as connection, connection.begin():
            _check_encoding(connection)
        upgraded = migrate.upgrade(engine)
    finally:
        engine.dispose()
    if arguments.credentials is not None:
        is_changed = _sync(loaded, arguments.credentials)
        upgraded = dataclasses.replace(upgraded, changed=upgraded.changed or is_changed)
    _print(upgraded)


def _check_config(loaded: Settings, _arguments: argparse.Namespace) -> None:
    _check_files(loaded)
    if loaded.price_book_file is not None:
        check_price_file(loaded.price_book_file)


def _sync_credentials(loaded: Settings, arguments: argparse.Namespace) -> None:
    _print({"changed": _sync(loaded, arguments.file)})


def _sync(loaded: Settings, file: Path) -> bool:
    """Replace the stored credentials with those in a file; return whether any of them changed."""
    desired = config.load(file, CredentialFile)
    engine = _engine(loaded)
    _check_schema(engine)
    now = utc_now()
    try:
        with engine.connect() as connection, connection.begin():
            result = credentials.sync(connection, desired.credentials, now)
            if result.is_changed:
                _record_sync(connection, now, result)
    except RequestError as error:
        raise OperatorError(str(error)) from error
    finally:
        engine.dispose()
    return result.is_changed


def _record_sync(connection: Connection, now: datetime, result: SyncResult) -> None:
    audit.record(
        connection,
        now,
        audit.COMMAND_LINE,
        AuditAction.CREDENTIALS_SYNCHRONIZED,
        "credentials",
        **dataclasses.asdict(result),
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
    errors = settings.missing_files(loaded)
    if errors:
        raise config.ConfigError("; ".join(errors))


def _check_schema(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin():
        _check_encoding(connection)
        present = migrate.revision(connection)
    engine.dispose()
    migrate.check_known(present)
    if present != migrate.head():
        raise OperatorError(
            f"the database schema has revision {present or 'none'}, but this release needs "
            f"{migrate.head()}; run ffrtmp-master migrate first"
        )


def _check_encoding(connection: Connection) -> None:
    problem = encoding_problem(connection)
    if problem is not None:
        raise OperatorError(problem)


def _print(output: object) -> None:
    sys.stdout.write(msgspec.json.encode(output).decode() + "\n")


def _end(message: str, code: int) -> None:
    sys.stderr.write(f"ffrtmp-master: {message}\n")
    raise SystemExit(code)
