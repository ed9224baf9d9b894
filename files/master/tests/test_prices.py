"""Tests of the price book: the command that checks it, its file, and its endpoint."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import in_process_master
import msgspec
import pytest
from ffrtmp_master import cli
from ffrtmp_master.price_file import PriceFile
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_shared.config import ConfigError
from ffrtmp_shared.prices import PriceBook
from in_process_master import SetClock

_ENTRY: dict[str, Any] = {
    "valid_from": "2026-01-01",
    "currency": "EUR",
    "source": "contract",
    "regions": {"de": {"pue": 1.4, "energy_per_kwh": 0.28}},
    "nodes": {"w1": {"region": "de", "per_hour": 0.45}},
}


def _write(path: Path, *entries: Any, **more: Any) -> Path:
    # The new file replaces the former one, as the role does.
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"entries": entries, **more}))
    return new.replace(path)


def _check(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["ffrtmp-master", "check-prices", str(path)])
    cli.main()


def test_the_command_accepts_a_valid_book(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _check(monkeypatch, _write(tmp_path / "prices.json", _ENTRY))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must be a dictionary with the key entries"),
        (b" " * (16 * 2**20 + 1), "larger than"),
        (
            json.dumps({"entries": [_ENTRY | {"nodes": {"w1": {"per_hour": -1}}}]}).encode(),
            "entry 1 (valid from 2026-01-01T00:00:00Z): node w1: per_hour must not be negative",
        ),
    ],
    ids=["missing", "empty", "binary", "nested", "list", "large", "negative"],
)
def test_the_command_reports_an_invalid_book(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes | None,
    message: str,
) -> None:
    path = tmp_path / "prices.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        _check(monkeypatch, path)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_other_commands_need_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ffrtmp-master", "check-config"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "the option --config is required" in capsys.readouterr().err


def test_the_book_is_served_to_viewers(migrated: Settings, clock: SetClock, tmp_path: Path) -> None:
    path = _write(tmp_path / "prices.json", _ENTRY)
    settings = msgspec.structs.replace(migrated, price_book_file=path)
    services = Services(settings, clock, maintenance_interval_s=3600)
    with in_process_master.running_master(services, clock) as harness:
        served = harness.call("viewer", "GET", "/v1/prices")
        book = msgspec.json.decode(served.content, type=PriceBook)
        assert book.entries[0].nodes["w1"].per_hour == 0.45
        assert served.json()["entries"][0]["valid_from"] == "2026-01-01T00:00:00Z"
        assert harness.call("worker1", "GET", "/v1/prices").status_code == 403
        assert harness.call(None, "GET", "/v1/prices").status_code == 401
        changed = _ENTRY | {"nodes": {"w1": {"region": "de", "per_hour": 0.5}}}
        _write(path, _ENTRY, changed | {"valid_from": "2026-07-01"})
        later = harness.ok("viewer", "GET", "/v1/prices")
        assert [entry["nodes"]["w1"]["per_hour"] for entry in later["entries"]] == [0.45, 0.5]


def test_a_farm_without_prices_has_an_empty_book(harness: Any) -> None:
    assert harness.ok("viewer", "GET", "/v1/prices") == {"entries": [], "superseded_nodes": []}


def test_an_invalid_change_of_the_file_is_logged_and_not_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _write(tmp_path / "prices.json", _ENTRY)
    file = PriceFile(path)
    _write(path, _ENTRY | {"currency": "EURO"})
    assert file.book().entries[0].currency == "EUR"
    assert "the change of the price book could not be loaded" in caplog.text
    assert "currency is 'EURO'" in caplog.text
    _write(path, _ENTRY | {"currency": "CHF"})
    assert file.book().entries[0].currency == "CHF"
    path.unlink()
    assert file.book().entries[0].currency == "CHF"


def test_a_master_does_not_start_with_an_invalid_book(tmp_path: Path) -> None:
    path = _write(tmp_path / "prices.json", _ENTRY | {"source": ""})
    with pytest.raises(ConfigError, match="source must be a text that is not empty"):
        PriceFile(path)


def test_the_log_names_the_workers_whose_own_prices_are_superseded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _write(tmp_path / "prices.json", _ENTRY)
    with caplog.at_level(logging.WARNING):
        PriceFile(path)
    assert not caplog.records
    _write(path, _ENTRY, superseded_nodes=["w1", "w2"])
    with caplog.at_level(logging.WARNING):
        PriceFile(path)
    assert "takes precedence over the deprecated variables" in caplog.text
    assert "w1, w2" in caplog.text
