"""Tests of the content and width of the text table of results."""

from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.ffrtmp import legend, medians, table
from ansible.module_utils.ffrtmp.table import Remarks
from ffrtmp_shared.control_encode import SCENARIO as CONTROL
from ffrtmp_shared.scenario import RatePoint

from .documents import plain, result

Row = dict[str, Any]

ROW: Row = {
    **medians.median_rows([result()])[0],
    "n": 6,
    "speed": 2.0,
    "speed_low": 1.9,
    "speed_high": 2.1,
    "state": "precise",
}
X265 = {"encode": "x265", "encoder": "libx265"}
SVTAV1 = {"encode": "svtav1", "encoder": "libsvtav1", "preset": "8"}


def _lines(*rows: Row, remarks: Remarks | None = None) -> list[str]:
    return table.render(rows, remarks).splitlines()


def test_a_constant_dimension_is_in_the_heading_and_has_no_column() -> None:
    lines = _lines(ROW)
    assert lines[0] == (
        "Medians of 6 repeats, source: clip, rate point: 800k, encoder: libx264, preset: medium, "
        "threads: 2, FFmpeg: 7.1,"
    )
    assert lines[1:] == [
        "node: worker1",
        " speed      95 %  bit rate   VMAF  CPU time",
        "x real  interval    kbit/s   mean         s",
        "  time      +- %",
        "  2.00       5.0       800  90.00      3.50",
    ]


@pytest.mark.parametrize(
    ("change", "heading", "cell"),
    [
        ({"source": "film"}, "source", "film"),
        ({"node": "worker2"}, "node", "worker2"),
        (X265, "encoder", "libx265"),
        ({"encode": "x264-slow", "preset": "slow"}, "preset", "slow"),
        ({"encode": "x264-4", "threads": 4}, "threads", "4"),
        ({"encode": "x264-540p", "size": "960x540"}, "size", "960x540"),
        ({"encode": "x264-25", "frame_rate": "25"}, "frames/s", "25"),
        ({"encode": "x264-10", "pixel_format": "yuv420p10le"}, "pixels", "yuv420p10le"),
        ({"encode": "d", "kind": "density", "streams": 7.0}, "kind", "density"),
        ({"rate_point": "2000k"}, "rate point", "2000k"),
        ({"ffmpeg": "patched"}, "FFmpeg", "patched"),
        # No other column distinguishes these.
        ({"encode": "x264-film", "options": "tune=film"}, "encode", "x264-film"),
    ],
)
def test_each_dimension_that_varies_has_a_column(change: Row, heading: str, cell: str) -> None:
    lines = _lines(ROW, ROW | change)
    header = next(line for line in lines if "speed" in line)
    assert header.startswith(heading)
    assert {line.split()[0] for line in lines[-2:]} >= {cell}
    assert f" {heading}: " not in lines[0]


def test_what_follows_from_the_source_has_no_column() -> None:
    film = ROW | {"source": "film", "size": "1920x1080", "frame_rate": "24"}
    lines = _lines(ROW | {"size": "1280x720", "frame_rate": "30"}, film)
    assert "size" not in "".join(lines)
    header = next(line for line in lines if "speed" in line)
    assert header.split()[:2] == ["source", "speed"]


def test_two_sources_with_two_encodes_can_be_told_apart() -> None:
    rows = [
        ROW | {"source": source} | encode for source in ("clip", "film") for encode in ({}, X265)
    ]
    cells = [line.split()[:2] for line in _lines(*rows)[-4:]]
    assert cells == [
        ["clip", "libx264"], ["clip", "libx265"], ["film", "libx264"], ["film", "libx265"]
    ]  # fmt: skip


def test_codecs_are_compared_by_vmaf_neg() -> None:
    neg = {"vmaf_neg_mean": 88.5}
    slow = ROW | neg | {"encode": "x264-slow", "preset": "slow"}
    headings = "".join(_lines(ROW | neg, slow)[1:4])
    assert "mean" in headings
    assert "NEG" not in headings
    lines = _lines(ROW | neg, ROW | X265 | {"vmaf_neg_mean": 90.5})
    headings = "".join(lines[1:4])
    assert "NEG" in headings
    assert "mean" not in headings
    assert [line.split()[-2] for line in lines[-2:]] == ["90.50", "88.50"]


