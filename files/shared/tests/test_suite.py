"""Tests of valid suites, and of the messages for errors in suites."""

import msgspec
import pytest
from ffrtmp_shared import suite
from ffrtmp_shared.encoders import ENCODERS, Encoder
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import (
    QUALITY_SETTINGS,
    RECEIVED_LIVE,
    VMAF_TARGET,
    LiveSettings,
    QualitySettings,
    Scenario,
    SyntheticSource,
)
from ffrtmp_shared.suite_pairs import SuitePair
from jsonschema import Draft202012Validator

GOOD = """\
name: short
sources:
  - name: clip
    file: media/clip.mp4
    sha256: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
encodes:
  - name: fast
    encoder: libx264
    preset: veryfast
  - name: av1
    encoder: libsvtav1
rate_points:
  - bitrate_kbps: 800
  - crf: 30
slowest_speed: 0.125
"""


def test_scenarios_are_the_product_in_the_order_of_the_file() -> None:
    scenarios = suite.parse_suite(GOOD).scenarios()
    assert [scenario.name for scenario in scenarios] == [
        "clip/fast/800k",
        "clip/fast/crf30",
        "clip/av1/800k",
        "clip/av1/crf30",
    ]
    assert scenarios[0].source.file_name == "clip.mp4"
    assert scenarios[2].encode.preset == "8"


def test_a_scenario_can_be_encoded_and_decoded() -> None:
    scenarios = suite.parse_suite(GOOD).scenarios()
    wire = msgspec.json.encode(scenarios)
    assert msgspec.json.decode(wire, type=list[Scenario]) == scenarios
    assert {type(scenario.slowest_speed) for scenario in scenarios} == {float}


KINDS = """\
name: kinds
sources:
  - name: made
    synthetic: {content: noise, width: 320, height: 180, frame_rate: 30, duration_s: 2}
  - name: fetched
    url: https://clips.example/a/b/film.mkv?x=1
    sha256: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
encodes:
  - name: one
    encoder: libx264
    preset: fast
    width: 160
    height: 90
    frame_rate: 30000/1001
    options: {bf: 3, tune: film}
    rate_points:
      - {bitrate_kbps: 500, passes: 2, max_kbps: 800, buffer_kbit: 1600}
      - {crf: 23, max_kbps: 800}
  - name: rungs
    kind: ladder
    encoder: h264_nvenc
    together: false
    renditions:
      - {name: full, rate: {cq: 30}}
      - {name: half, width: 160, height: 90, rate: {cq: 35}}
  - name: reader
    kind: decode
    threads: 4
  - name: stream
    kind: live
    encoder: libx264
    frame_rate: 60
    rate_points:
      - {bitrate_kbps: 900}
    duration_s: 30
"""


def test_each_kind_becomes_its_scenarios() -> None:
    scenarios = suite.parse_suite(KINDS).scenarios()
    assert [scenario.name for scenario in scenarios] == [
        f"{source}/{rest}"
        for source in ("made", "fetched")
        for rest in (
            "one/500k-2pass-max800k-buf1600k",
            "one/crf23-max800k",
            "rungs/ladder",
            "reader/decode",
            "stream/900k",
        )
    ]
    assert [scenario.kind for scenario in scenarios[:5]] == [
        "transcode",
        "transcode",
        "ladder",
        "decode",
        "live",
    ]
    assert [scenario.problems() for scenario in scenarios] == [[]] * 10
    assert scenarios[4].live == LiveSettings(duration_s=30)
    encode, ladder, decode = scenarios[0].encode, scenarios[2].ladder, scenarios[3].decode
    assert encode and ladder and decode
    assert (encode.width, encode.height, encode.frame_rate) == (160, 90, "30000/1001")
    assert encode.options == {"bf": "3", "tune": "film"}
    assert not ladder.together
    assert [(r.name, r.encode.width, r.encode.rate.cq) for r in ladder.renditions] == [
        ("full", None, 30),
        ("half", 160, 35),
    ]
    assert ladder.renditions[0].encode.preset == "p4"
    assert decode.threads == 4
    assert scenarios[0].source.synthetic == SyntheticSource(
        content="noise", width=320, height=180, frame_rate="30", duration_s=2.0
    )
    assert (scenarios[5].source.file_name, scenarios[5].source.sha256) == ("film.mkv", "f" * 64)


