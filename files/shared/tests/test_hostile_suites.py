"""Tests of attacks through a suite or a job, which are rejected with the name of the field."""

import copy
import functools
import json
from typing import Any

import msgspec
import pytest
from ffrtmp_shared import suite
from ffrtmp_shared.scenario import Scenario

_DIGEST = "f" * 64

_SUITE = f"""\
name: good
sources:
  - name: clip
    file: media/clip.mp4
    sha256: {_DIGEST}
encodes:
  - name: fast
    encoder: libx264
    preset: veryfast
    options: {{tune: film}}
  - name: rungs
    kind: ladder
    encoder: libsvtav1
    renditions:
      - {{name: full, rate: {{crf: 40}}}}
rate_points:
  - bitrate_kbps: 800
"""

_MADE = "synthetic: {content: still, width: 64, height: 64, frame_rate: 25, duration_s: 1}"

_TUNE = "tune: film"
_FILE = "file: media/clip.mp4"
_FILE_AND_DIGEST = f"{_FILE}\n    sha256: {_DIGEST}"
_RATE = "bitrate_kbps: 800"
_PRESET = "preset: veryfast"
_NAME = "name: good"
_CLIP = "name: clip"

# Each item contains a text in the suite, its replacement, the line with the error, and a part of
# the error message.
_IN_SUITES = [
    # Options that read files, write files, or contain further options.
    (_TUNE, "stats: /etc/passwd", 10, "options"),
    (_TUNE, "passlogfile: x", 10, "libx264 does not accept option 'passlogfile'; allowed are"),
    (_TUNE, "pass: 1", 10, "libx264 does not accept option 'pass'"),
    (_TUNE, "x264-params: stats=x", 10, "options"),
    (_TUNE, "x264-params: keyint", 10, "libx264 does not accept option 'x264-params'"),
    (_TUNE, "x264opts: dump-yuv", 10, "libx264 does not accept option 'x264opts'"),
    (_TUNE, "x265-params: csv", 10, "libx264 does not accept option 'x265-params'"),
    (_TUNE, "vstats_file: x", 10, "libx264 does not accept option 'vstats_file'"),
    (_TUNE, "dump_attachment: x", 10, "libx264 does not accept option 'dump_attachment'"),
    (_TUNE, "report: 1", 10, "libx264 does not accept option 'report'"),
    (_TUNE, "progress: x", 10, "libx264 does not accept option 'progress'"),
    (_TUNE, "f: tee", 10, "libx264 does not accept option 'f'"),
    (_TUNE, "i: clip", 10, "libx264 does not accept option 'i'"),
    (_TUNE, "y: 1", 10, "libx264 does not accept option 'y'"),
    (_TUNE, "vf: movie", 10, "libx264 does not accept option 'vf'"),
    (_TUNE, "filter_complex: x", 10, "libx264 does not accept option 'filter_complex'"),
    (_TUNE, "init_hw_device: x", 10, "libx264 does not accept option 'init_hw_device'"),
    (_TUNE, "protocol_whitelist: http", 10, "does not accept option 'protocol_whitelist'"),
    # Names and values that inject options.
    (_TUNE, "-y: 1", 10, "options"),
    (_TUNE, '"tune -y": film', 10, "options"),
    (_TUNE, '"tune:v": film', 10, "options"),
    (_TUNE, "Tune: film", 10, "options"),
    (_TUNE, "tune: -y", 10, "tune must be one of film"),
    (_TUNE, 'tune: "film -y"', 10, "options"),
    (_TUNE, 'tune: "film:stats=x"', 10, "options"),
    (_TUNE, "bf: -1", 10, "less than the minimum"),
    (_TUNE, 'bf: "1e1"', 10, "option bf must be a whole number from 0 to 16, not '1e1'"),
    (_TUNE, "bf: 99", 10, "option bf must be a whole number from 0 to 16, not '99'"),
    (_TUNE, 'bf: "\\uff13"', 10, "options"),
    (_TUNE, "bf: 3.5", 10, "options"),
    (_TUNE, "bf: true", 10, "options"),
    (_TUNE, "bf: {a: 1}", 10, "options"),
    # Protocols and paths in the name of a file.
    (_FILE, "file: 'file:/etc/passwd'", 4, "is not a file path"),
    (_FILE, "file: 'concat:a.mp4|b.mp4'", 4, "is not a file path"),
    (_FILE, "file: 'subfile,,start,0,end,9,,:/etc/passwd'", 4, "is not a file path"),
    (_FILE, "file: 'pipe:0'", 4, "is not a file path"),
    (_FILE, "file: 'data:text/plain,x'", 4, "is not a file path"),
    (_FILE, "file: 'http://a.example/clip.mp4'", 4, "is not a file path"),
    (_FILE, "file: 'crypto+file:a'", 4, "is not a file path"),
    (_FILE, "file: -y", 4, "is not a file path"),
    (_FILE, "file: media/-y", 4, "is not a file path"),
    (_FILE, "file: media/..", 4, "is not a file path"),
    (_FILE, "file: ../..", 4, "is not a file path"),
    (_FILE, "file: media/", 4, "does not match"),
    (_FILE, 'file: "media/clip\\0.mp4"', 4, "the control character U+0000 is not accepted"),
    (_FILE, 'file: "media/clip\\n.mp4"', 4, "does not match"),
    (_FILE, 'file: "media/clip\\e[2J.mp4"', 4, "control character U+001B is not accepted"),
    (_FILE, "file: 'media/a\\b.mp4'", 3, "must be a plain file name"),
    (_FILE, "file: media/concat:x", 3, "must be a plain file name"),
    (_FILE, "file: " + "a" * 2000, 4, "is too long"),
    # Protocols in URLs.
    (_FILE, "url: file:///etc/passwd", 4, "does not match"),
    (_FILE, "url: ftp://clips.example/a.mp4", 4, "does not match"),
    (_FILE, "url: rtmp://clips.example/a", 4, "does not match"),
    (_FILE, "url: 'concat:http://a|http://b'", 4, "does not match"),
    (_FILE, "url: 'data:,x'", 4, "does not match"),
    (_FILE, "url: https:///etc/passwd", 4, "the url has no host"),
    (_FILE, "url: https://me:secret@clips.example/a", 4, "a user or password"),
    (_FILE, 'url: "https://a.example/\\r\\nHost: b"', 4, "does not match"),
    (_FILE, "url: https://ä.example/a", 4, "does not match"),
    (_FILE, "url: 'https://[::1/a'", 4, "does not match"),
    (_FILE_AND_DIGEST, "url: https://clips.example/a.mp4", 3, "needs its sha256"),
    (_FILE, f"{_FILE}\n    {_MADE}", 3, "exactly one of file, url, synthetic"),
    (_FILE, f"{_FILE}\n    url: https://a.example/b", 3, "exactly one of file, url, synthetic"),
    (f"sha256: {_DIGEST}", "sha256: ../../etc/passwd", 5, "does not match"),
    (f"sha256: {_DIGEST}", f'sha256: "{_DIGEST}\\n"', 5, "does not match"),
    # Filter graphs in values that become a part of a filter.
    (_PRESET, "frame_rate: '25,movie=/etc/passwd'", 9, "does not match"),
    (_PRESET, "frame_rate: 25[v];[v]", 9, "does not match"),
    (_PRESET, "frame_rate: 0", 9, "less than the minimum"),
    (_PRESET, "frame_rate: 1/0", 9, "does not match"),
    (_PRESET, "width: '64:flags=x'\n    height: 64", 9, "is not a whole number"),
    (_PRESET, "width: iw/2\n    height: 64", 9, "is not a whole number"),
    (_PRESET, "width: -2\n    height: 64", 9, "less than the minimum"),
    (_PRESET, "width: 100000\n    height: 64", 9, "greater than the maximum"),
    (_FILE_AND_DIGEST, _MADE.replace("still", "movie=x"), 4, "'movie=x' is not known"),
    (_FILE_AND_DIGEST, _MADE.replace(": 25", ": '25,amovie=x'"), 4, "does not match"),
    (_FILE_AND_DIGEST, _MADE.replace("duration_s: 1", "duration_s: 1e9"), 4, "greater than"),
    (_PRESET, "pixel_format: 'yuv420p,movie=x'", 9, "is not known; allowed are yuv420p"),
    # Names with a special meaning in a shell, a path or a filter graph.
    (_CLIP, "name: '$(reboot)'", 3, "does not match"),
    (_CLIP, "name: '`reboot`'", 3, "does not match"),
    (_CLIP, "name: 'a;reboot'", 3, "does not match"),
    (_CLIP, "name: 'a|b'", 3, "does not match"),
    (_CLIP, "name: ../../clip", 3, "does not match"),
    (_CLIP, "name: /etc/passwd", 3, "does not match"),
    (_CLIP, "name: -y", 3, "does not match"),
    (_CLIP, 'name: "clip\\n"', 3, "does not match"),
    (_CLIP, 'name: "clip\\0"', 3, "character U+0000 is not accepted"),
    (_CLIP, "name: clíp", 3, "does not match"),
    (_CLIP, 'name: "cl\\u0131p"', 3, "does not match"),
    (_CLIP, 'name: "clip\\u202e"', 3, "does not match"),
    ("name: full", "name: ../full", 15, "does not match"),
    ("name: full", "name: '[v0]'", 15, "does not match"),
    (_NAME, 'name: good\ndescription: "\\e[2Jgone"', 2, "character U+001B is not accepted"),
    (_NAME, 'name: good\ndescription: "\\u202egone"', 2, "does not match"),
    (_NAME, "name: good\nplacement: {node: 'a;reboot'}", 2, "is not valid"),
    # Encoders and presets.
    ("encoder: libx264", "encoder: rawvideo", 8, "'rawvideo' is not known; allowed are"),
    ("encoder: libx264", "encoder: 'libx264 -y'", 8, "is not known; allowed are"),
    ("encoder: libx264", "encoder: LIBX264", 8, "is not known; allowed are"),
    (_PRESET, "preset: 'fast -y'", 9, "libx264 has no preset 'fast -y'; it has ultrafast"),
    (_PRESET, "preset: ''\n    width: -1", 10, "less than the minimum"),
    # Numbers.
    (_RATE, "bitrate_kbps: 99999999999999999999", 17, "greater than the maximum"),
    (_RATE, "bitrate_kbps: 1" + "0" * 4999, 17, "invalid YAML: 5000 characters are too long for a"),
    (_RATE, "bitrate_kbps: 0", 17, "less than the minimum"),
    (_RATE, "bitrate_kbps: '800k'", 17, "is not a whole number"),
    (_RATE, "crf: .nan", 17, "nan is not a finite number"),
    (_RATE, "crf: .inf", 17, "inf is not a finite number"),
    (_RATE, "crf: -.inf", 17, "inf is not a finite number"),
    (_RATE, "crf: 1e999", 17, "inf is not a finite number"),
    (_RATE, "cq: 20", 17, "libx264 does not support cq; it supports crf from 0 to 51"),
    (_RATE, "bitrate_kbps: 800\n    crf: 20", 17, "exactly one of crf, cq, bitrate_kbps"),
    (_NAME, "name: good\nslowest_speed: .nan", 2, "nan is not a finite number"),
    (_NAME, "name: good\nslowest_speed: 1e-999", 2, "less than the minimum"),
    (_NAME, "name: good\ndeadline_s: .inf", 2, "inf is not a finite number"),
    (_NAME, "name: good\nrepeats: 100000", 2, "greater than the maximum"),
    (_PRESET, "threads: 100000", 9, "greater than the maximum"),
    (_PRESET, "threads: true", 9, "is not a whole number"),
    # YAML syntax.
    (_NAME, 'name: "2026-02-30"\ndescription: 2026-02-30', 2, "put 2026-02-30 in quotes"),
    (_NAME, "name: &a good\ndescription: *a", 2, "aliases are not supported; write out the value"),
    (_NAME, "a: &a [x, x]\nb: &b [*a, *a]\nname: good", 2,
     "aliases are not supported; write out the value"),
    (_NAME, "name: !!python/object/apply:os.system [reboot]", 1, "tags are not supported"),
    (_NAME, "name: !vault good", 1, "tags are not supported"),
    (_NAME, "name: good\nname: other", 2, "invalid YAML"),
    pytest.param(
        _NAME, "name: good\ndescription: " + "[" * 5000, 1, "the YAML is nested too deeply",
        marks=pytest.mark.slow,
    ),
    (_NAME, "name: good\n# " + "x" * 1_100_000, 1, "the maximum is 1048576"),
    (_NAME, "name: good\n---\nname: other", 2, "invalid YAML"),
    # Fields that belong to another kind of job, and too many items.
    ("kind: ladder", "kind: ladder\n    rate_points: [{crf: 30}]", 13, "ladder has no rate_points"),
    ("kind: ladder", "kind: decode", 13, "a decode has no encoder; allowed are name"),
    ("kind: ladder", "kind: transcode", 14, "a transcode has no renditions"),
    ("kind: ladder", "kind: shell", 12, "'shell' is not known; allowed are transcode"),
    ("rate: {crf: 40}", "rate: {bitrate_kbps: 9, passes: 2}", 15, "does not support two passes"),
    (_NAME, "name: good\nargv: [reboot]", 2, "unknown key argv; allowed are name"),
    (
        "      - {name: full, rate: {crf: 40}}\n",
        "".join(f"      - {{name: r{n}, rate: {{crf: 40}}}}\n" for n in range(17)),
        14,
        "is too long",
    ),
    (
        _TUNE,
        ", ".join(f"o{n}: 1" for n in range(100_000)),
        1,
        "the maximum is 1048576",
    ),
    (_TUNE, ", ".join(f"o{n}: 1" for n in range(1000)), 10, "too many properties"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "line", "message"), _IN_SUITES)
