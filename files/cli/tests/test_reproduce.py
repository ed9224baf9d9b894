"""Reproduction of results: instructions, and comparison with an encode on this host."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click.testing
import msgspec
import pytest
from ffrtmp_cli.commands.reproduce import Reproduction, command
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.reproduction import result_source
from ffrtmp_cli.reproduction.comparison import Agreement, compare
from ffrtmp_cli.reproduction.instructions import instruction_lines, instructions_of
from ffrtmp_cli.reproduction.result_source import ResultFile
from ffrtmp_cli.reproduction.speed_interval import speed_interval
from ffrtmp_client.bundle_writer import bundle_content, write_bundle
from ffrtmp_client.results import as_json
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Result
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.rate_search import RateProbe, RateSearch
from ffrtmp_shared.scenario import EncodeSettings, Scenario, Source, SyntheticSource
from ffrtmp_worker import kinds
from ffrtmp_worker.ffmpeg import synthetic_source
from ffrtmp_worker.ffmpeg.build_info import identify_build
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools
from session_files import make_once

from .saved_run import write_run, write_sums

_ROOT = Path(__file__).parents[3]
_CLIP = SyntheticSource(content="motion", width=320, height=180, frame_rate="25", duration_s=1.2)
_ENCODE = EncodeSettings(encoder="libx264", preset="veryfast", rate=RatePoint(crf=30), threads=1)


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    """Return the FFmpeg of the farm, which has libvmaf."""
    return Path(os.environ.get("FFRTMP_TEST_FFMPEG", _ROOT / ".cache/ffmpeg/ffmpeg"))


@pytest.fixture(scope="session")
def other_ffmpeg() -> Path:
    """Return the FFmpeg of the Linux distribution, which is another build."""
    return _installed("ffmpeg")


def _installed(name: str) -> Path:
    found = shutil.which(name)
    assert found, f"{name} is not installed"
    return Path(found)


@pytest.fixture(scope="session")
def clip(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the clip of all results."""

    def make(file: Path) -> None:
        subprocess.run(synthetic_source.synthetic_source(_CLIP, ffmpeg, str(file)), check=True)

    return make_once(tmp_path_factory, "reproduced.mov", make)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _measure(scenario: Scenario, ffmpeg: Path, clip: Path, folder: Path) -> Measurement:
    """Measure a scenario as an agent does."""
    build = identify_build(ffmpeg)
    tools = Tools(
        ffmpeg=ffmpeg,
        farm_ffmpeg=ffmpeg,
        ffprobe=_installed("ffprobe"),
        quality_ffmpeg=ffmpeg,
        ffmpeg_build=build,
        quality_ffmpeg_build=build,
        encoders=frozenset(["libx264"]),
        vmaf_threads=2,
        min_free_bytes=1,
        agent_version="0.2.0",
    )

    def fetch(_: Source, target: Path) -> str:
        shutil.copyfile(clip, target)
        return _sha256(clip)

    folder.mkdir()
    attempt = Attempt(
        scenario=scenario,
        folder=folder,
        tools=tools,
        fetch=fetch,
        report=lambda _: None,
        stop_reason=str,
    )
    return kinds.run_attempt(attempt)


def _result(scenario: Scenario, measured: Measurement, repeat: int, speed_ratio: float) -> Result:
    encode = msgspec.structs.replace(measured.encode, speed=measured.encode.speed * speed_ratio)
    return Result(
        id=new_id(),
        run_id=None,
        job_id=new_id(),
        attempt=1,
        node="worker1",
        repeat=repeat,
        scenario=scenario,
        measurement=msgspec.structs.replace(measured, encode=encode),
        artifacts=(),
        stored_at=datetime(2026, 11, 30, tzinfo=UTC),
    )


def _file_scenario(clip: Path) -> Scenario:
    source = Source(name="clip", file_name="reproduced.mov", sha256=_sha256(clip))
    return Scenario(
        name="clip/x264/crf30", kind="transcode", source=source, slowest_speed=0.01, encode=_ENCODE
    )


@pytest.fixture(scope="session")
def results(
    ffmpeg: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, ...]:
    """Return three repeats of a scenario, whose speeds differ more than those of a busy host."""
    scenario = _file_scenario(clip)
    measured = _measure(scenario, ffmpeg, clip, tmp_path_factory.mktemp("result") / "attempt")
    return tuple(
        _result(scenario, measured, repeat, ratio)
        for repeat, ratio in ((1, 1.0), (2, 0.5), (3, 2.0))
    )


@pytest.fixture
def folder(results: tuple[Result, ...], tmp_path: Path) -> Path:
    """Return the directory of the results of a run."""
    return _write(tmp_path / "run", results)