def test_a_received_stream_is_measured_on_request() -> None:
    with_request = KINDS + "    measure_received: true\n"
    scenario = suite.parse_suite(with_request).scenarios()[4]
    assert scenario.live == LiveSettings(duration_s=30, measure_received=True)
    assert scenario.measures_received
    assert scenario.required_kind == RECEIVED_LIVE
    assert msgspec.json.decode(msgspec.json.encode(scenario), type=Scenario) == scenario
    with pytest.raises(suite.SuiteError, match="a decode has no measure_received"):
        suite.parse_suite(KINDS.replace("    threads: 4\n", "    measure_received: true\n"))


def test_a_suite_can_switch_off_scores() -> None:
    switched_off = "quality: {neg: false, ssim: false}\n"
    scenarios = suite.parse_suite(KINDS + switched_off).scenarios()
    expected = {
        kind: (QualitySettings(neg=False, ssim=False), QUALITY_SETTINGS)
        for kind in ("transcode", "ladder")
    } | {"decode": (None, None), "live": (None, "live")}
    for scenario in scenarios:
        assert (scenario.quality, scenario.required_kind) == expected[scenario.kind]
        assert scenario.problems() == []
    assert {scenario.kind for scenario in scenarios} == set(expected)
    assert msgspec.json.decode(msgspec.json.encode(scenarios), type=list[Scenario]) == scenarios
    (problem,) = msgspec.structs.replace(
        next(scenario for scenario in scenarios if scenario.kind == "live"),
        quality=QualitySettings(neg=False),
    ).problems()
    assert problem == "a live must not have settings in quality"


@pytest.mark.parametrize("more", ["", "quality: {}\n", "quality: {neg: true, xpsnr: true}\n"])
def test_scenarios_with_all_scores_are_those_of_older_releases(more: str) -> None:
    for scenario in suite.parse_suite(GOOD + more).scenarios():
        assert "quality" not in msgspec.to_builtins(scenario)
        assert scenario.required_kind is None


def test_a_requested_vmaf_with_fewer_scores_needs_an_agent_of_this_release() -> None:
    scenarios = suite.parse_suite(TARGETS + "quality: {neg: false}\n").scenarios()
    kinds = {scenario.kind: scenario.required_kind for scenario in scenarios}
    assert kinds == {"transcode": QUALITY_SETTINGS, "density": VMAF_TARGET}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("quality: {vmaf: false}\n", "vmaf"),
        ("quality: {neg: 1}\n", "quality.neg"),
        ("quality: false\n", "quality"),
    ],
)
def test_invalid_settings_of_scores(more: str, message: str) -> None:
    with pytest.raises(suite.SuiteError, match=message):
        suite.parse_suite(GOOD + more)


TARGETS = """\
name: targets
sources: [{name: clip, file: clip.mp4, sha256: SHA256}]
encodes:
  - {name: x264, encoder: libx264}
  - {name: svt, encoder: libsvtav1, kind: density}
  - {name: gpu, encoder: hevc_nvenc}
rate_points:
  - {vmaf: 93}
  - {vmaf: 89.5, vmaf_tolerance: 1, max_kbps: 4000}
""".replace("SHA256", "f" * 64)