def test_a_hostile_suite_is_rejected(before: str, after: str, line: int, message: str) -> None:
    assert before in _SUITE
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(_SUITE.replace(before, after, 1))
    found = refused.value.problems
    assert any(p.line == line and message in p.message for p in found), refused.value


def test_the_length_of_the_error_is_limited() -> None:
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse_suite(
            _SUITE.replace("rate_points:\n", "rate_points:\n" + "  - {a: 1}\n" * 3000)
        )
    assert len(refused.value.problems) == 100
    assert len(str(refused.value)) < 50_000


def test_the_unmodified_suite_is_valid() -> None:
    assert len(suite.parse_suite(_SUITE).scenarios()) == 2
    assert len(_IN_SUITES) >= 60


_ENCODE = {"encoder": "libx264", "preset": "fast", "rate": {"crf": 23}}

_JOB: dict[str, Any] = {
    "name": "clip/fast/crf23",
    "kind": "transcode",
    "source": {"name": "clip", "file_name": "clip.mp4", "sha256": _DIGEST},
    "slowest_speed": 0.1,
    "encode": _ENCODE,
}

_SYNTHETIC = {"content": "still", "width": 64, "height": 64, "frame_rate": "25", "duration_s": 1}
_RUNG = {"name": "full", "encode": _ENCODE}