def test_of_a_bit_rate_the_best_quality_is_first_and_nodes_stand_together() -> None:
    rows = [
        ROW | encode | {"node": node, "speed": speed, "rate_point": rate}
        for node, speed in (("worker1", 1.0), ("worker2", 3.0))
        for rate in ("10000k", "800k")
        for encode in ({"vmaf_neg_mean": 80.0}, X265 | {"vmaf_neg_mean": 85.0})
    ]
    cells = [line.split()[:3] for line in _lines(*rows)[-8:]]
    assert cells == [
        [rate, encoder, node]
        for rate in ("800k", "10000k")
        for encoder in ("libx265", "libx264")
        for node in ("worker2", "worker1")
    ]


def test_of_constant_quality_the_rate_points_of_an_encode_stand_together() -> None:
    rows = [
        ROW | encode | {"rate_point": rate, "rate_control": "crf"}
        for rate in ("crf30", "crf9")
        for encode in ({"speed": 1.0}, SVTAV1 | {"speed": 4.0})
    ]
    cells = [line.split()[:3] for line in _lines(*rows)[-4:]]
    assert cells == [
        ["libsvtav1", "8", "crf9"],
        ["libsvtav1", "8", "crf30"],
        ["libx264", "medium", "crf9"],
        ["libx264", "medium", "crf30"],
    ]


def test_of_a_density_the_most_streams_are_first() -> None:
    dense = ROW | {"kind": "density", "streams": 3.0}
    lines = _lines(dense, dense | {"encode": "fast", "preset": "fast", "streams": 12.0})
    assert [line.split()[0] for line in lines[-2:]] == ["fast", "medium"]
    # The speed of a stream in real time is always 1.
    assert "x real" not in "".join(lines)


def test_builds_of_one_version_are_distinguished_by_their_digests() -> None:
    lines = _lines(ROW, ROW | {"ffmpeg_sha256": "c" * 64})
    assert [line.split()[0] for line in lines[-2:]] == ["7.1@bbbbbbbb", "7.1@cccccccc"]


JUDGED = {
    "state": "unstable",
    "n_degraded": 2,
    "degraded_reasons": ["steal"],
    "n_invalid": 1,
    "invalid_reasons": ["overloaded"],
}
DETAILS = {
    "steal": "3.0% of the CPU time of the slot was stolen",
    "overloaded": "the stream fell behind for 2.0 s",
    "short": "the encode took 0.5 s",
}


def test_notes_describe_verdicts_and_the_legend_only_explains_what_applies() -> None:
    lines = _lines(ROW, ROW | JUDGED | {"node": "worker2"}, remarks=Remarks(details=DETAILS))
    text = " ".join(" ".join(lines[:-3]).split())
    assert text.endswith("3.50 wide interval; 2 of 6 degraded: steal; 1 of 7 invalid: overloaded")
    assert lines[-3:] == [
        "overloaded: for example, the stream fell behind for 2.0 s",
        "steal: for example, 3.0% of the CPU time of the slot was stolen",
        "wide interval: it is wider than the suite requests",
    ]
    assert _lines(ROW, remarks=Remarks(details=DETAILS)) == _lines(ROW)
    crowded = {"source": "s" * 30, "node": "n" * 20, "streams": 2.0, "energy_gross_j": 5.0}
    lines = _lines(ROW, ROW | JUDGED | crowded)
    assert "    note: wide interval; 2 of 6 degraded: steal; 1 of 7 invalid: overloaded" in lines


def test_a_note_on_all_rows_stands_once() -> None:
    degraded = ROW | {"n_degraded": 6, "degraded_reasons": ["other-load"]}
    lines = _lines(degraded, degraded | X265)
    assert "notes" not in "".join(lines)
    assert lines[-1] == "All rows: 6 of 6 degraded: other-load"


def test_repeats_have_a_column_only_if_their_numbers_differ() -> None:
    lines = _lines(ROW, ROW | X265 | {"n": 4})
    assert lines[0].startswith("Medians over the repeats of each row, ")
    assert "repeats" in lines[1] + lines[2]
    assert {line.split()[-1] for line in lines[-2:]} == {"4", "6"}
    assert _lines(ROW | {"n": 1})[0].startswith("One measurement of each row, ")


def _unavailable(node: str, reason: str, vmaf: float | None = 90.0) -> Row:
    document = result(node=node, vmaf=vmaf)
    document["measurement"]["energy"] = {"status": "unavailable", "reason": reason}
    return document