def test_a_rate_point_can_request_a_vmaf() -> None:
    scenarios = suite.parse_suite(TARGETS).scenarios()
    assert [scenario.name for scenario in scenarios] == [
        f"clip/{encode}/{rate}"
        for encode in ("x264", "svt", "gpu")
        for rate in ("vmaf93", "vmaf89.5-tol1-max4000k")
    ]
    assert [scenario.problems() for scenario in scenarios] == [[]] * 6
    assert {scenario.required_kind for scenario in scenarios} == {VMAF_TARGET}
    assert msgspec.json.decode(msgspec.json.encode(scenarios), type=list[Scenario]) == scenarios
    rates = [scenario.encode.rate for scenario in scenarios if scenario.encode is not None]
    assert msgspec.json.encode(rates[0]) == b'{"vmaf":93.0}'
    assert rates[1].with_quality("crf", 21.5) == RatePoint(crf=21.5, max_kbps=4000)
    assert rates[1].with_quality("cq", 30.0) == RatePoint(cq=30, max_kbps=4000)


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("vmaf: 93}", "vmaf: 100}", 8, "100 is greater than the maximum of 99"),
        ("vmaf: 93}", "vmaf: 93, crf: 23}", 8, "exactly one of crf, cq, bitrate_kbps, vmaf"),
        ("vmaf: 93}", "crf: 23, vmaf_tolerance: 1}", 8, "vmaf_tolerance requires vmaf"),
        ("vmaf: 93}", "vmaf: 93, vmaf_tolerance: 0.01}", 8, "less than the minimum of 0.1"),
        ("vmaf: 93}", "vmaf: 93, passes: 2}", 8, "two passes require bitrate_kbps"),
        ("hevc_nvenc", "hevc_qsv", 9, "hevc_qsv does not support max_kbps with cq"),
        ("hevc_nvenc", "libx264, kind: live", 8, "a live does not support vmaf; find the crf"),
        ("hevc_nvenc", "libx264, kind: ladder, renditions: [{name: a, rate: {vmaf: 93}}]", 6,
         "a ladder does not support vmaf; find the crf or cq with a transcode"),
    ],
)  # fmt: skip
def test_an_error_in_a_requested_vmaf_has_its_line(
    before: str, after: str, line: int, message: str
) -> None:
    assert before in TARGETS
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(TARGETS.replace(before, after, 1))
    found = refused.value.problems
    assert any(p.line == line and message in p.message for p in found), refused.value


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_every_encoder_has_a_quality_with_which_a_vmaf_is_reached(encoder: Encoder) -> None:
    control, scale = encoder.quality
    whole = getattr(encoder, control)
    assert (scale.most, scale.fractions) == (whole.most, whole.fractions)
    assert scale.least == {51: 5, 63: 6, 255: 26}[int(whole.most)]
    assert scale.accepts(scale.nearest((scale.least + scale.most) / 3, scale.least, scale.most))


@pytest.mark.parametrize("more", ["", "    measure_received: false\n"])
def test_agents_of_older_releases_can_decode_other_streams(more: str) -> None:
    scenario = suite.parse_suite(KINDS + more).scenarios()[4]
    assert msgspec.json.encode(scenario.live) == b'{"duration_s":30.0}'
    assert scenario.required_kind == "live"


def test_all_kinds_can_be_encoded_and_decoded() -> None:
    scenarios = suite.parse_suite(KINDS).scenarios()
    assert msgspec.json.decode(msgspec.json.encode(scenarios), type=list[Scenario]) == scenarios


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("threads: 4", "preset: fast", 28, "a decode has no preset; allowed are name, kind, thr"),
        ("    together: false\n", "    width: 90\n", 22, "a ladder has no width; allowed are"),
        ("    kind: decode\n", "", 26, "a transcode needs encoder"),
        ("kind: decode\n", "kind: ladder\n", 26, "a ladder needs renditions"),
        ("kind: decode", "kind: dead", 27, "'dead' is not known; allowed are transcode, ladder"),
        ("duration_s: 30", "duration_s: 5", 35, "5 is less than the minimum of 10"),
        ("duration_s: 30", "window_s: 30", 35, "a live has no window_s; allowed are"),
        ("kind: live\n    encoder: libx264", "kind: live\n    encoder: libx265", 31,
         "RTMP requires H.264, but libx265 writes hevc"),
        ("{bitrate_kbps: 900}", "{bitrate_kbps: 900, passes: 2}", 34, "a live is encoded in one"),
        ("height: 90\n    frame", "frame", 12, "width and height go together"),
        ("width: 160\n", "width: 161\n", 12, "width 161 is odd"),
        ("tune: film", "tune: best", 15, "option tune must be one of film, animation"),
        ("bf: 3", "stats: f", 15, "libx264 does not accept option 'stats'; allowed are aq-mode"),
        ("crf: 23,", "cq: 23,", 18,
         "libx264 does not support cq; it supports crf from 0 to 51, bitrate"),
        ("passes: 2", "passes: 3", 17, "3 is greater than the maximum of 2"),
        ("crf: 23", "crf: 23, passes: 2", 18, "two passes require bitrate_kbps"),
        ("max_kbps: 800, buf", "max_kbps: 400, buf", 17, "max_kbps is below bitrate_kbps"),
        ("rate: {cq: 30}", "rate: {crf: 30}", 24,
         "h264_nvenc does not support crf; it supports cq from 1"),
        ("rate: {cq: 30}", "rate: {cq: 60}", 24, "accepts cq from 1 to 51 in whole numbers"),
        ("name: half", "name: full", 25, "the name full is used twice"),
        ("https://clips", "https://me:secret@clips", 6,
         "a url must not contain a user or password"),
        ("    sha256: f", "    synthetic: f", 7, "is not a mapping of keys to values"),
        ("    url: https://clips.example/a/b/film.mkv?x=1\n", "", 5, "exactly one of file, url"),
        ("width: 320,", "width: 321,", 3, "synthetic source of 321x180 has an odd dimension"),
    ],
)  # fmt: skip
def test_an_error_in_a_kind_has_its_line(before: str, after: str, line: int, message: str) -> None:
    assert before in KINDS
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(KINDS.replace(before, after, 1))
    found = refused.value.problems
    assert any(p.line == line and message in p.message for p in found), refused.value


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("name: short", "name: short\nrepeets: 2", 2, "unknown key repeets; allowed are name"),
        ("libx264", "libx266", 8, "'libx266' is not known; allowed are av1_nvenc"),
        ("veryfast", "quick", 9, "libx264 has no preset 'quick'; it has ultrafast"),
        ("crf: 30", "crf: 30\n    bitrate_kbps: 7", 14, "exactly one of crf, cq, bitrate_kbps"),
        ("crf: 30", "crf: 60", 14, "libx264 accepts crf from 0 to 51, not 60"),
        ("name: av1", "name: fast", 10, "the name fast is used twice"),
        ("bitrate_kbps: 800", "crf: 30", 14, "crf30 is listed twice"),
        ("name: short", "name: [", 3, "invalid YAML"),
        ("sha256: ff", "sha256: zz", 5, "does not match"),
        ("slowest_speed: 0.125", "slowest_speed: fast", 15, "'fast' is not a number"),
        ("name: short\n", "", 1, "'name' is a required property"),
        ("name: short", "name: short\nname: long", 2, "invalid YAML"),
    ],
)  # fmt: skip
def test_an_error_has_its_line(before: str, after: str, line: int, message: str) -> None:
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(GOOD.replace(before, after, 1))
    found = refused.value.problems
    assert any(p.line == line and message in p.message for p in found), refused.value


