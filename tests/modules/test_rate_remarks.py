"""Tests of the remarks on rate points below the table of results."""

from typing import Any

from ansible.module_utils.ffrtmp.rate_remarks import remark_lines

from .documents import result


def _result(
    encode: str,
    rate: dict[str, Any],
    label: str,
    *,
    kbps: float = 800,
    encoder: str = "libx264",
    source: str = "film",
    **settings: Any,
) -> dict[str, Any]:
    """Return a result of an encode at a rate point."""
    found = result()
    scenario, measurement = found["scenario"], found["measurement"]
    scenario["name"] = f"{source}/{encode}/{label}"
    scenario["source"]["name"] = source
    scenario["encode"] |= {"rate": rate, "encoder": encoder, **settings}
    measurement["output"]["video_bitrate_kbps"] = kbps
    return found


def _at_800k(encode: str, kbps: float, **more: Any) -> dict[str, Any]:
    return _result(encode, {"bitrate_kbps": 800}, "800k", kbps=kbps, **more)


def _at_vmaf(encode: str, setting: float, **more: Any) -> dict[str, Any]:
    found = _result(encode, {"vmaf": 93}, "vmaf93", **more)
    found["measurement"]["rate_search"] = {"control": "crf", "setting": setting, "probes": []}
    return found


def test_bit_rates_that_differ_are_named() -> None:
    results = [_at_800k("x264", 805), _at_800k("x265", 760), _at_800k("svt", 1216)]
    assert remark_lines(results, 200) == [
        "800k of film: actual bit rates differ by 60 %, from 760 kbit/s (x265) to 1216 kbit/s "
        "(svt).",
        "Bit rates that differ by more than 10 % do not compare encoders: use rate points with "
        "vmaf, or several rate points.",
    ]


def test_medians_over_the_repeats_are_compared() -> None:
    repeats = [_at_800k("x265", kbps) for kbps in (700, 800, 3000)]
    assert remark_lines([_at_800k("x264", 850), *repeats], 200) == []


def test_similar_bit_rates_need_no_remark() -> None:
    assert remark_lines([_at_800k("x264", 800), _at_800k("svt", 875)], 200) == []


def test_clips_sizes_and_rate_points_are_not_compared_with_each_other() -> None:
    results = [
        _at_800k("x264", 800),
        _at_800k("x265", 1600, source="clip"),
        _at_800k("half", 2400, width=640, height=360),
        _result("x265", {"bitrate_kbps": 4000}, "4000k", kbps=4000),
    ]
    assert remark_lines(results, 200) == []


def test_one_quality_on_the_scales_of_two_encoders_is_remarked_on() -> None:
    crf = {"crf": 30}
    one = [
        _result("fast", crf, "crf30", kbps=500),
        _result("slow", crf, "crf30", kbps=900),
    ]
    assert remark_lines(one, 200) == []
    two = [*one, _result("svt", crf, "crf30", kbps=2000, encoder="libsvtav1")]
    assert remark_lines(two, 200)[0].startswith("crf30 of film: actual bit rates differ by 300 %")


def test_bit_rates_that_only_the_server_measured_are_compared() -> None:
    results = [_at_800k("x264", 800), _at_800k("svt", 0)]
    results[1]["measurement"] |= {
        "output": None,
        "live": {
            "bitrate_mean_kbps": {"reason": "the player received no packet"},
            "server_bitrate_mean_kbps": 1200.0,
        },
    }
    assert remark_lines(results, 200)[0] == (
        "800k of film: actual bit rates differ by 50 %, from 800 kbit/s (x264) to 1200 kbit/s "
        "(svt)."
    )


def test_invalid_results_are_ignored() -> None:
    invalid = _at_800k("svt", 2000)
    invalid["measurement"]["verdict"] = {"state": "invalid", "reasons": []}
    assert remark_lines([_at_800k("x264", 800), invalid], 200) == []


def test_settings_that_reach_a_vmaf_are_listed_and_their_bit_rates_are_not_remarked_on() -> None:
    results = [
        _at_vmaf("x264", 23.4, kbps=900),
        _at_vmaf("x264", 23.4, kbps=900),
        _at_vmaf("svt", 35, kbps=500, encoder="libsvtav1"),
        _at_vmaf("svt", 36, kbps=500, encoder="libsvtav1"),
    ]
    assert remark_lines(results, 200) == [
        "vmaf93 of film was reached with svt crf 35 or 36, x264 crf 23.4."
    ]


def test_builds_are_compared_as_encodes() -> None:
    results = [_at_800k("x264", 800), _at_800k("x264", 1000)]
    for found, build in zip(results, ("farm", "patched"), strict=True):
        found["scenario"]["name"] += f"/{build}"
    assert remark_lines(results, 200)[0] == (
        "800k of film: actual bit rates differ by 25 %, from 800 kbit/s (x264/farm) to 1000 kbit/s "
        "(x264/patched)."
    )


def test_results_without_a_rate_point_need_no_remark() -> None:
    decode = result()
    decode["scenario"] |= {"name": "film/decode/decode", "encode": None}
    assert remark_lines([decode], 200) == []
    assert remark_lines([], 200) == []


def test_many_remarks_are_cut_and_fit_into_the_terminal() -> None:
    results = [
        _at_800k(encode, kbps, source=f"a-clip-with-a-long-name-{number:02}")
        for number in range(30)
        for encode, kbps in (("x264", 800), ("svt", 1600))
    ]
    lines = remark_lines(results, 112)
    assert len(lines) == 12
    assert all(len(line) <= 112 for line in lines)
    assert lines[-1] == "51 more lines on rate points are left out."
