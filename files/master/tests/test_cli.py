"""The command line: settings that are refused in words, migrating, credentials."""

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
from ffrtmp_master.store.engine import reading_engine
from ffrtmp_shared.credentials import token_sha256


def write_config(path: Path, settings: Settings, **changed: Any) -> Path:
    document = msgspec.to_builtins(settings, enc_hook=str) | changed
    path.write_text(json.dumps(document))
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    def invoke(config: Path, *words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ffrtmp-master", "--config", str(config), *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capfd.readouterr()
        return Ended(code, said.out, said.err)

    return invoke


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bogus": 1}, "bogus"),
        ({"lease_s": "long"}, "lease_s"),
        ({"heartbeat_s": 40}, "at most half of lease_s"),
        ({"database_url": "mysql://x"}, "database_url must begin with sqlite:///"),
        ({}, "certificate_file: there is no file"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(
    command: Command,
    tmp_path: Path,
    settings: Settings,
    changed: dict[str, object],
    words: str,
) -> None:
    config = write_config(tmp_path / "master.yml", settings, **changed)
    ended = command(config, "check-config")
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_good_settings_pass(command: Command, tmp_path: Path, settings: Settings) -> None:
    settings.certificate_file.touch()
    settings.key_file.touch()
    config = write_config(tmp_path / "master.yml", settings)
    assert command(config, "check-config") == Ended(0, "", "")


def test_migrating_twice_changes_nothing(
    command: Command,
    tmp_path: Path,
    settings: Settings,
) -> None:
    config = write_config(tmp_path / "master.yml", settings)
    for changed in (True, False):
        ended = command(config, "migrate")
        assert ended.code == 0
        assert json.loads(ended.out) == {"changed": changed, "revision": migrate.head()}


def test_migrating_synchronises_the_credentials_as_well(
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
        ended = command(config, "migrate", "--credentials", str(listed))
        assert ended.code == 0, ended.err
        assert json.loads(ended.out) == {"changed": changed, "revision": migrate.head()}


def test_credentials_become_exactly_those_of_the_file(
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
        ended = command(config, "sync-credentials", str(listed))
        assert ended.code == 0
        assert json.loads(ended.out) == {"changed": changed}
    engine = reading_engine(migrated.database_url, migrated.database_password())
    with engine.connect() as connection:
        holder = credentials.find_by_digest(connection, token_sha256("nine"))
        assert holder is not None
        assert (holder.name, holder.node) == ("w9", "worker9")
        assert credentials.find_by_digest(connection, token_sha256("token-viewer")) is None
    engine.dispose()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"name": "x", "role": "agent", "sha256": "0" * 64}, "the role agent needs a node"),
        ({"name": "x", "role": "root", "sha256": "0" * 64}, "role"),
        ({"name": "x", "role": "admin", "sha256": "short"}, "sha256"),
    ],
)
def test_credentials_that_make_no_sense_are_refused(
    command: Command,
    tmp_path: Path,
    migrated: Settings,
    wanted: dict[str, str],
    words: str,
) -> None:
    config = write_config(tmp_path / "master.yml", migrated)
    listed = tmp_path / "credentials.yml"
    listed.write_text(json.dumps({"credentials": [wanted]}))
    ended = command(config, "sync-credentials", str(listed))
    assert ended.code == 2
    assert words in ended.err