BUILDS = (
    GOOD
    + """\
ffmpegs:
  - name: ours
  - name: patched
    file: builds/patched/ffmpeg
    sha256: eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
  - name: "7.1"
    url: https://builds.example/ffmpeg-7.1
    sha256: dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
"""
)


def test_ffmpegs_are_combined_with_all_encodes() -> None:
    parsed = suite.parse_suite(BUILDS)
    scenarios = parsed.scenarios()
    assert len(scenarios) == parsed.scenario_count == 12
    assert [scenario.name for scenario in scenarios[:4]] == [
        "clip/fast/800k/ours",
        "clip/fast/800k/patched",
        "clip/fast/800k/7.1",
        "clip/fast/crf30/ours",
    ]
    assert [scenario.brings_ffmpeg for scenario in scenarios[:3]] == [False, True, True]
    assert scenarios[1].ffmpeg == FfmpegUnderTest(name="patched", sha256="e" * 64)
    assert scenarios[2].ffmpeg == FfmpegUnderTest(
        name="7.1", sha256="d" * 64, url="https://builds.example/ffmpeg-7.1"
    )
    wire = msgspec.json.encode(scenarios)
    assert msgspec.json.decode(wire, type=list[Scenario]) == scenarios


def test_an_encode_is_combined_with_the_ffmpegs_that_it_names() -> None:
    text = BUILDS.replace(
        "    encoder: libsvtav1", "    encoder: libsvtav1\n    ffmpegs: [ours]", 1
    )
    parsed = suite.parse_suite(text)
    names = [scenario.name for scenario in parsed.scenarios()]
    assert len(names) == parsed.scenario_count == 8
    assert [name for name in names if "/av1/" in name] == [
        "clip/av1/800k/ours",
        "clip/av1/crf30/ours",
    ]
    with pytest.raises(suite.SuiteError, match="the FFmpeg their is not listed in ffmpegs"):
        suite.parse_suite(text.replace("[ours]", "[their]"))


