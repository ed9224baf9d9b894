"""Tests of the exports of results.

An export must be complete, contain the same values in every format, and need limited memory.
"""

import csv
import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ansible.module_utils
import msgspec
import pyarrow.parquet
import pytest
from databases import begin_new_epoch, writing
from ffrtmp_master.api import exports
from ffrtmp_master.exports import columns, formats
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import results
from ffrtmp_shared.measurement import (
    LiveMeasurement,
    RateProbe,
    RateSearch,
    ReceivedChunk,
    ReceivedMeasurement,
    Unavailable,
)
from ffrtmp_shared.models import Result
from ffrtmp_shared.rate_point import RatePoint
from in_process_master import MasterHarness
from msgspec.structs import replace
from sqlalchemy import text

ROOT = Path(__file__).resolve().parents[3]
FORMATS = ("jsonl", "csv", "parquet")
WHOLE = {column.name for column in columns.COLUMNS if column.kind is columns.Kind.WHOLE}
NUMBERS = {column.name for column in columns.COLUMNS if column.kind is columns.Kind.NUMBER}


def export(harness: MasterHarness, kind: str, **query: str) -> bytes:
    answer = harness.call("viewer", "GET", "/v1/results/export", params={"format": kind, **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == formats.FORMATS[kind].media_type
    assert f'.{kind}"' in answer.headers["content-disposition"]
    return answer.content


def as_rows(content: bytes, kind: str) -> list[dict[str, Any]]:
    """Return the rows of an exported table, with values of the types that its columns declare."""
    if kind == "parquet":
        return list(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist())
    found = []
    for row in csv.DictReader(io.StringIO(content.decode(), newline="")):
        values: dict[str, Any] = {name: text or None for name, text in row.items()}
        for name in (WHOLE | NUMBERS) & values.keys():
            if values[name] is not None:
                values[name] = (int if name in WHOLE else float)(values[name])
        found.append(values)
    return found


@pytest.fixture
def filled(ready_harness: MasterHarness) -> Any:
    """The harness and a run.

    There are three results of the run, and one result of a job without a run.
    """
    run = ready_harness.run(ready_harness.suite(rates=3))
    ready_harness.submit()
    while (claim := ready_harness.claim("worker1")) is not None:
        assert ready_harness.result(claim).is_success
    return ready_harness, run


@pytest.mark.parametrize("pages", [1, 2, 1000])
def test_json_lines_equal_the_results_of_the_api(
    filled: Any, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    harness, run = filled
    monkeypatch.setattr(exports, "_RESULTS_AT_ONCE", pages)
    lines = [json.loads(line) for line in export(harness, "jsonl").splitlines()]
    assert lines == harness.every("/v1/results")
    assert len(lines) == 4
    of_run = [json.loads(line) for line in export(harness, "jsonl", run=run["id"]).splitlines()]
    assert of_run == harness.every("/v1/results", run=run["id"])
    assert len(of_run) == 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("pages", [1, 2, 1000])
def test_tables_contain_every_result(
    filled: Any, monkeypatch: pytest.MonkeyPatch, kind: str, pages: int
) -> None:
    harness, run = filled
    monkeypatch.setattr(exports, "_RESULTS_AT_ONCE", pages)
    rows = as_rows(export(harness, kind), kind)
    listed = harness.every("/v1/results")
    assert [row["result_id"] for row in rows] == [result["id"] for result in listed]
    assert [row["run_id"] for row in rows] == [result["run_id"] for result in listed]
    assert list(rows[0]) == [column.name for column in columns.COLUMNS]
    first = rows[0]
    assert (first["wall_s"], first["cpu_s"], first["max_rss_kib"]) == (2.0, 3.5, 1000)
    assert (first["vmaf_mean"], first["vmaf_pairs"], first["argv"]) == (91.5, 100, "ffmpeg -i in")
    assert first["crf"] is None
    rates = [result["scenario"]["encode"]["rate"]["bitrate_kbps"] for result in listed]
    assert [row["bitrate_kbps"] for row in rows] == rates
    assert len(as_rows(export(harness, kind, run=run["id"]), kind)) == 3


def change_after_first_page(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let exports have pages of one result, and call `change` after the first page was read."""
    monkeypatch.setattr(exports, "_RESULTS_AT_ONCE", 1)
    read_page, changes = results.between_positions, [change]

    def read_before_change(*arguments: Any) -> Any:
        page = read_page(*arguments)
        while changes:
            changes.pop()()
        return page

    monkeypatch.setattr(results, "between_positions", read_before_change)


def test_an_export_continues_in_a_new_epoch_of_the_same_database(
    filled: Any, migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, _ = filled
    change_after_first_page(monkeypatch, lambda: begin_new_epoch(migrated))
    assert len(export(harness, "jsonl").splitlines()) == 4


def test_an_export_fails_if_the_database_is_replaced(
    filled: Any, migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, _ = filled

    def replace_database() -> None:
        with writing(migrated) as engine, engine.begin() as connection:
            connection.execute(text("UPDATE epochs SET token = 'fffffff' || id"))

    change_after_first_page(monkeypatch, replace_database)
    answer = harness.call("viewer", "GET", "/v1/results/export", params={"format": "jsonl"})
    assert answer.status_code == 500
    assert answer.content == b""


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_export_is_a_valid_file(harness: MasterHarness, kind: str) -> None:
    content = export(harness, kind)
    assert (content == b"") == (kind == "jsonl")
    if kind != "jsonl":
        assert as_rows(content, kind) == []
    unknown_run = {"format": kind, "run": "0198c5f0-0000-7000-8000-000000000000"}
    assert (
        harness.call("viewer", "GET", "/v1/results/export", params=unknown_run).status_code == 404
    )


def test_an_unknown_format_is_refused(harness: MasterHarness) -> None:
    for query in ({"format": "xlsx"}, {}):
        assert harness.call("viewer", "GET", "/v1/results/export", params=query).status_code == 400
    query = {"format": "csv"}
    assert harness.call("worker1", "GET", "/v1/results/export", params=query).status_code == 403


@pytest.fixture
def result(filled: Any) -> Result:
    harness, _ = filled
    return msgspec.convert(harness.every("/v1/results")[0], Result)


def written(kind: str, results: list[Result]) -> bytes:
    table = formats.FORMATS[kind]()
    return table.head() + table.part(results) + table.tail()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_unavailable_values_are_empty_and_never_0(result: Result, kind: str) -> None:
    unknown = Unavailable(reason='no libvmaf, message "x",\nand more')
    measurement = result.measurement
    measurement = replace(
        measurement,
        quality=unknown,
        encode=replace(measurement.encode, first_frame_s=unknown),
        environment=replace(
            measurement.environment, cpu_governor=unknown, cpu_frequency_mhz=unknown
        ),
        energy=unknown,
    )
    (row,) = as_rows(written(kind, [replace(result, measurement=measurement)]), kind)
    empty = {name for name, value in row.items() if value is None}
    vmaf = {column.name for column in columns.COLUMNS if column.name.startswith("vmaf_")}
    vmaf |= {"psnr_y_mean_db", "ssim_libvmaf_mean", "ssim_ffmpeg_mean", "xpsnr_y_db"}
    energy = {column.name for column in columns.COLUMNS if column.name.startswith("energy_")}
    others = {"first_frame_s", "cpu_governor", "cpu_frequency_mhz"}
    others |= {"crf", "cq"}
    others |= {column.name for column in columns.COLUMNS if column.name.startswith("target_")}
    # These columns belong to other kinds of measurement.
    others |= {"streams", "power_w", "watts_per_stream", *LiveMeasurement.__struct_fields__}
    others |= {"gpu_power_w", "cost_per_stream_hour", "currency"}
    others |= {"gpu_energy_gross_j", "gpu_energy_net_j", "gpu_energy_idle_w"}
    others -= {"duration_s", "helpers_cpu_s"}
    others |= {column.name for column in columns.COLUMNS if column.name.startswith("received_")}
    # This column is for suites that compare FFmpeg builds.
    others |= {"ffmpeg"}
    assert empty == (vmaf | energy) - {"vmaf_unavailable", "energy_unavailable"} | others
    assert row["vmaf_unavailable"] == unknown.reason, "quoted text is restored exactly"


def test_a_received_stream_has_values_only_if_it_was_measured(result: Result) -> None:
    chunk = ReceivedChunk(
        duration_s=4.0,
        frames=100,
        pairs=90,
        stall_s=0.5,
        vmaf_mean=80.0,
        vmaf_neg_mean=79.0,
        psnr_y_mean_db=40.0,
        ssim_libvmaf_mean=0.9,
    )
    received = ReceivedMeasurement(
        chunk_s=4.0,
        buffer_s=1.0,
        frames=100,
        pairs=90,
        frames_lost=10,
        frames_lost_at_start=25,
        stall_s=0.5,
        file_bytes=1000,
        chunks=(chunk,),
    )
    assert b'"received"' not in msgspec.json.encode(result.measurement)
    rows = as_rows(
        written(
            "csv",
            [
                replace(result, measurement=replace(result.measurement, received=value))
                for value in (received, Unavailable(reason="too large"), None)
            ],
        ),
        "csv",
    )
    assert [
        [row[f"received_{name}"] for row in rows]
        for name in ("stall_s", "frames_lost", "frames_lost_at_start", "file_bytes")
    ] == [[0.5, None, None], [10, None, None], [25, None, None], [1000, None, None]]
    measurement = replace(result.measurement, received=received)
    encoded = msgspec.json.encode(measurement)
    assert msgspec.json.decode(encoded, type=type(measurement)) == measurement


@pytest.mark.parametrize(("control", "setting"), [("crf", 23.4), ("cq", 31)])
def test_the_setting_that_reached_a_vmaf_is_exported(
    result: Result, control: str, setting: float
) -> None:
    search = RateSearch(
        vmaf_target=93.0,
        vmaf_tolerance=0.5,
        control=control,
        setting=setting,
        probes=(RateProbe(setting=setting, vmaf_mean=93.2, video_bitrate_kbps=800.0),),
        duration_s=12.5,
        is_cached=True,
    )
    assert b'"rate_search"' not in msgspec.json.encode(result.measurement)
    encode = result.scenario.encode
    assert encode is not None
    found = replace(
        result,
        scenario=replace(result.scenario, encode=replace(encode, rate=RatePoint(vmaf=93.0))),
        measurement=replace(result.measurement, rate_search=search),
    )
    (row,) = as_rows(written("csv", [found]), "csv")
    assert row["rate_point"] == "vmaf93"
    assert row[control] == setting
    assert row["crf" if control == "cq" else "cq"] is None
    assert [value for name, value in row.items() if name.startswith("target_")] == [
        93.0, 0.5, 1, 12.5, 1
    ]  # fmt: skip


def test_parquet_is_typed(result: Result) -> None:
    schema = pyarrow.parquet.read_schema(io.BytesIO(written("parquet", [result])))
    types = {str(field.type) for field in schema}
    assert types == {"string", "int64", "double", "timestamp[us, tz=UTC]"}
    (row,) = as_rows(written("parquet", [result]), "parquet")
    assert row["stored_at"] == result.stored_at


def test_csv_begins_with_the_columns_of_the_control_node(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ansible.module_utils,
        "__path__",
        [*ansible.module_utils.__path__, str(ROOT / "module_utils")],
    )
    from ansible.module_utils.ffrtmp import results as control_node

    harness, run = filled
    theirs = control_node.as_csv(harness.every("/v1/results", run=run["id"])).decode()
    ours = export(harness, "csv", run=run["id"]).decode()
    width = len(control_node.COLUMNS)
    cut = [line[:width] for line in csv.reader(io.StringIO(ours))]
    assert cut == list(csv.reader(io.StringIO(theirs)))


def many(result: Result, count: int) -> Iterator[list[Result]]:
    for _ in range(count):
        yield [result] * 1000


@pytest.mark.parametrize("pages", [10, pytest.param(30, marks=pytest.mark.deep)])
@pytest.mark.parametrize("kind", FORMATS)
def test_written_results_are_not_held_in_memory(result: Result, kind: str, pages: int) -> None:
    table = formats.FORMATS[kind]()
    table.head()
    table.part([result] * 1000)
    tracemalloc.start()
    written_bytes = sum(len(table.part(page)) for page in many(result, pages))
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    table.tail()
    assert written_bytes > 1000 * pages
    assert held_bytes < 300_000
    assert pyarrow.total_allocated_bytes() < 3_000_000


def test_importing_the_application_does_not_load_pyarrow() -> None:
    program = "import sys, ffrtmp_master.server.app; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
