"""Tests of the results of runs as tables, CSV and files."""

import io
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ansible.module_utils.ffrtmp import medians, results
from ansible.module_utils.ffrtmp.errors import CorruptError, SettingsError
from ansible.module_utils.ffrtmp.folder import Folder, check_belongs_to
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.states import RunState

from .documents import NOW, result, run


@pytest.mark.parametrize(
    "rate",
    [
        RatePoint(bitrate_kbps=1500),
        RatePoint(crf=23),
        RatePoint(crf=23.5),
        RatePoint(crf=23, max_kbps=4000, buffer_kbit=8000),
        RatePoint(cq=30),
        RatePoint(bitrate_kbps=1500, passes=2),
        RatePoint(vmaf=93),
        RatePoint(vmaf=93.5, vmaf_tolerance=1, max_kbps=4000),
    ],
)
def test_rate_label_equals_the_shared_type(rate: RatePoint) -> None:
    assert medians.rate_label(msgspec.to_builtins(rate)) == rate.label


def test_table_has_medians_over_repeats() -> None:
    rows = medians.median_rows(
        result(repeat=repeat, speed=speed, vmaf=vmaf)
        for repeat, speed, vmaf in ((1, 1.0, 80.0), (2, 5.0, None), (3, 2.0, 90.0))
    )

    assert len(rows) == 1
    row = rows[0]
    assert (row["n"], row["speed"], row["vmaf_n"], row["vmaf_mean"]) == (3, 2.0, 2, 85.0)
    assert (row["source"], row["encode"], row["encoder"]) == ("clip", "x264", "libx264")


def _judged(state: str, **values: Any) -> dict[str, Any]:
    document = result(**values)
    document["measurement"]["verdict"] = {
        "state": state,
        "reasons": [{"code": "steal", "detail": "x"}],
    }
    return document


def test_medians_exclude_invalid_results_and_include_degraded_ones() -> None:
    rows = medians.median_rows(
        [
            _judged("valid", repeat=1, speed=1.0),
            _judged("degraded", repeat=2, speed=3.0),
            _judged("invalid", repeat=3, speed=100.0),
        ]
    )

    assert (rows[0]["n"], rows[0]["n_degraded"], rows[0]["n_invalid"]) == (2, 1, 1)
    assert rows[0]["speed"] == 2.0


def test_a_scenario_with_only_invalid_results_has_a_row_without_values() -> None:
    (row,) = medians.median_rows([_judged("invalid")])

    assert (row["n"], row["n_invalid"], row["speed"], row["cpu_s"]) == (0, 1, None, None)
    assert row["encoder"] == "libx264"


def test_unavailable_energy_is_empty_and_never_0() -> None:
    with_energy = result()
    with_energy["measurement"]["energy"] = {"status": "measured", "gross_j": 5.5, "net_j": 4.0}
    without = result()
    without["measurement"]["energy"] = {"status": "unavailable", "reason": "no counter"}
    assert medians.median_rows([with_energy])[0]["energy_gross_j"] == 5.5
    assert medians.median_rows([without])[0]["energy_gross_j"] is None


def _live(**figures: Any) -> dict[str, Any]:
    document = result()
    unknown = {"status": "unavailable", "reason": "not requested"}
    document["measurement"]["output"] = None
    document["measurement"]["quality"] = unknown
    document["measurement"]["live"] = {"server_bitrate_mean_kbps": unknown, **figures}
    return document


def test_a_stream_has_the_bit_rate_of_its_packets() -> None:
    (row,) = medians.median_rows([_live(bitrate_mean_kbps=1234.0, server_bitrate_mean_kbps=999.0)])
    assert row["video_bitrate_kbps"] == 1234.0
    (row,) = medians.median_rows([_live(server_bitrate_mean_kbps=999.0)])
    assert row["video_bitrate_kbps"] == 999.0
    (row,) = medians.median_rows([_live()])
    assert row["video_bitrate_kbps"] is None


def _ladder(repeat: int, kbps: float, vmaf: float | None, *, together: bool) -> dict[str, Any]:
    document, whole = result(repeat=repeat), result()["measurement"]
    encode = document["scenario"].pop("encode")
    document["scenario"]["name"] = "clip/ladder"
    document["scenario"]["ladder"] = {
        "together": together,
        "renditions": [
            {"name": name, "encode": {**encode, "rate": {"bitrate_kbps": rate}}}
            for name, rate in (("720p", 2000), ("360p", 500))
        ],
    }
    unknown = {"status": "unavailable", "reason": "no libvmaf"}
    quality = unknown if vmaf is None else {**whole["quality"], "vmaf_mean": vmaf}
    document["measurement"] |= {
        "output": None,
        "quality": unknown,
        "energy": {"status": "measured", "gross_j": 9.0, "net_j": 5.0},
        "renditions": [
            {
                "name": name,
                "encode": None if together else {**whole["encode"], "speed": kbps},
                "output": {**whole["output"], "video_bitrate_kbps": kbps / part},
                "quality": quality,
            }
            for name, part in (("720p", 1), ("360p", 4))
        ],
    }
    return document


