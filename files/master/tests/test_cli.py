"""Tests of the command line: validating settings, migrating, and synchronizing credentials."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_master import cli
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import credentials, migrate
from ffrtmp_master.store.engine import reading_engine, writing_engine
from ffrtmp_shared.credentials import token_sha256
from sqlalchemy import text


def write_config(path: Path, settings: Settings, **changed: Any) -> Path:
    document = msgspec.to_builtins(settings, enc_hook=str) | changed
    path.write_text(json.dumps(document))
    return path


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., CommandResult]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    def invoke(config: Path, *arguments: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["ffrtmp-master", "--config", str(config), *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return invoke


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bogus": 1}, "bogus"),
        ({"lease_s": "long"}, "lease_s"),
        ({"heartbeat_s": 40}, "at most half of lease_s"),
        ({"database_url": "mysql://x"}, "database_url must begin with sqlite:///"),
        ({}, "certificate_file: there is no file"),
    ],
)
def test_invalid_settings_are_refused_in_one_line(
    command: Command,
    tmp_path: Path,
    settings: Settings,
    changed: dict[str, object],
    message: str,
) -> None:
    config = write_config(tmp_path / "master.yml", settings, **changed)
    result = command(config, "check-config")
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_valid_settings_are_accepted(command: Command, tmp_path: Path, settings: Settings) -> None:
    settings.certificate_file.touch()
    settings.key_file.touch()
    config = write_config(tmp_path / "master.yml", settings)
    assert command(config, "check-config") == CommandResult(0, "", "")


def test_migrating_twice_changes_nothing(
    command: Command,
    tmp_path: Path,
    settings: Settings,
) -> None:
    config = write_config(tmp_path / "master.yml", settings)
    for changed in (True, False):
        result = command(config, "migrate")
        assert result.code == 0
        assert json.loads(result.out) == {"changed": changed, "revision": migrate.head()}


@pytest.mark.parametrize("name", ["migrate", "serve", "sync-credentials"])
def test_a_database_of_a_newer_release_is_refused(
    command: Command, tmp_path: Path, migrated: Settings, name: str
) -> None:
    migrated.certificate_file.touch()
    migrated.key_file.touch()
    engine = writing_engine(migrated.database_url, migrated.database_password())
    with engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    config = write_config(tmp_path / "master.yml", migrated)
    listed = tmp_path / "credentials.yml"
    listed.write_text(json.dumps({"credentials": []}))
    arguments = [str(listed)] if name == "sync-credentials" else []
    result = command(config, name, *arguments)
    assert result.code == 1
    assert "this database needs a newer release than" in result.err
    assert "revision 9999" in result.err
    assert "run ffrtmp-master migrate" not in result.err
    assert result.err.count("\n") == 1


def test_migrating_synchronizes_the_credentials(
    command: Command, tmp_path: Path, settings: Settings
) -> None:
    config = write_config(tmp_path / "master.yml", settings)
    listed = tmp_path / "credentials.yml"
    names = iter((["ann"], ["ann"], ["ann", "ben"]))
    for changed in (True, False, True):
        wanted = [
            {"name": name, "role": "admin", "node": None, "sha256": token_sha256(name)}
            for name in next(names)
        ]
        listed.write_text(json.dumps({"credentials": wanted}))
        result = command(config, "migrate", "--credentials", str(listed))
        assert result.code == 0, result.err
        assert json.loads(result.out) == {"changed": changed, "revision": migrate.head()}


def test_synchronized_credentials_are_exactly_those_of_the_file(
    command: Command,
    tmp_path: Path,
    migrated: Settings,
) -> None:
    config = write_config(tmp_path / "master.yml", migrated)
    wanted = [
        {"name": "ann", "role": "admin", "node": None, "sha256": token_sha256("new")},
        {"name": "w9", "role": "agent", "node": "worker9", "sha256": token_sha256("nine")},
    ]
    listed = tmp_path / "credentials.yml"
    listed.write_text(json.dumps({"credentials": wanted}))
    for changed in (True, False):
        result = command(config, "sync-credentials", str(listed))
        assert result.code == 0
        assert json.loads(result.out) == {"changed": changed}
    engine = reading_engine(migrated.database_url, migrated.database_password())
    with engine.connect() as connection:
        holder = credentials.find_by_digest(connection, token_sha256("nine"))
        assert holder is not None
        assert (holder.name, holder.node) == ("w9", "worker9")
        assert credentials.find_by_digest(connection, token_sha256("token-viewer")) is None
    engine.dispose()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"name": "x", "role": "agent", "sha256": "0" * 64}, "the role agent needs a node"),
        ({"name": "x", "role": "root", "sha256": "0" * 64}, "role"),
        ({"name": "x", "role": "admin", "sha256": "short"}, "sha256"),
    ],
)
def test_invalid_credentials_are_refused(
    command: Command,
    tmp_path: Path,
    migrated: Settings,
    wanted: dict[str, str],
    message: str,
) -> None:
    config = write_config(tmp_path / "master.yml", migrated)
    listed = tmp_path / "credentials.yml"
    listed.write_text(json.dumps({"credentials": [wanted]}))
    result = command(config, "sync-credentials", str(listed))
    assert result.code == 2
    assert message in result.err