def test_pairs_of_builds_and_nodes_are_read() -> None:
    pairs = 'compare: [{ffmpegs: [ours, "7.1"]}, {nodes: [w1, w2]}]\n'
    parsed = suite.parse_suite(BUILDS + pairs)
    assert parsed.compare == (SuitePair(ffmpegs=("ours", "7.1")), SuitePair(nodes=("w1", "w2")))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("[{}]", "exactly one of ffmpegs, nodes"),
        ("[{ffmpegs: [ours, patched], nodes: [w1, w2]}]", "exactly one of ffmpegs, nodes"),
        ("[{ffmpegs: [ours, ours]}]", "a pair has two different names, not ours, ours"),
        ("[{ffmpegs: [ours, new]}]", "the FFmpeg new is not listed in ffmpegs; listed are ours,"),
        ('[{ffmpegs: [ours, patched]}, {ffmpegs: [ours, "7.1"]}]', "ours is in another pair"),
        ("[{nodes: [w1, w2]}, {nodes: [w3, w1]}]", "the node w1 is in another pair"),
        ("[{nodes: [w1]}]", "compare.0.nodes"),
        ("[{nodes: [w1, w2]}]\nplacement: any", "need the placement each"),
    ],
)
def test_an_error_in_a_pair_is_explained(pairs: str, message: str) -> None:
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(BUILDS + f"compare: {pairs}\n")
    line = BUILDS.count("\n") + 1
    found = refused.value.problems
    assert any(p.line == line and message in p.message for p in found), refused.value


def test_scenarios_of_a_suite_without_ffmpegs_have_none() -> None:
    scenarios = suite.parse_suite(GOOD).scenarios()
    assert {scenario.ffmpeg for scenario in scenarios} == {None}
    assert b'"ffmpeg"' not in msgspec.json.encode(scenarios)


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("name: ours", "name: patched", 18, "the name patched is used twice"),
        ("name: ours", "name: a/b", 17, "does not match"),
        ("name: ours", "name: ../x", 17, "does not match"),
        ("name: ours", "name: 7.1", 17, "7.1 is not a text or a whole number; put it in quotes"),
        ("name: ours", "name: ours\n    path: /usr/bin/ffmpeg", 18, "unknown key path"),
        ("sha256: ee", "sha256: EE", 20, "does not match"),
        ("sha256: ee", "sha256: e", 20, "does not match"),
        ("file: builds/patched/ffmpeg", "file: http://x/ffmpeg", 19, "is not a file path"),
        ("https://builds", "file:///builds", 22, "does not match"),
        ("https://builds", "https://me:secret@builds", 22,
         "a url must not contain a user or password"),
        ("    file: builds/patched/ffmpeg\n", "", 18,
         "an entry with only a name is the farm's own"),
        ("    url:", "    file: ffmpeg\n    url:", 21, "at most one of file, url"),
        ("    sha256: d" + "d" * 63 + "\n", "", 21, "by file or url needs its sha256"),
    ],
)  # fmt: skip
def test_an_error_in_an_ffmpeg_has_its_line(
    before: str, after: str, line: int, message: str
) -> None:
    assert before in BUILDS
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(BUILDS.replace(before, after, 1))
    found = refused.value.problems
    assert any(p.line == line and message in p.message for p in found), refused.value


def test_ffmpegs_count_towards_the_maximum_number_of_jobs() -> None:
    many = "".join(f"  - {{name: n{number}}}\n" for number in range(1000))
    rates = "rate_points:\n" + "".join(f"  - {{crf: {n / 10}}}\n" for n in range(101))
    text = GOOD.partition("rate_points")[0].replace("  - name: av1\n    encoder: libsvtav1\n", "")
    with pytest.raises(
        suite.SuiteError, match="101000 scenarios; the maximum is 100000 jobs per run"
    ):
        suite.parse_suite(f"{text}{rates}ffmpegs:\n{many}")


@pytest.mark.parametrize(
    "text", ["", "just text", "[]", "- a", "a: b", "\t", "name: !!python/name:os.system"]
)
def test_a_text_other_than_a_suite_is_rejected(text: str) -> None:
    with pytest.raises(suite.SuiteError):
        suite.parse_suite(text)


def test_the_schema_is_valid() -> None:
    Draft202012Validator.check_schema(suite.json_schema())