def _write(folder: Path, results: tuple[Result, ...]) -> Path:
    folder.mkdir()
    (folder / "results.json").write_bytes(msgspec.json.encode({"run": {}, "results": results}))
    return folder


def _invoke(*arguments: str | Path) -> click.testing.Result:
    return click.testing.CliRunner().invoke(command, [str(argument) for argument in arguments])


def _document(done: click.testing.Result) -> Reproduction:
    assert done.stdout, done.exception
    return msgspec.json.decode(done.stdout, type=Reproduction)


def _agreements(document: Reproduction) -> dict[str, Agreement]:
    return {item.aspect: item.agreement for item in document.comparisons}


@pytest.mark.slow
def test_the_commands_of_a_result_write_the_same_bytes(
    folder: Path, results: tuple[Result, ...], clip: Path, ffmpeg: Path, tmp_path: Path
) -> None:
    result = results[0]
    done = _invoke(result.job_id, "--results", folder, "--ffmpeg", ffmpeg)
    assert done.exit_code == 0, done.exception
    _, _, script = done.stdout.partition("Run these commands in an empty directory:")
    commands = [line.strip() for line in script.splitlines() if line]
    assert commands[0] == "cp reproduced.mov source.mov"
    # A user copies the lines into a shell, in a directory that contains the clip.
    work = tmp_path / "by hand"
    work.mkdir()
    shutil.copy(clip, work / "reproduced.mov")
    shell = [str(_installed("sh")), "-ec", "\n".join(commands)]
    subprocess.run(shell, cwd=work, check=True, capture_output=True)
    assert result.measurement.output is not None
    assert _sha256(work / "output.mp4") == result.measurement.output.sha256


def _write_bundle(folder: Path, results: tuple[Result, ...], bundle: Path) -> Path:
    """Write a bundle with the results, as the export of their directory does."""
    document = json.loads((write_run(folder) / "results.json").read_bytes())
    found = json.loads(msgspec.json.encode(results))
    (folder / "results.json").write_bytes(as_json({**document, "results": found}))
    write_sums(folder)
    with bundle.open("wb") as file:
        write_bundle(bundle_content(folder, "0.2.0"), file)
    return bundle


@pytest.mark.slow
def test_a_bundle_has_the_instructions_of_its_directory(
    results: tuple[Result, ...], folder: Path, tmp_path: Path
) -> None:
    bundle = _write_bundle(tmp_path / "exported", results, tmp_path / "run.zip")
    arguments = ("clip/x264/crf30", "--json", "--results")
    of_bundle = _document(_invoke(*arguments, bundle))
    assert of_bundle == _document(_invoke(*arguments, folder))
    bundle.write_bytes(bundle.read_bytes()[:-1])
    refused = _invoke(*arguments, bundle)
    assert isinstance(refused.exception, CommandError)
    assert "is not a complete zip file" in refused.exception.message


@pytest.mark.slow
def test_the_document_contains_build_and_source(
    folder: Path, clip: Path, ffmpeg: Path, other_ffmpeg: Path
) -> None:
    arguments = ("clip/x264/crf30", "--results", folder / "results.json", "--json")
    same = _document(_invoke(*arguments, "--ffmpeg", ffmpeg)).instructions
    assert same.repeat == 1
    assert same.ffmpeg.sha256 == _sha256(ffmpeg)
    assert isinstance(same.ffmpeg.configuration, str)
    assert "--enable-libx264" in same.ffmpeg.configuration
    assert same.source.sha256 == _sha256(clip)
    assert same.commands[0][0] == str(ffmpeg)
    # The configure line of another build is not that of the result.
    other = _document(_invoke(*arguments, "--ffmpeg", other_ffmpeg)).instructions
    assert not isinstance(other.ffmpeg.configuration, str)
    assert other.ffmpeg.sha256 == same.ffmpeg.sha256


@pytest.mark.slow
def test_the_same_build_agrees(folder: Path, clip: Path, ffmpeg: Path) -> None:
    done = _invoke(
        *("clip/x264/crf30", "--results", folder, "--check", "--source", clip),
        *("--ffmpeg", ffmpeg, "--json"),
    )
    document = _document(done)
    assert _agreements(document) == dict.fromkeys(
        ("build", "source", "command", "bytes", "quality", "speed"), Agreement.AGREES
    )
    assert document.agrees is True
    assert done.exit_code == 0