def test_each_rendition_has_a_row_below_its_ladders() -> None:
    rows = medians.median_rows(
        [
            result(),
            _ladder(1, 1900.0, 90.0, together=True),
            _ladder(2, 2100.0, None, together=True),
            _ladder(3, 2000.0, 80.0, together=True),
        ]
    )
    assert [(row["encode"], row["rendition"], row["rate_point"]) for row in rows] == [
        ("ladder", None, ""),
        ("ladder", "720p", "2000k"),
        ("ladder", "360p", "500k"),
        ("x264", None, "800k"),
    ]
    whole, large, small, _ = rows
    assert (whole["speed"], whole["energy_gross_j"], whole["video_bitrate_kbps"]) == (2, 9, None)
    assert (large["video_bitrate_kbps"], small["video_bitrate_kbps"]) == (2000.0, 500.0)
    for row in (large, small):
        assert (row["n"], row["vmaf_mean"], row["vmaf_n"]) == (3, 85.0, 2)
        assert (row["speed"], row["cpu_s"], row["energy_gross_j"]) == (None, None, None)


def test_a_rendition_with_a_separate_process_has_its_cost() -> None:
    rows = medians.median_rows([_ladder(1, 1.5, 90.0, together=False)])
    assert [row["speed"] for row in rows] == [2.0, 1.5, 1.5]
    assert [row["cpu_s"] for row in rows] == [3.5, 3.5, 3.5]
    assert [row["energy_gross_j"] for row in rows] == [9.0, None, None]


def test_renditions_of_an_invalid_ladder_have_no_values() -> None:
    document = _ladder(1, 2000.0, 90.0, together=True)
    document["measurement"]["verdict"] = {"state": "invalid", "reasons": []}
    for row in medians.median_rows([document]):
        assert (row["n"], row["n_invalid"], row["video_bitrate_kbps"]) == (0, 1, None)


def test_streams_and_lag_are_in_the_rows_that_measured_them() -> None:
    dense, live = result(repeat=1), result(repeat=2)
    cost = {"status": "computed", "currency": "EUR", "per_stream_hour": 0.0125}
    dense["measurement"]["density"] = {"streams": 7, "cost": cost}
    live["measurement"]["live"] = {"lag_p95_s": 0.5, "end_to_end_p95_s": 0.75}
    (row,) = medians.median_rows([dense, live])

    assert (row["streams"], row["lag_p95_s"], row["end_to_end_p95_s"]) == (7.0, 0.5, 0.75)
    assert (row["cost_per_stream_hour"], row["currency"]) == (0.0125, "EUR")


def test_the_latency_of_a_silent_stream_is_empty() -> None:
    live = result(repeat=1)
    silent = {"status": "unavailable", "reason": "the player received nothing for 54.0 s"}
    live["measurement"]["live"] = {"lag_p95_s": 0.5, "end_to_end_p95_s": silent}
    (row,) = medians.median_rows([live])
    assert (row["lag_p95_s"], row["end_to_end_p95_s"]) == (0.5, None)


def test_streams_without_a_price_or_in_several_currencies_have_no_cost() -> None:
    dense = [result(repeat=number) for number in (1, 2, 3)]
    for document, cost in zip(
        dense,
        (
            {"status": "unavailable", "reason": "no price"},
            {"status": "computed", "currency": "EUR", "per_stream_hour": 0.01},
            {"status": "computed", "currency": "USD", "per_stream_hour": 0.02},
        ),
        strict=True,
    ):
        document["measurement"]["density"] = {"streams": 7, "cost": cost}

    (row,) = medians.median_rows(dense)
    assert (row["cost_per_stream_hour"], row["currency"]) == (None, None)
    (row,) = medians.median_rows(dense[:1])
    assert (row["cost_per_stream_hour"], row["currency"]) == (None, None)
    (row,) = medians.median_rows(dense[:2])
    assert (row["cost_per_stream_hour"], row["currency"]) == (0.01, "EUR")


def _with_ffmpeg(name: str | None, sha256: str, **values: Any) -> dict[str, Any]:
    document = result(**values)
    if name is not None:
        document["scenario"]["ffmpeg"] = {"name": name, "sha256": sha256}
        document["scenario"]["name"] += f"/{name}"
    document["measurement"]["provenance"]["ffmpeg"]["sha256"] = sha256
    return document