def _rendered(documents: list[Row], exported: dict[str, dict[str, str]] | None = None) -> list[str]:
    reasons = legend.figure_reasons(documents, exported or {})
    rows = medians.median_rows(documents, (), exported)
    return _lines(*rows, remarks=Remarks(reasons=reasons))


def test_unavailable_values_have_a_reason_and_no_column() -> None:
    lines = _rendered([_unavailable("worker1", "no counter", vmaf=None)])
    assert "energy" not in "".join(lines[:-2])
    assert lines[-2:] == [
        "VMAF is unavailable: the quality FFmpeg has no libvmaf",
        "Energy is unavailable: no counter",
    ]


def test_a_value_that_a_row_lacks_is_marked_with_the_reason() -> None:
    measured = result(node="worker2")
    measured["measurement"]["energy"] = {"status": "measured", "gross_j": 5.0, "net_j": 4.0}
    lines = _rendered([_unavailable("worker1", "no counter"), measured])
    assert lines[-1] == "Energy is unavailable: no counter (worker1)"
    assert {line.split()[-1] for line in lines[-3:-1]} == {"n/a", "5.0"}


def test_many_nodes_and_reasons_make_one_short_line() -> None:
    documents = [_unavailable(f"worker{n:02}", f"reason {n % 5}") for n in range(30)]
    line = _rendered(documents)[-2:]
    text = " ".join(line)
    assert text.startswith("Energy is unavailable: reason 0 (worker00, worker05, worker10, ")
    assert "and 2 more); reason 1 (" in text
    assert "reason 3" not in text


def test_costs_have_a_column_if_the_host_has_a_price() -> None:
    first, second = result(), result(node="worker2")
    price = {"book_currency": "EUR", "book_cost_per_video_minute": "0.001"}
    exported = {first["id"]: price, second["id"]: {"book_cost_unavailable": "no_node"}}
    lines = _rendered([first, second], exported)
    assert "cost EUR" in lines[-6]
    assert {line.split()[-1] for line in lines[-3:-1]} == {"0.0600", "n/a"}
    assert lines[-1] == "Cost is unavailable: the price book does not contain the node (worker2)"
    exported = {
        found["id"]: {"book_cost_unavailable": "no_price_book"} for found in (first, second)
    }
    assert "cost" not in "\n".join(_rendered([first, second], exported)).lower()


def test_costs_of_shared_nodes_are_marked_as_estimates() -> None:
    document = result()
    document["measurement"]["environment"]["node_use"] = "shared"
    price = {"book_currency": "EUR", "book_cost_per_video_minute": "0.001"}
    lines = _rendered([document], {document["id"]: price})
    assert lines[-2].endswith("estimate")
    assert lines[-1].startswith("estimate: other jobs could run on the node")


def test_streams_cost_and_lag_have_columns_with_units() -> None:
    dense = ROW | {"kind": "density", "streams": 7.0, "cost_per_stream_hour": 0.0125}
    dense |= {"currency": "EUR", "speed_low": None}
    live = ROW | {"kind": "live", "lag_p95_s": 0.5, "encode": "live", "speed_low": None}
    lines = _lines(dense, live)
    assert "real-time   cost EUR  lag p95" in lines[-5]
    assert lines[-2].split()[-2:] == ["7", "0.0125"]
    assert lines[-1].split()[-2:] == ["n/a", "0.50"]
    lines = _lines(dense, dense | {"currency": "USD", "node": "worker2"})
    assert [line.split()[-2:] for line in lines[-2:]] == [["0.0125", "EUR"], ["0.0125", "USD"]]


def test_renditions_are_below_their_ladder() -> None:
    ladder = ROW | {"kind": "ladder", "encode": "ladder", "rate_point": "", "vmaf_mean": None}
    ladder |= {"n_degraded": 1, "rate_control": None, "video_bitrate_kbps": None}
    rung = ladder | {"rendition": "720p", "speed": None, "cpu_s": None, "speed_low": None}
    rung |= {"rate_point": "2000k", "vmaf_mean": 91.0, "video_bitrate_kbps": 2010.0}
    fast = {"encode": "fast", "preset": "fast", "n_degraded": 0}
    lines = _lines(ladder, rung, ladder | fast | {"speed": 9.0}, rung | fast)
    assert [line.split()[:3] for line in lines[-4:]] == [
        ["-", "fast", "all"],
        ["2000k", "fast", "720p"],
        ["-", "medium", "all"],
        ["2000k", "medium", "720p"],
    ]
    assert lines[-2].endswith("1 of 6 degraded")
    assert "degraded" not in lines[-4]
    assert lines[-3].split()[3:] == ["2010", "91.00"]