@pytest.mark.slow
def test_the_source_in_the_current_directory_is_used(
    folder: Path, clip: Path, ffmpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reproduced.mov").write_bytes(b"another clip")
    arguments = ("clip/x264/crf30", "--results", folder, "--check", "--ffmpeg", ffmpeg, "--json")
    assert "name it with --source" in str(_invoke(*arguments).exception)
    shutil.copy(clip, tmp_path / "reproduced.mov")
    assert _agreements(_document(_invoke(*arguments)))["bytes"] is Agreement.AGREES


@pytest.mark.slow
def test_another_build_disagrees_with_the_reason(
    folder: Path, clip: Path, ffmpeg: Path, other_ffmpeg: Path
) -> None:
    done = _invoke(
        *("clip/x264/crf30", "--results", folder, "--check", "--source", clip),
        *("--ffmpeg", other_ffmpeg, "--quality-ffmpeg", ffmpeg, "--json"),
    )
    document = _document(done)
    agreements = _agreements(document)
    assert agreements["build"] is Agreement.DISAGREES
    # The command may differ, too: older builds have no option for the cropping of containers.
    assert agreements["source"] is Agreement.AGREES
    assert "another build" in document.comparisons[0].reason
    assert document.agrees is False
    assert isinstance(done.exception, CommandError)
    assert "build" in str(done.exception)


@pytest.mark.slow
def test_a_synthetic_source_is_generated(tmp_path: Path, clip: Path, ffmpeg: Path) -> None:
    source = Source(name="motion", file_name="motion.mov", synthetic=_CLIP)
    scenario = msgspec.structs.replace(_file_scenario(clip), source=source)
    measured = _measure(scenario, ffmpeg, clip, tmp_path / "attempt")
    folder = _write(tmp_path / "run", (_result(scenario, measured, 1, 1.0),))
    done = _invoke(
        *(scenario.name, "--results", folder, "--check", "--ffmpeg", ffmpeg, "--json"),
    )
    agreements = _agreements(_document(done))
    # A single repeat has no interval.
    assert agreements.pop("speed") is Agreement.UNAVAILABLE
    assert set(agreements.values()) == {Agreement.AGREES}
    assert done.exit_code == 0


@pytest.mark.slow
def test_the_setting_that_a_search_found_is_used(
    tmp_path: Path, clip: Path, ffmpeg: Path, results: tuple[Result, ...]
) -> None:
    searched = msgspec.structs.replace(_ENCODE, rate=RatePoint(vmaf=80))
    scenario = msgspec.structs.replace(results[0].scenario, encode=searched)
    probe = RateProbe(setting=30, vmaf_mean=80.1, video_bitrate_kbps=100.0)
    search = RateSearch(
        vmaf_target=80,
        vmaf_tolerance=0.5,
        control="crf",
        setting=30,
        probes=(probe,),
        duration_s=1.0,
    )
    measured = msgspec.structs.replace(results[0].measurement, rate_search=search)
    folder = _write(tmp_path / "run", (_result(scenario, measured, 1, 1.0),))
    done = _invoke(
        *(scenario.name, "--results", folder, "--check", "--source", clip),
        *("--ffmpeg", ffmpeg, "--json"),
    )
    assert _agreements(_document(done))["bytes"] is Agreement.AGREES


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("clip/x264/crf30",), "no farm is selected", ExitCode.USAGE),
        (("clip/x264/crf31", "--results", "FOLDER"), "clip/x264/crf30", ExitCode.NOT_FOUND),
        (("clip/x264/crf30", "--results", "FOLDER", "--repeat", "9"), "no result", 3),
        (("clip/x264/crf30", "--results", "FOLDER", "--check"), "name it with --source", 1),
        (
            ("clip/x264/crf30", "--results", "FOLDER", "--check", "--source", __file__),
            "is not the source",
            1,
        ),
        (("clip/x264/crf30", "--results", __file__), "cannot be read", 1),
    ],
)
def test_errors_name_the_remedy(
    folder: Path, ffmpeg: Path, arguments: tuple[str, ...], message: str, code: int
) -> None:
    words = [str(folder) if word == "FOLDER" else word for word in arguments]
    done = _invoke(*words, "--ffmpeg", ffmpeg)
    assert isinstance(done.exception, CommandError)
    assert message in str(done.exception)
    assert done.exception.code == code


def test_results_of_several_nodes_need_a_node(
    results: tuple[Result, ...], tmp_path: Path, ffmpeg: Path
) -> None:
    other = msgspec.structs.replace(results[0], node="worker2")
    folder = _write(tmp_path / "run", (*results, other))
    arguments = ("clip/x264/crf30", "--results", folder, "--ffmpeg", ffmpeg, "--json")
    done = _invoke(*arguments)
    assert "worker1, worker2. Choose one with --node" in str(done.exception)
    assert _document(_invoke(*arguments, "--node", "worker2")).instructions.node == "worker2"