@pytest.mark.parametrize(
    ("before", "after", "position", "message"),
    [
        ("name: short", "name: [a, b", "line 2, column 8",
         "invalid YAML: expected ',' or ']', but got ':', while parsing a flow sequence that "
         "begins at line 1"),
        ("name: short", "name: a: b", "line 1, column 8",
         "invalid YAML: mapping values are not allowed here; correct the indentation, or put a "
         "text that contains a colon in quotes"),
        ("    file:", "\t file:", "line 4, column 1", "indent with spaces instead of tabs"),
        ("  - crf: 30", "   - crf: 30", "line 14, column 4", "correct the indentation"),
        ("name: short", "name: 2026-13-01", "line 1, column 7",
         "invalid YAML: month must be in 1..12; put 2026-13-01 in quotes"),
        ("name: short", "name: short\nname: long", "line 2, column 1", 'duplicate key "name"'),
        ("crf: 30", "crf: &rate 30\n  - crf: *rate", "line 15, column 10", "aliases are not"),
        ("name: short", "name: !tag short", "line 1, column 7", "tags are not supported"),
        ("libx264", "libx266", "line 8, column 5", "'libx266' is not known; allowed are av1_nvenc"),
        ("crf: 30", "crf: '30'", "line 14, column 5", "'30' is not a number; remove the quotes"),
        ("name: short", "name: true", "line 1, column 1",
         "true is not a text or a whole number; put it in quotes"),
        ("name: short", "name: 2026-01-01", "line 1, column 1",
         "2026-01-01 is not a text or a whole number; put it in quotes"),
        ("name: short", "name:", "line 1, column 1", "an empty value is not a text"),
        ("name: short", "name: short\ncontrol: 'yes'", "line 2, column 1",
         "'yes' is not true or false"),
        ("name: short", "name: short\nplacement: all", "line 2, column 1",
         "all is not valid; allowed are each, any, {node: NODE}"),
        ("name: short", "name: a b", "line 1, column 1",
         "'a b' does not match the expected form: 1 to 64 letters, digits, dots, underscores or"),
        ("  - bitrate_kbps: 800\n  - crf: 30\n", "  crf: 30\n", "line 12, column 1",
         "{'crf': 30} is not a list, each item of which begins with a hyphen"),
        ("    sha256: " + "f" * 64 + "\n", "", "line 3, column 5",
         "a source by file or url needs its sha256, which the command sha256sum prints"),
    ],
)  # fmt: skip
def test_an_error_has_its_position_and_its_remedy(
    before: str, after: str, position: str, message: str
) -> None:
    assert before in GOOD
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(GOOD.replace(before, after, 1))
    found = [str(problem) for problem in refused.value.problems]
    assert any(text.startswith(f"{position}: ") and message in text for text in found), found


NUMBERS = """\
name: 2026
sources:
  - name: 1
    synthetic: {content: noise, width: 320, height: 180, frame_rate: 30, duration_s: 2}
encodes:
  - name: 8
    encoder: libsvtav1
    preset: 8
    options: {film-grain: 10}
    rate_points: [{crf: 30}]
  - {name: rungs, kind: ladder, encoder: libx264, renditions: [{name: 720, rate: {crf: 30}}]}
ffmpegs: [{name: 7}]
requirements: {gpu: 4090, labels: {rack: 12}}
placement: {node: 5}
"""


def test_whole_numbers_are_accepted_for_texts() -> None:
    quoted = suite.parse_suite(
        NUMBERS.replace("name: 2026", "name: '2026'")
        .replace("name: 1\n", "name: '1'\n")
        .replace("name: 8", "name: '8'")
        .replace("preset: 8", "preset: '8'")
        .replace("film-grain: 10", "film-grain: '10'")
        .replace("frame_rate: 30", "frame_rate: '30'")
        .replace("name: 720", "name: '720'")
        .replace("name: 7}", "name: '7'}")
        .replace("gpu: 4090", "gpu: '4090'")
        .replace("rack: 12", "rack: '12'")
        .replace("node: 5", "node: '5'")
    )
    parsed = suite.parse_suite(NUMBERS)
    assert parsed == quoted
    assert parsed.encodes[0].preset == "8"
    assert parsed.requirements.labels == {"rack": "12"}
    assert [s.name for s in parsed.scenarios()] == ["1/8/crf30/7", "1/rungs/ladder/7"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("preset: 8", "preset: 0x8", "encodes.0.preset: this number is not written in its usual"),
        ("name: 720", "name: 0720", "encodes.1.renditions.0.name: this number is not written"),
        ("node: 5", "node: 1_0", "placement.node: this number is not written"),
        ("rack: 12", "rack: 1.50", "labels.rack: 1.5 is not a text or a whole number; put it in"),
        ("preset: 8", "preset: -8", "encodes.0.preset: -8 is less than the minimum of 0"),
    ],
)
def test_numbers_that_may_mean_another_text_are_refused(
    before: str, after: str, message: str
) -> None:
    assert before in NUMBERS
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(NUMBERS.replace(before, after, 1))
    assert message in str(refused.value)