def test_control_encodes_are_only_shown_as_drift() -> None:
    control = result() | {"scenario": plain(CONTROL)}
    rows = medians.median_rows([result(), control])
    drift = {"node": "worker1", "first_speed": 4.0, "last_speed": 3.9, "ratio": 0.975}
    lines = _lines(*rows, remarks=Remarks(drifts=[drift, drift | {"ratio": None}]))
    assert lines[:-1] == _lines(rows[0])
    assert lines[-1] == (
        "worker1: control encode 4.00 x real time at first, 3.90 x at last (-2.5 %)"
    )
    unusual = drift | {"is_unusual": True, "low": 3.95, "high": 4.1}
    text = " ".join(line.strip() for line in _lines(*rows, remarks=Remarks(drifts=[unusual])))
    assert text.endswith("(-2.5 %); usual are 3.95 to 4.10 x, so its results are degraded")
    assert _lines(rows[1], remarks=Remarks(title="Suite demo")) == [
        "Suite demo",
        "There are no results.",
    ]


def _interval(low: float, high: float) -> Row:
    return {"speed": (low + high) / 2, "speed_low": low, "speed_high": high}


def test_a_statement_needs_intervals_that_do_not_overlap() -> None:
    slow = ROW | X265 | _interval(1.0, 1.5)
    assert _lines(ROW | _interval(2.0, 2.2), slow)[-2:] == [
        "Fastest: libx264, by at least 33 %.",
        "The 95 % intervals do not overlap.",
    ]
    for other in (_interval(1.9, 2.0), {"speed_low": None, "speed_high": None}, _interval(0, 1)):
        assert "Fastest" not in "\n".join(_lines(ROW | _interval(2.0, 2.2), slow | other))


def test_a_statement_covers_all_comparisons_or_none() -> None:
    rows = [
        ROW | {"rate_point": rate} | encode
        for rate, factor in (("800k", 1.0), ("2000k", 0.5))
        for encode in (
            _interval(2.0 * factor, 2.1 * factor),
            X265 | _interval(1.0 * factor, 1.1 * factor),
            SVTAV1 | _interval(1.2 * factor, 1.25 * factor),
        )
    ]
    assert _lines(*rows)[-2] == ("Fastest: libx264 medium, by at least 60 % in all 2 comparisons.")
    rows[0] |= _interval(0.9, 2.1)
    assert "Fastest" not in "\n".join(_lines(*rows))


def test_a_statement_names_degraded_repeats() -> None:
    lines = _lines(ROW | _interval(2, 3), ROW | X265 | _interval(1, 1.5) | {"n_degraded": 1})
    assert lines[-1] == "The 95 % intervals do not overlap; some of the repeats were degraded."


def test_nodes_and_builds_are_compared_too() -> None:
    lines = _lines(ROW | _interval(2, 3), ROW | _interval(1, 1.5) | {"node": "worker2"})
    assert lines[-2] == "Fastest: worker1, by at least 33 %."
    lines = _lines(ROW | _interval(2, 3), ROW | _interval(1, 1.5) | {"ffmpeg": "patched"})
    assert lines[-2] == "Fastest: 7.1, by at least 33 %."


def _ranges(**ranges: tuple[float, float]) -> Row:
    return {"ranges": ROW["ranges"] | {name: list(found) for name, found in ranges.items()}}


def test_quality_is_only_compared_at_no_higher_bit_rate() -> None:
    high = ROW | X265 | _ranges(vmaf_neg_mean=(92.0, 92.5)) | {"video_bitrate_kbps": 790.0}
    low = ROW | _ranges(vmaf_neg_mean=(90.0, 91.0)) | {"video_bitrate_kbps": 800.0}
    assert _lines(high, low)[-2] == (
        "Highest VMAF NEG: libx265, by at least 1.00, at no higher bit rate."
    )
    for change in ({"video_bitrate_kbps": 801.0}, {"rate_control": "crf"}):
        assert "Highest" not in "\n".join(_lines(high | change, low))