def test_texts_of_a_result_are_not_shell_commands(results: tuple[Result, ...]) -> None:
    """The instructions are copied into a shell, and the file may come from somebody else."""
    place = "a' $(touch created) `touch created`; b"
    replace = msgspec.structs.replace
    measured = results[0].measurement
    provenance = replace(
        measured.provenance, argv=("ffmpeg", "-i", place, "out.mkv"), source_sha256="' ; touch x '"
    )
    result = replace(results[0], measurement=replace(measured, provenance=provenance))
    web = replace(result.scenario.source, url="https://example.org/$(touch created)")
    for source in (result.scenario.source, web):
        changed = replace(result, scenario=replace(result.scenario, source=source))
        lines = instruction_lines(instructions_of(changed, None, "ffmpeg"))
        copied, checked = lines[lines.index("") + 3 :][:2]
        assert place in shlex.split(copied)
        assert shlex.split(checked) == [
            *("echo", f"' ; touch x '  {place}", "|", "sha256sum", "--check")
        ]


def test_a_file_that_cannot_be_results_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (Path("/dev/zero"), pipe):
        with pytest.raises(CommandError, match="is not a regular file"):
            ResultFile(path).results_with("name")
    nested = tmp_path / "nested.json"
    nested.write_text("[" * 200_000)
    with pytest.raises(CommandError, match="cannot be read"):
        ResultFile(nested).results_with("name")


def test_a_file_that_is_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_source, "_MAX_BYTES", 10)
    with pytest.raises(CommandError, match="larger than 10 bytes"):
        ResultFile(folder).results_with("name")


def test_results_of_a_newer_release_are_refused(folder: Path) -> None:
    file = folder / "results.json"
    document = json.loads(file.read_bytes())
    document["results"][0]["measurement"]["invented"] = 1
    file.write_text(json.dumps(document), encoding="utf-8")
    done = _invoke("clip/x264/crf30", "--results", folder)
    assert "update ffrtmp" in str(done.exception)


def _replaced(
    measured: Measurement, change: Callable[[Measurement], Measurement]
) -> dict[str, Agreement]:
    changed = change(measured)
    repeats = [_result(_SCENARIO, measured, repeat, ratio) for repeat, ratio in _REPEATS]
    return {item.aspect: item.agreement for item in compare(repeats[0], repeats, changed)}


_SCENARIO = Scenario(
    name="a",
    kind="transcode",
    source=Source(name="a", file_name="a", synthetic=_CLIP),
    slowest_speed=0.01,
    encode=_ENCODE,
)
_REPEATS = ((1, 1.0), (2, 0.99), (3, 1.01))


def test_values_that_differ_are_named(results: tuple[Result, ...]) -> None:
    measured = results[0].measurement
    replace = msgspec.structs.replace

    def slower(found: Measurement) -> Measurement:
        return replace(found, encode=replace(found.encode, speed=found.encode.speed * 0.8))

    def worse(found: Measurement) -> Measurement:
        assert not isinstance(found.quality, type(found.energy))
        quality = replace(found.quality, vmaf_mean=found.quality.vmaf_mean - 0.1)
        return replace(found, quality=quality)

    def other_bytes(found: Measurement) -> Measurement:
        return replace(found, output=replace(found.output, sha256="0" * 64))

    def other_command(found: Measurement) -> Measurement:
        argv = (*found.provenance.argv, "-x")
        return replace(found, provenance=replace(found.provenance, argv=argv))

    def other_host(found: Measurement) -> Measurement:
        return replace(found, environment=replace(found.environment, cpu_model="other"))

    for change, aspect, agreement in (
        (slower, "speed", Agreement.DISAGREES),
        (worse, "quality", Agreement.DISAGREES),
        (other_bytes, "bytes", Agreement.DISAGREES),
        (other_command, "command", Agreement.DISAGREES),
        (other_host, "speed", Agreement.UNAVAILABLE),
    ):
        agreements = _replaced(measured, change)
        assert agreements.pop(aspect) is agreement, change.__name__
        assert set(agreements.values()) == {Agreement.AGREES}, change.__name__


def test_the_interval_is_a_prediction_interval() -> None:
    # Logarithms -0.1, 0 and 0.1: s = 0.1, t = 9.925, √(1 + 1/3) = 1.1547; 1.1460 in all.
    interval = speed_interval([0.904837, 1.0, 1.105171])
    assert interval is not None
    assert interval.low == pytest.approx(0.31789, rel=1e-3)
    assert interval.high == pytest.approx(3.1457, rel=1e-3)
    # Equal speeds: the least half width is 2 %.
    equal = speed_interval([2.0] * 30)
    assert equal is not None
    assert equal.high == pytest.approx(2.04)
    # t is 2.750 for 30 degrees of freedom.
    many = speed_interval([0.9, 1.1] * 15 + [1.0])
    assert many is not None
    spread = 0.1 * 1.0036 * (31 / 30) ** 0.5
    assert many.high / many.low == pytest.approx(2.718281828 ** (2 * 2.750 * spread), rel=0.02)
    assert speed_interval([1.0, 2.0]) is None
