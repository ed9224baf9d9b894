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
from typing import Any

import msgspec
import pyarrow.parquet
import pytest
from databases import begin_new_epoch, writing
from ffrtmp_master.api import exports
from ffrtmp_master.exports import columns, formats
from ffrtmp_master.exports.exported_result import ExportedResult, cost_of_result
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import results
from ffrtmp_shared.live_measurement import ReceivedChunk, ReceivedMeasurement
from ffrtmp_shared.models import Result, Run
from ffrtmp_shared.prices import PriceBook, parse_book
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.rate_search import RateProbe, RateSearch
from ffrtmp_shared.scenario import LadderSettings, LiveSettings, QualitySettings
from ffrtmp_shared.unavailable import Unavailable
from in_process_master import MasterHarness
from msgspec import inspect
from msgspec.structs import replace
from sqlalchemy import text

FORMATS = ("jsonl", "csv", "parquet")
WHOLE = {column.name for column in columns.COLUMNS if column.kind is columns.Kind.WHOLE}
NO_PRICES = PriceBook()
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


def exported(found: list[Result], book: PriceBook) -> list[ExportedResult]:
    return [ExportedResult(result, None, cost_of_result(result, book)) for result in found]


def written(kind: str, found: list[Result], book: PriceBook = NO_PRICES) -> bytes:
    table = formats.FORMATS[kind]()
    return table.head() + table.part(exported(found, book)) + table.tail()


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
    vmaf = (vmaf | _names_below("quality")) - {"vmaf_unavailable"}
    energy = _names_below("energy", "gpu_energy") - {"energy_unavailable", "gpu_energy_unavailable"}
    others = {"first_frame_s", "cpu_governor", "cpu_frequency_mhz"}
    others |= {column.name for column in columns.COLUMNS if column.name.startswith("target_")}
    # These columns belong to other kinds of measurement.
    others |= _names_below("density", "live", "received")
    others |= {"ladder_together", "decode_threads", "live_requested_s", "live_measure_received"}
    others |= {column.name for column in columns.COLUMNS if column.name.startswith("density_")}
    others |= {column.name for column in columns.COLUMNS if column.name.startswith("synthetic_")}
    # The encode has none of these settings, and the suite does not compare FFmpeg builds.
    others |= {"crf", "cq", "max_kbps", "buffer_kbit", "width_px", "height_px", "frame_rate"}
    others |= {"options", "source_url", "ffmpeg", "ffmpeg_url", "cached_values"}
    others |= {"cache_faults"}
    others |= {"quality_neg", "quality_psnr", "quality_ssim", "quality_xpsnr"}
    # The row was written without a run and without prices.
    others |= {column.name for column in columns.COLUMNS if column.path.startswith("run.")}
    others |= {"book_currency", "book_cost_per_video_minute", "book_cost_per_stream_hour"}
    others |= {"book_cost_per_ladder_hour", "carbon_g_per_video_minute"}
    assert empty == vmaf | energy | others
    assert row["vmaf_unavailable"] == unknown.reason, "quoted text is restored exactly"


def _names_below(*parts: str) -> set[str]:
    """Return the names of the columns for values in parts of a measurement."""
    return {
        column.name
        for column in columns.COLUMNS
        if column.path.startswith(tuple(f"result.measurement.{part}." for part in parts))
    }


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
        93.0, 0.5, 1, 12.5, "true"
    ]  # fmt: skip


def test_parquet_is_typed(result: Result) -> None:
    schema = pyarrow.parquet.read_schema(io.BytesIO(written("parquet", [result])))
    types = {str(field.type) for field in schema}
    assert types == {"string", "int64", "double", "bool", "timestamp[us, tz=UTC]"}
    (row,) = as_rows(written("parquet", [result]), "parquet")
    assert row["stored_at"] == result.stored_at


# Values that are not in the table, with the reason or the columns that contain them.
NOT_IN_THE_TABLE = {
    "run.state": "changes until the run has ended",
    "result.scenario.source.sha256": "source_sha256, also that of a generated source",
    "result.scenario.ffmpeg.sha256": "ffmpeg_sha256, also that of the farm's build",
    "result.scenario.encode.encoder": "encoder",
    "result.scenario.encode.rate.crf": "crf, also that which reached a requested VMAF",
    "result.scenario.encode.rate.cq": "cq, also that which reached a requested VMAF",
    "result.scenario.encode.rate.vmaf_tolerance": "target_tolerance",
    "result.measurement.rate_search.vmaf_target": "target_vmaf",
    "result.measurement.rate_search.control": "crf or cq, of which the other one is empty",
    "result.measurement.rate_search.setting": "crf or cq",
}
# Columns that are made of several values.
COMPUTED = {
    "rate_point",
    "crf",
    "cq",
    "target_probes",
    "options",
    "verdict_reasons",
    "argv",
    "cached_values",
    "cache_faults",
}