def test_speeds_at_constant_quality_are_not_compared_between_encoders() -> None:
    fast = ROW | _interval(2, 3) | {"rate_point": "crf23", "rate_control": "crf"}
    slow = fast | _interval(1, 1.5)
    assert "Fastest" not in "\n".join(_lines(fast, slow | X265))
    assert "Fastest: medium" in "\n".join(_lines(fast, slow | {"preset": "slow", "encode": "s"}))


def test_energy_and_cost_have_statements() -> None:
    def row(low: float) -> Row:
        ranges = _ranges(energy_gross_j=(low, low + 1), cost_per_video_hour=(low, low + 1))
        return ROW | ranges | {"speed_low": None, "currency": "EUR"}

    lines = _lines(row(1), row(3) | X265)
    assert lines[-3:-1] == [
        "Least energy: libx264, by at least 33 %.",
        "Lowest cost: libx264, by at least 33 %.",
    ]
    lines = _lines(row(1), row(3) | X265 | {"currency": "USD"})
    assert "Lowest cost" not in "\n".join(lines)


def test_an_empty_table_is_a_message() -> None:
    assert table.render([]) == "There are no results."


@pytest.mark.parametrize("length", [1, 13, 30, 60, 250])
@pytest.mark.parametrize("is_full", [False, True])
def test_long_names_fit_and_stay_different(length: int, is_full: bool) -> None:
    full = {
        "energy_gross_j": 12345.6,
        "streams": 100.0,
        "cost_per_stream_hour": 0.0125,
        "cost_per_video_hour": 0.0125,
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
        | {"rate_point": f"{number}k", "ffmpeg": f"{'f' * length}{number}", "n": 6 + number}
        | {"preset": f"preset{number}", "size": f"{number}x{number}", "threads": number}
        for number in range(3)
    ]
    lines = _lines(*rows)
    assert max(map(len, lines)) <= table.COLUMNS == 120 - 8
    text = " ".join(" ".join(lines).split())
    for row in rows:
        figures = [line for line in lines if "90.00" in line]
        assert len(figures) == len(set(figures)) == 3 or row["source"] in text.replace(" ", "")
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
        reasons = [{"code": code, "detail": f"first {code}"} for code in codes]
        document["measurement"]["verdict"] = {"state": state, "reasons": reasons}
    (row,) = medians.median_rows(judged)
    assert row["degraded_reasons"] == ["quota", "steal"]
    assert row["invalid_reasons"] == ["overloaded"]
    assert legend.verdict_details(judged) == {
        code: f"first {code}" for code in ("steal", "quota", "overloaded")
    }


def test_a_line_names_nodes_whose_cache_had_faults() -> None:
    damaged = [result(repeat=number) for number in (1, 2)]
    assert legend.cache_lines(damaged) == []
    for document in damaged:
        document["measurement"]["cache_faults"] = ["probe: damaged"]
    assert legend.cache_lines(damaged) == [
        f"{damaged[0]['node']}: 2 cached measurements could not be used and were repeated; "
        "check its disk"
    ]


def _ladder(document: Row) -> None:
    encode = document["scenario"].pop("encode")
    renditions = [
        {"name": name, "encode": encode | {"preset": preset}}
        for name, preset in (("a", "fast"), ("b", "slow"))
    ]
    document["scenario"] |= {"kind": "ladder", "ladder": {"renditions": renditions}}


def _decode(document: Row) -> None:
    del document["scenario"]["encode"]
    document["scenario"] |= {"kind": "decode", "decode": {"threads": 4}}


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        (dict.copy, ("libx264", "medium", 2, "800k", "bitrate_kbps", "1280x720")),
        (_ladder, ("libx264", None, 2, "", None, None)),
        (_decode, (None, None, 4, "", None, None)),
    ],
)
def test_rows_have_the_settings_of_their_encode(
    change: Callable[[Row], None], settings: tuple[Any, ...]
) -> None:
    document = result(rate=RatePoint(bitrate_kbps=800))
    document["measurement"]["source"] = {"width": 1280, "height": 720, "frame_rate": "30000/1001"}
    change(document)
    (row,) = medians.median_rows([document])
    names = ("encoder", "preset", "threads", "rate_point", "rate_control", "size")
    assert tuple(row[name] for name in names) == settings
    assert row["frame_rate"] == ("29.97" if settings[0] and settings[5] else None)
