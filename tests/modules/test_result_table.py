"""Tests of the content and width of the text table of results."""

from typing import Any

import pytest
from ansible.module_utils.ffrtmp import results, table

from .documents import result

ROW: dict[str, Any] = {
    **results.table([result()])[0],
    "n": 6,
    "speed": 2.0,
    "speed_low": 1.9,
    "speed_high": 2.1,
    "state": "precise",
}


def _lines(*rows: dict[str, Any], **more: Any) -> list[str]:
    return table.render(rows, **more).splitlines()


def test_a_constant_dimension_is_in_the_heading_and_has_no_column() -> None:
    lines = _lines(ROW)
    assert lines[0] == (
        "Medians over the repeats of each row. node: worker1, source: clip, encode: x264, "
        "rate point: 800k, FFmpeg: 7.1"
    )
    assert lines[1:] == [
        " speed      95 %  bit rate   VMAF  CPU time  repeats",
        "x real  interval    kbit/s   mean         s",
        "  time      +- %",
        "  2.00       5.0       800  90.00      3.50        6",
    ]


def test_two_sources_have_a_column() -> None:
    lines = _lines(ROW, ROW | {"source": "film"})
    assert "source: " not in lines[0]
    assert lines[1].split()[0] == "source"
    assert [line.split()[0] for line in lines[-2:]] == ["clip", "film"]


@pytest.mark.parametrize(
    ("change", "heading"),
    [
        ({"node": "worker2"}, "node"),
        ({"encode": "x265"}, "encode"),
        ({"rate_point": "2000k"}, "rate point"),
        ({"ffmpeg": "patched"}, "FFmpeg"),
    ],
)
def test_each_dimension_that_varies_has_a_column(change: dict[str, Any], heading: str) -> None:
    lines = _lines(ROW, ROW | change)
    assert lines[1].startswith(heading)
    assert lines[-1].startswith(next(iter(change.values())))


def test_builds_of_one_version_are_distinguished_by_their_digests() -> None:
    lines = _lines(ROW, ROW | {"ffmpeg_sha256": "c" * 64})
    assert [line.split()[0] for line in lines[-2:]] == ["7.1@bbbbbbbb", "7.1@cccccccc"]


def test_notes_describe_verdicts() -> None:
    judged = {
        "state": "unstable",
        "n_degraded": 2,
        "degraded_reasons": ["steal"],
        "n_invalid": 1,
        "invalid_reasons": ["overloaded"],
    }
    lines = _lines(ROW | judged)
    assert [line[54:].strip() for line in lines[-2:]] == [
        "interval wider than requested; 2 of 6 degraded: steal; 1",
        "of 7 invalid: overloaded",
    ]
    crowded = {"source": "s" * 30, "node": "n" * 20, "streams": 2.0, "energy_gross_j": 5.0}
    lines = _lines(ROW, ROW | judged | crowded)
    assert lines[-1].strip() == (
        "note: interval wider than requested; 2 of 6 degraded: steal; 1 of 7 invalid: overloaded"
    )


def test_unavailable_values_have_a_reason_and_no_column() -> None:
    without = result(vmaf=None)
    without["measurement"]["energy"] = {"status": "unavailable", "reason": "no counter"}
    reasons = results.unavailable_reasons([without, without])
    lines = table.render(results.table([without]), (), reasons).splitlines()
    assert "VMAF" not in lines[1]
    assert "energy" not in lines[1]
    assert lines[-2:] == [
        "Energy is unavailable: no counter",
        "VMAF is unavailable: the quality FFmpeg has no libvmaf",
    ]
    lines = table.render([ROW | {"energy_gross_j": 5.0}], (), reasons).splitlines()
    assert "energy" in lines[1]
    assert lines[-1].split()[-2] == "5.0"


def test_a_value_that_a_row_lacks_is_marked() -> None:
    lines = _lines(ROW | {"energy_gross_j": 5.0}, ROW | {"node": "worker2"})
    assert lines[-1].split()[-2] == "n/a"