# Each item contains the path of a field of the job, its new value, and a part of the error message.
_IN_JOBS = [
    ("encode.options", {"stats": "/etc/passwd"}, "libx264 does not accept option 'stats'"),
    ("encode.options", {"x264-params": "stats=x"}, "accept option 'x264-params'; allowed are"),
    ("encode.options", {"tune": "film -y"}, "option tune must be one of film"),
    ("encode.options", {"tune:v -y": "film"}, "does not accept option 'tune:v -y'"),
    ("encode.options", {"bf": "3\n"}, "option bf must be a whole number from 0 to 16"),
    ("encode.options", {"bf": "\uff13"}, "option bf must be a whole number from 0 to 16"),
    ("encode.options", {"bf": "9" * 60}, "option bf must be a whole number from 0 to 16"),
    ("encode.options", {f"o{n}": "1" for n in range(100_000)}, "length <= 16"),
    ("encode.options", {"tune": "x" * 100_000}, "length <= 64"),
    ("encode.options", {"tune": ["film"]}, "Expected `str`"),
    ("encode.encoder", "rawvideo", "unknown encoder 'rawvideo'; known are av1_nvenc"),
    ("encode.encoder", "libx264\u0000", "unknown encoder"),
    ("encode.preset", "fast\n-y", "has no preset"),
    ("encode.pixel_format", "yuv420p,movie=x", "has no pixel format"),
    ("encode.frame_rate", "25,movie=x", "$.encode.frame_rate"),
    ("encode.frame_rate", "25\n", "$.encode.frame_rate"),
    ("encode.frame_rate", "\uff12\uff15", "$.encode.frame_rate"),
    ("encode.width", "64:64", "$.encode.width"),
    ("encode.width", 64, "width and height go together"),
    ("encode.width", 10**30, "$.encode.width"),
    ("encode.threads", 10**6, "$.encode.threads"),
    ("encode.gop_frames", -1, "$.encode.gop_frames"),
    ("encode.argv", ["-y"], "unknown field `argv`"),
    ("encode.rate", {"crf": 52}, "accepts crf from 0 to 51, not 52"),
    ("encode.rate", {"crf": "23 -y"}, "$.encode.rate.crf"),
    ("encode.rate", {"crf": 23, "cq": 23}, "exactly one of crf, cq, bitrate_kbps"),
    ("encode.rate", {"bitrate_kbps": 2**70}, "$.encode.rate.bitrate_kbps"),
    ("source.file_name", "../../etc/passwd", "must be a plain file name"),
    ("source.file_name", "/etc/passwd", "must be a plain file name"),
    ("source.file_name", "concat:a|b", "must be a plain file name"),
    ("source.file_name", "subfile,,start,0,end,9,,:a", "must be a plain file name"),
    ("source.file_name", "-y", "must be a plain file name"),
    ("source.file_name", "..", "must be a plain file name"),
    ("source.file_name", "a\u0000b", "$.source.file_name"),
    ("source.file_name", "a\u001b[2J", "$.source.file_name"),
    ("source.sha256", "../" * 21 + "x", "$.source.sha256"),
    ("source.url", "file:///etc/passwd", "$.source.url"),
    ("source.url", "https://a.example/\r\nb", "$.source.url"),
    ("source.url", "https://me:secret@clips.example/a", "$.source.url"),
    ("source.url", "https://me@clips.example/a", "$.source.url"),
    ("source.url", "https://clips.example:80@a.example/a", "$.source.url"),
    ("source.url", "https://clips.example\\@a.example/a", "$.source.url"),
    ("source.url", "https:///a", "$.source.url"),
    ("source.synthetic", _SYNTHETIC, "exactly one of sha256, synthetic"),
    ("source", {"name": "m", "file_name": "m", "synthetic": _SYNTHETIC | {"width": 65}}, "odd"),
    (
        "source",
        {"name": "m", "file_name": "m", "synthetic": _SYNTHETIC | {"content": "movie=x"}},
        "$.source.synthetic.content",
    ),
    ("kind", "shell", "unknown kind 'shell'; known are transcode"),
    ("kind", "decode", "a decode must not have settings in encode"),
    ("kind", "ladder", "a ladder needs settings in ladder"),
    ("density", {}, "a transcode must not have settings in density"),
    ("live", {}, "a transcode must not have settings in live"),
    ("live", {"duration_s": 5}, "$.live.duration_s"),
    ("live", {"url": "rtmp://elsewhere/live/x"}, "$.live"),
    ("decode", {"threads": 1}, "a transcode must not have settings in decode"),
    ("ladder", {"renditions": [_RUNG, _RUNG]}, "the rendition name full is used twice"),
    ("ladder", {"renditions": [_RUNG | {"name": "../x"}]}, "$.ladder.renditions[0].name"),
    ("ladder", {"renditions": []}, "$.ladder.renditions"),
    ("ladder", {"renditions": [_RUNG] * 17}, "$.ladder.renditions"),
    ("slowest_speed", 0, "$.slowest_speed"),
    ("slowest_speed", "fast", "$.slowest_speed"),
    ("name", "a\nb", "$.name"),
    ("argv", ["reboot"], "unknown field `argv`"),
    ("ffmpeg", {"name": "../../bin/sh", "sha256": _DIGEST}, "$.ffmpeg.name"),
    ("ffmpeg", {"name": "a/b", "sha256": _DIGEST}, "$.ffmpeg.name"),
    ("ffmpeg", {"name": "own", "sha256": "../../etc/passwd"}, "$.ffmpeg.sha256"),
    ("ffmpeg", {"name": "own", "sha256": _DIGEST.upper()}, "$.ffmpeg.sha256"),
    ("ffmpeg", {"name": "own", "sha256": _DIGEST, "url": "file:///bin/sh"}, "$.ffmpeg.url"),
    ("ffmpeg", {"name": "own", "sha256": _DIGEST, "url": "https://me:secret@x/f"}, "$.ffmpeg.url"),
    ("ffmpeg", {"name": "own", "url": "https://x/ffmpeg"}, "needs its sha256"),
    ("ffmpeg", {"name": "own", "path": "/bin/sh"}, "unknown field `path`"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), _IN_JOBS)