def test_two_ffmpegs_are_never_in_one_median() -> None:
    """Summarize results of two builds that report the same version, with and without names."""
    for names in (("old", "new"), (None, None)):
        slow, quick = (
            [_with_ffmpeg(name, digest * 64, repeat=n, speed=speed) for n in (1, 2)]
            for name, digest, speed in zip(names, "ab", (1.0, 3.0), strict=True)
        )
        rows = medians.median_rows([*slow, *quick])

        assert sorted((row["ffmpeg_sha256"][0], row["n"], row["speed"]) for row in rows) == [
            ("a", 2, 1.0),
            ("b", 2, 3.0),
        ]
        assert {row["ffmpeg"] for row in rows} == set(names)
        assert {row["encode"] for row in rows} == {"x264"}


def test_table_has_null_for_unavailable_quality() -> None:
    row = medians.median_rows([result(vmaf=None)])[0]

    assert row["vmaf_mean"] is None
    assert row["vmaf_n"] == 0


def test_artifact_path_names_node_scenario_repeat_and_attempt() -> None:
    path = results.artifact_path(result(repeat=2), "ffmpeg.log")

    assert path == "logs/worker1/clip_x264_800k-r2-a1/ffmpeg.log"


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a\nb", "a\x00b"])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(CorruptError, match="not a valid file name"):
        results.artifact_path(result(), name)


def test_node_that_leaves_the_folder_is_refused() -> None:
    with pytest.raises(CorruptError):
        results.artifact_path(result() | {"node": "../../etc"}, "ffmpeg.log")