def test_streams_cost_and_lag_have_columns_with_units() -> None:
    dense = ROW | {"streams": 7.0, "cost_per_stream_hour": 0.0125, "currency": "EUR"}
    live = ROW | {"lag_p95_s": 0.5, "encode": "live"}
    lines = _lines(dense, live)
    assert "real-time   cost EUR  lag p95" in lines[1]
    assert lines[-2].split()[-3:] == ["7", "0.0125", "6"]
    assert lines[-1].split()[-2:] == ["0.50", "6"]
    lines = _lines(dense, dense | {"currency": "USD", "node": "worker2"})
    assert [line.split()[-3:-1] for line in lines[-2:]] == [["0.0125", "EUR"], ["0.0125", "USD"]]


def test_renditions_are_below_their_ladder() -> None:
    ladder = ROW | {"encode": "ladder", "rate_point": "", "vmaf_mean": None, "n_degraded": 1}
    rung = ladder | {"rendition": "720p", "speed": None, "cpu_s": None, "speed_low": None}
    lines = _lines(ladder, rung | {"rate_point": "2000k", "vmaf_mean": 91.0})
    assert lines[-2].startswith("ladder  -")
    assert lines[-2].endswith("1 of 6 degraded")
    assert lines[-1].split() == ["720p", "2000k", "800", "91.00", "6"]
    assert lines[-1].startswith("  720p")


def test_drifts_are_below_the_table() -> None:
    drift = {"node": "worker1", "first_speed": 4.0, "last_speed": 3.9, "ratio": 0.975}
    lines = _lines(ROW, drifts=[drift, drift | {"ratio": None}])
    assert lines[-1] == (
        "worker1: control encode 4.00 x real time at first, 3.90 x at last (-2.5 %)"
    )
    assert len(lines) == 6


def test_an_empty_table_is_a_message() -> None:
    assert table.render([]) == "There are no results."


@pytest.mark.parametrize("length", [1, 13, 30, 60, 250])
@pytest.mark.parametrize("is_full", [False, True])
def test_long_names_fit_and_stay_different(length: int, is_full: bool) -> None:
    full = {
        "energy_gross_j": 12345.6,
        "streams": 100.0,
        "cost_per_stream_hour": 0.0125,
        "currency": "EUR",
        "lag_p95_s": 0.5,
        "n_degraded": 6,
        "degraded_reasons": ["io-pressure", "memory-pressure", "other-load", "steal"],
        "state": "unstable",
    }
    rows = [
        ROW
        | (full if is_full else {})
        # The names differ only in the middle, which is the part that is omitted.
        | dict.fromkeys(("node", "source", "encode"), f"{'a' * length}{number}{'z' * length}")
        | {"rate_point": f"{number}k", "ffmpeg": f"{'f' * length}{number}"}
        for number in range(3)
    ]
    lines = _lines(*rows)
    assert max(map(len, lines)) <= table.COLUMNS == 120 - 8
    text = " ".join(" ".join(lines).split())
    for row in rows:
        figures = [line for line in lines if "90.00" in line]
        assert len(figures) == len(set(figures)) == 3 or row["encode"] in text.replace(" ", "")
    assert not any(line.endswith(" ") for line in lines)


def test_names_are_shortened_in_the_middle() -> None:
    assert table.shorten("bigbuckbunny-720p", 10) == "bigb..720p"
    assert table.shorten("bigbuckbunny-720p", 11) == "bigbu..720p"
    assert table.shorten("short", 5) == "short"


def test_rows_name_the_reasons_of_their_verdicts() -> None:
    judged = [result(repeat=number) for number in (1, 2, 3, 4)]
    for document, state, codes in zip(
        judged,
        ("degraded", "degraded", "invalid", "valid"),
        (("steal",), ("steal", "quota"), ("overloaded",), ()),
        strict=True,
    ):
        reasons = [{"code": code, "message": code} for code in codes]
        document["measurement"]["verdict"] = {"state": state, "reasons": reasons}
    (row,) = results.table(judged)
    assert row["degraded_reasons"] == ["quota", "steal"]
    assert row["invalid_reasons"] == ["overloaded"]