def scalars(found: Any, path: str) -> Iterator[str]:
    """Yield the paths of all values of a type that are not part of a list or of a dictionary."""
    match found:
        case inspect.UnionType():
            for member in found.types:
                yield from scalars(member, path)
        case inspect.StructType() if found.cls is Unavailable:
            # The reasons of the parts of a measurement have columns, those of single values do not.
            return
        case inspect.StructType():
            for field in found.fields:
                yield from scalars(field.type, f"{path}.{field.encode_name}")
        case inspect.Metadata():
            yield from scalars(found.type, path)
        case inspect.NoneType():
            return
        case inspect.ListType() | inspect.VarTupleType() | inspect.DictType():
            return
        case _:
            yield path


def test_the_table_has_a_column_for_every_scalar() -> None:
    every = set(scalars(inspect.type_info(Result), "result"))
    every |= set(scalars(inspect.type_info(Run), "run")) - {"run.id"}
    shown = {column.path for column in columns.COLUMNS if column.path}
    missing = sorted(every - shown - NOT_IN_THE_TABLE.keys())
    assert not missing, (
        f"add columns for {missing} to ffrtmp_master/exports/columns.py and docs/results.md"
    )
    assert every >= NOT_IN_THE_TABLE.keys()
    added = {path for path in shown - every if not path.endswith(".reason")}
    assert {path for path in added if not path.startswith("cost.")} == {
        "result.scenario.encoder",
        "result.measurement.encode.cpu_s",
    }
    assert {column.name for column in columns.COLUMNS if not column.path} == COMPUTED
    names = [column.name for column in columns.COLUMNS]
    assert len(names) == len(set(names))


def test_rows_name_the_cached_values_and_the_requested_scores(result: Result) -> None:
    values, faults = ("source", "output", "quality"), ("probe: damaged", "decode: damaged")
    measurement = replace(result.measurement, cached_values=values, cache_faults=faults)
    scenario = replace(result.scenario, quality=QualitySettings(neg=False))
    changed = [result, replace(result, measurement=measurement, scenario=scenario)]
    full, cached = csv.DictReader(io.StringIO(written("csv", changed).decode()))
    assert (full["cached_values"], cached["cached_values"]) == ("", "source output quality")
    assert (full["cache_faults"], cached["cache_faults"]) == (
        "",
        "probe: damaged; decode: damaged",
    )
    names = ("quality_neg", "quality_psnr", "quality_ssim", "quality_xpsnr")
    assert [cached[name] for name in names] == ["false", "true", "true", "true"]
    assert {full[name] for name in names} == {""}


def test_rows_have_the_properties_of_their_runs(filled: Any) -> None:
    harness, run = filled
    *of_run, single = as_rows(export(harness, "csv"), "csv")
    for row in of_run:
        assert (row["suite_name"], row["run_seed"]) == (run["suite_name"], run["seed"])
        assert row["run_created_by"] == run["created_by"]
        assert row["run_priority"] == run["priority"]
    assert {value for name, value in single.items() if name.startswith("run_")} == {None}


def test_rows_have_costs_by_the_price_book(result: Result) -> None:
    book = parse_book(
        {
            "entries": [
                {
                    "currency": "EUR",
                    "source": "contract",
                    "nodes": {result.node: {"per_hour": 3.6, "includes_energy": True}},
                }
            ]
        }
    )
    (row,) = as_rows(written("csv", [result], book), "csv")
    # The encode took 2 s and encoded 4 s of video.
    assert (row["book_currency"], row["book_cost_unavailable"]) == ("EUR", None)
    assert row["book_cost_per_video_minute"] == pytest.approx(2 / 3600 * 3.6 * 60 / 4)
    assert (row["book_cost_per_stream_hour"], row["book_cost_per_ladder_hour"]) == (None, None)
    assert row["carbon_unavailable"] == "no_carbon_intensity"
    (row,) = as_rows(written("csv", [result]), "csv")
    assert row["book_cost_unavailable"] == row["carbon_unavailable"] == "no_price_book"


def test_flags_are_words(result: Result) -> None:
    live = replace(result.scenario, live=LiveSettings(measure_received=True))
    ladder = replace(result.scenario, encode=None, ladder=LadderSettings(renditions=()))
    changed = [replace(result, scenario=scenario) for scenario in (live, ladder, result.scenario)]
    rows = list(csv.DictReader(io.StringIO(written("csv", changed).decode())))
    assert [row["live_measure_received"] for row in rows] == ["true", "", ""]
    assert [row["ladder_together"] for row in rows] == ["", "true", ""]
    parquet = as_rows(written("parquet", changed), "parquet")
    assert [row["ladder_together"] for row in parquet] == [None, True, None]


def many(result: Result, count: int) -> Iterator[list[ExportedResult]]:
    for _ in range(count):
        yield exported([result], NO_PRICES) * 1000


@pytest.mark.slow
@pytest.mark.parametrize("pages", [10, pytest.param(30, marks=pytest.mark.deep)])
@pytest.mark.parametrize("kind", FORMATS)
def test_written_results_are_not_held_in_memory(result: Result, kind: str, pages: int) -> None:
    table = formats.FORMATS[kind]()
    table.head()
    table.part(exported([result], NO_PRICES) * 1000)
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