def test_a_hostile_job_is_rejected_when_it_is_decoded(
    path: str, value: object, message: str
) -> None:
    job = copy.deepcopy(_JOB)
    *parents, last = path.split(".")
    place = functools.reduce(lambda found, key: found[key], parents, job)
    place[last] = value
    try:
        problems = msgspec.json.decode(msgspec.json.encode(job), type=Scenario).problems()
    except msgspec.ValidationError as error:
        problems = [str(error)]
    assert message in "; ".join(problems)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_invalid_number_is_rejected(number: str) -> None:
    wire = msgspec.json.encode(_JOB).replace(
        b'"slowest_speed":0.1', b'"slowest_speed":' + number.encode()
    )
    assert number.encode() in wire
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(wire, type=Scenario)


def test_the_unmodified_job_is_valid() -> None:
    assert msgspec.convert(_JOB, Scenario).problems() == []


def test_only_a_transcode_supports_two_passes() -> None:
    twice = _ENCODE | {"rate": {"bitrate_kbps": 300, "passes": 2}}
    rungs = {"renditions": [{"name": "full", "encode": twice}]}
    single = {key: value for key, value in _JOB.items() if key != "encode"}
    for kind, settings, expected in (
        ("transcode", {"encode": twice}, []),
        ("density", {"encode": twice, "density": {}}, ["a density is encoded in one pass"]),
        ("live", {"encode": twice, "live": {}}, ["a live is encoded in one pass"]),
        ("ladder", {"ladder": rungs}, ["a ladder is encoded in one pass"]),
    ):
        found = msgspec.convert(single | {"kind": kind} | settings, Scenario).problems()
        assert [problem.partition(";")[0] for problem in found] == expected


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x7f"])
@pytest.mark.parametrize("path", ["media/cl{}ip.mp4", "me{}dia/clip.mp4"])
def test_a_line_break_in_the_path_of_a_file_is_rejected(path: str, character: str) -> None:
    file = json.dumps(path.format(character))
    with pytest.raises(suite.SuiteError, match=r"sources\.0"):
        suite.parse_suite(_SUITE.replace("file: media/clip.mp4", f"file: {file}"))


def test_a_file_name_that_no_job_may_have_is_rejected_without_the_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The types of jobs are checked even if the schema accepts more than they do."""
    monkeypatch.setattr(suite, "json_schema", dict[str, Any])
    with pytest.raises(suite.SuiteError, match=r"sources\.0: .*file_name"):
        suite.parse_suite(_SUITE.replace("file: media/clip.mp4", 'file: "a\\u2028b"'))
