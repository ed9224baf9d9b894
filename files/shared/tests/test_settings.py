"""Tests of settings files, tokens and log records."""

import json
import logging
import re
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared import config, credentials, logs


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    folder: Path
    port: int = 80


def test_a_settings_file_becomes_its_type(tmp_path: Path) -> None:
    file = tmp_path / "s.yml"
    file.write_text("folder: /a/b\n")
    assert config.load(file, Settings) == Settings(folder=Path("/a/b"), port=80)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folder: /a\nport: many\n", "$.port"),
        ("folder: /a\nprot: 1\n", "prot"),
        ("port: 1\n", "folder"),
        ("folder: [\n", "s.yml"),
        ("", "s.yml"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "s.yml"
    file.write_text(text)
    with pytest.raises(config.ConfigError, match=re.escape("s.yml")) as refused:
        config.load(file, Settings)
    assert message in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=re.escape("nothing.yml")):
        config.load(tmp_path / "nothing.yml", Settings)


def test_tokens_are_long_and_differ() -> None:
    tokens = {credentials.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 43 for token in tokens)


def test_an_empty_token_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ValueError, match="must contain a token"):
        credentials.read_token(tmp_path / "token")


def test_a_log_record_is_one_line_of_json() -> None:
    record = logging.LogRecord("a.b", logging.INFO, __file__, 1, "did %s\nso", ("it",), None)
    record.job_id = "x"
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "did it\nso"
    assert entry["job_id"] == "x"
    assert entry["level"] == "info"