def test_folder_writes_once_and_packs_the_same_each_time(tmp_path: Path) -> None:
    digests = []
    for _ in range(2):
        folder = Folder(tmp_path / "run", is_dry=False)
        folder.put("b/two.txt", b"two")
        folder.put("one.txt", b"one")
        folder.put("SHA256SUMS", results.as_sha256sums(dict(folder.digests)))
        digests.append(folder.pack(tmp_path / "run.tar.gz"))
        changes = folder.changes

    assert digests[0] == digests[1]
    assert changes == []
    listed = subprocess.run(
        ["/usr/bin/tar", "tzf", tmp_path / "run.tar.gz"], check=True, capture_output=True, text=True
    ).stdout
    assert listed.split() == ["SHA256SUMS", "b/two.txt", "one.txt"]
    checked = subprocess.run(
        ["/usr/bin/sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path / "run",
        check=False,
        capture_output=True,
    )
    assert checked.returncode == 0


def test_files_of_an_archive_have_the_given_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run", is_dry=False, modified_s=1_770_000_000.9)
    folder.put("logs/one.txt", b"one")
    folder.pack(tmp_path / "run.tar.gz")
    with tarfile.open(tmp_path / "run.tar.gz") as tar:
        assert [entry.mtime for entry in tar] == [1_770_000_000]


def test_dry_folder_reports_changes_and_writes_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run", is_dry=True)
    folder.put("one.txt", b"one")

    assert folder.pack(tmp_path / "run.tar.gz") is None
    assert folder.changes == ["one.txt", "run.tar.gz"]
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run", is_dry=False)
    folder.put("one.txt", b"one")

    def write(file: io.BufferedWriter) -> None:
        file.write(b"ha")
        raise CorruptError("the rest is missing")

    with pytest.raises(CorruptError):
        folder.put_by("one.txt", "0" * 64, write)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["one.txt"]
    assert (tmp_path / "run" / "one.txt").read_bytes() == b"one"


def test_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    check_belongs_to(tmp_path, "run-1")
    (tmp_path / "results.json").write_bytes(results.as_json({"run": {"id": "run-1"}}))

    check_belongs_to(tmp_path, "run-1")
    with pytest.raises(SettingsError, match="contains the results of run run-1"):
        check_belongs_to(tmp_path, "run-2")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(SettingsError, match="choose another directory"):
        check_belongs_to(tmp_path, "run-1")


def test_a_row_has_only_the_interval_of_its_own_repeats() -> None:
    repeats = [result(repeat=n, speed=float(n)) for n in range(1, 7)]
    scenario = repeats[0]["scenario"]["name"]
    median = {
        "node": repeats[0]["node"],
        "scenario": scenario,
        "n": 6,
        "low": 1.0,
        "high": 6.0,
        "state": "unstable",
    }
    (row,) = medians.median_rows(repeats, [median])
    assert (row["speed_low"], row["speed_high"], row["state"]) == (1.0, 6.0, "unstable")
    (row,) = medians.median_rows(repeats, [median | {"n": 7}])
    assert (row["speed_low"], row["speed_high"], row["state"]) == (None, None, None)
    (row,) = medians.median_rows(repeats)
    assert row["state"] is None


EXPORT = 'result_id,node,argv\n{ids[0]},worker1,"a\nb"\n{ids[1]},worker1,c\n'


def test_csv_has_the_rows_of_the_given_results_in_their_order() -> None:
    found = [result(), result(repeat=2), result(repeat=3)]
    ids = [document["id"] for document in found]
    columns, rows = results.parse_export(EXPORT.format(ids=ids))
    assert columns == ("result_id", "node", "argv")
    text = results.as_csv(columns, rows, [found[1], found[0]]).decode()
    assert text == f'result_id,node,argv\n{ids[1]},worker1,c\n{ids[0]},worker1,"a\nb"\n'
    assert results.as_csv(columns, rows, found[:1]).decode().count("worker1") == 1
    with pytest.raises(CorruptError, match=f"lacks the result {ids[2]}"):
        results.as_csv(columns, rows, found)


@pytest.mark.parametrize(
    "content", ["", "node,argv\n", "result_id,node\nx\n", "result_id,node\nx,y,z\n"]
)
def test_a_table_that_is_not_one_of_results_is_refused(content: str) -> None:
    with pytest.raises(CorruptError, match="the master returned a table"):
        results.parse_export(content)


def _run(suite_name: str, **changed: Any) -> dict[str, Any]:
    return run(RunState.SUCCEEDED) | {"suite_name": suite_name} | changed


def test_a_directory_is_named_after_time_suite_and_id() -> None:
    demo = _run("demo", id="0198c5f0-1111-7000-8000-0123456789ab")
    assert results.directory_name(demo) == "20260102T030405Z-demo-456789ab"
    offset = _run("demo", id=demo["id"], created_at="2026-01-02T03:04:05.678+02:00")
    assert results.directory_name(offset) == "20260102T010405Z-demo-456789ab"


@pytest.mark.parametrize(
    ("suite", "part"),
    [
        ("../../etc/passwd", "etc_passwd"),
        ("Vergleich für Köln", "Vergleich_f_r_K_ln"),
        ("…", "suite"),
        ("x" * 255, "x" * 60),
        ("-rf .", "rf"),
    ],
)
def test_the_name_of_a_suite_is_safe_as_part_of_a_path(suite: str, part: str) -> None:
    name = results.directory_name(_run(suite))
    assert name.split("Z-", maxsplit=1)[1].rpartition("-")[0] == part


def test_the_id_of_a_run_is_safe_as_part_of_a_path() -> None:
    with pytest.raises(CorruptError, match="not a valid file name"):
        results.directory_name(_run("demo", id="x/../../y"))


def test_runs_of_the_same_minute_have_different_directories() -> None:
    assert len({results.directory_name(_run("demo")) for _ in range(50)}) == 50


def test_files_have_the_time_of_the_end_of_the_run() -> None:
    finished = _run("demo", finished_at="2026-01-02T04:00:00Z")
    assert results.end_s(finished, []) == datetime(2026, 1, 2, 4, tzinfo=UTC).timestamp()
    running = _run("demo")
    assert results.end_s(running, []) == NOW.timestamp()
    later = result() | {"stored_at": "2026-01-02T03:30:00Z"}
    assert results.end_s(running, [result(), later]) == NOW.timestamp() + 25 * 60 + 55


def _priced(**cells: str) -> dict[str, Any]:
    (row,) = medians.median_rows([found := result()], (), {found["id"]: cells})
    return row


def test_costs_are_those_of_the_price_book() -> None:
    row = _priced(book_currency="EUR", book_cost_per_video_minute="0.0005")
    assert (row["cost_per_video_hour"], row["currency"]) == (pytest.approx(0.03), "EUR")
    assert row["cost_per_stream_hour"] is None
    row = _priced(
        book_currency="EUR", book_cost_per_video_minute="0.1", book_cost_per_stream_hour="0.5"
    )
    assert (row["cost_per_video_hour"], row["cost_per_stream_hour"]) == (None, 0.5)
    row = _priced(book_currency="", book_cost_per_video_minute="", book_cost_per_stream_hour="")
    assert (row["cost_per_video_hour"], row["currency"]) == (None, None)


def test_ranges_need_six_repeats_with_the_figure() -> None:
    repeats = [result(repeat=n, vmaf=80.0 + n) for n in range(6)]
    (row,) = medians.median_rows(repeats)
    assert row["ranges"]["vmaf_mean"] == [80.0, 85.0]
    assert row["ranges"]["energy_gross_j"] is None
    (row,) = medians.median_rows(repeats[1:])
    assert row["ranges"]["vmaf_mean"] is None
    (row,) = medians.median_rows([*repeats, result(repeat=7, vmaf=None)])
    assert row["ranges"]["vmaf_mean"] is None
