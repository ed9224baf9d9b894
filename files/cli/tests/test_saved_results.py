"""Results of a run that were saved in a directory."""

import json
import os
from pathlib import Path

import pytest
from ffrtmp_client.errors import SettingsError
from ffrtmp_client.saved_results import read_saved_results

RUN = {"id": "01abc", "counts": {"succeeded": 0}}
DOCUMENT = {"farm": "", "run": RUN, "results": [], "precision": {"medians": [], "drifts": []}}


def test_a_directory_and_its_file_have_the_same_results(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "results.csv").write_text("result_id,cost\n1,0.5\n")
    read = read_saved_results(tmp_path)
    assert read == read_saved_results(tmp_path / "results.json")
    assert read.run == RUN
    assert read.exported == {"1": {"result_id": "1", "cost": "0.5"}}


def test_results_without_a_table_have_no_costs(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(DOCUMENT))
    assert read_saved_results(tmp_path).exported == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b"[]",
        b"{}",
        json.dumps({**DOCUMENT, "results": [1]}).encode(),
        json.dumps({**DOCUMENT, "run": {}}).encode(),
        json.dumps({**DOCUMENT, "precision": None}).encode(),
    ],
)
def test_a_file_without_results_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"results\.json"):
        read_saved_results(tmp_path)


def test_a_damaged_table_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "results.csv").write_text("cost\n1\n")
    with pytest.raises(SettingsError, match=r"results\.csv"):
        read_saved_results(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="not a regular file"):
        read_saved_results(tmp_path / "pipe")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.json cannot be read: No such file"):
        read_saved_results(tmp_path / "nothing.json")
