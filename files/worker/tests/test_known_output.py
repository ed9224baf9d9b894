"""Tests that known sources and outputs are not measured again, with a real FFmpeg."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow.parquet
import pytest
from ffrtmp_shared.measurement import Measurement, QualityMeasurement
from ffrtmp_shared.scenario import (
    EncodeSettings,
    LadderSettings,
    QualitySettings,
    Rendition,
    Scenario,
)
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.agent import scores_file
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.build_info import FfmpegBuild
from ffrtmp_worker.ffmpeg.probe import probe_video
from ffrtmp_worker.ffmpeg.program_identity import ProgramIdentity
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.output_check import check_output
from ffrtmp_worker.kinds.steps.preparation import prepare_source
from ffrtmp_worker.measure.measurement_cache import MeasurementCache
from ffrtmp_worker.measure.quality import LOG_NAME

from .conftest import attempt, scenario

ALL = ("source", "output", "quality")
SWITCHED_OFF = Unavailable(reason="the suite switched it off (quality)")


@pytest.fixture
def run(clip: Path, caching: Tools, tmp_path: Path) -> Callable[..., Measurement]:
    """Return a function that runs a scenario in a new folder, which it names `aN`."""
    folders = iter(range(100))

    def run_scenario(spec: Scenario | None = None, tools: Tools = caching) -> Measurement:
        folder = tmp_path / f"a{next(folders)}"
        return kinds.run_attempt(attempt(spec or scenario(clip), clip, folder, tools))

    return run_scenario


def _entries(tmp_path: Path, name: str) -> list[Path]:
    return list((tmp_path / "cache").glob(f"measured-{name}-*"))


def _scores(folder: Path) -> pyarrow.Table:
    scores_file.write_score_files(folder)
    return pyarrow.parquet.read_table(folder / "scores.parquet")


@pytest.mark.slow
def test_a_repeat_with_equal_bytes_is_not_measured_again(
    run: Callable[..., Measurement], tmp_path: Path
) -> None:
    first, second = run(), run()
    assert (first.cached_values, first.cache_faults) == ((), ())
    assert (second.cached_values, second.cache_faults) == (ALL, ())
    assert isinstance(first.quality, QualityMeasurement)
    assert (second.quality, second.output, second.source) == (
        first.quality,
        first.output,
        first.source,
    )
    assert (tmp_path / "a0" / "quality.log").exists()
    for log in ("quality.log", "digest.log", "content.log"):
        assert not (tmp_path / "a1" / log).exists()
    # The scores of every frame are those of the first result.
    scores = _scores(tmp_path / "a1")
    assert scores.num_rows == 40
    assert scores.equals(_scores(tmp_path / "a0"))
    assert msgspec.json.decode(msgspec.json.encode(second), type=Measurement) == second


@pytest.mark.slow
def test_a_differing_byte_is_measured_again(clip: Path, caching: Tools, tmp_path: Path) -> None:
    tried = attempt(scenario(clip), clip, tmp_path / "a", caching)
    source = prepare_source(tried)
    kinds.run_attempt(tried)
    known = tried.cache_record.values
    known.clear()
    settings = tried.scenario.encode
    assert settings is not None
    check_output(tried, settings, source, "output.mp4")
    assert known == ["output", "quality"]
    known.clear()
    # The name of the encoder in the file is not part of the video.
    output = tmp_path / "a" / "output.mp4"
    content = bytearray(output.read_bytes())
    content[content.rindex(b"Lavf")] ^= 1
    output.write_bytes(content)
    _, compared = check_output(tried, settings, source, "output.mp4")
    assert known == []
    assert isinstance(compared, QualityMeasurement)
    assert len(_entries(tmp_path, "quality")) == len(_entries(tmp_path, "decode")) == 2


@pytest.mark.slow
def test_a_different_source_is_measured_again(
    run: Callable[..., Measurement], clip: Path, caching: Tools, tmp_path: Path
) -> None:
    run()
    other = tmp_path / "other.mp4"
    # The same pictures in a file with another digest.
    content = bytearray(clip.read_bytes())
    content[content.rindex(b"Lavf")] ^= 1
    other.write_bytes(content)
    measured = kinds.run_attempt(attempt(scenario(other), other, tmp_path / "b", caching))
    assert measured.cached_values == ("output",)


class _OtherIdentity(ProgramIdentity):
    """The identity of another program at the same path."""

    def fingerprint(self) -> str:
        return "f" * 64


@pytest.mark.slow
@pytest.mark.parametrize("program", ["quality_ffmpeg", "ffprobe"])
def test_values_of_another_program_are_not_used(
    run: Callable[..., Measurement], caching: Tools, program: str
) -> None:
    run()
    identity = _OtherIdentity(getattr(caching, program))
    if program == "ffprobe":
        other, expected = replace(caching, ffprobe_identity=identity), ("quality",)
    else:
        other, expected = replace(caching, quality_identity=identity), ()
    assert run(tools=other).cached_values == expected
    assert run(tools=other).cached_values == ALL


@pytest.mark.slow
def test_values_of_another_agent_are_not_used(
    run: Callable[..., Measurement], caching: Tools
) -> None:
    run()
    assert run(tools=replace(caching, agent_version="0.1.1")).cached_values == ()


@pytest.mark.slow
def test_a_program_that_cannot_be_identified_measures_each_time(
    run: Callable[..., Measurement], caching: Tools, tmp_path: Path
) -> None:
    script = tmp_path / "ffprobe"
    script.write_text(f'#!/bin/sh\nexec "{caching.ffprobe}" "$@"\n')
    script.chmod(0o755)
    tools = replace(caching, ffprobe=script, ffprobe_identity=ProgramIdentity(script))
    run(tools=tools)
    assert run(tools=tools).cached_values == ("quality",)
    assert _entries(tmp_path, "probe") == []


@pytest.mark.slow
def test_a_program_that_is_replaced_during_the_measurement_stores_nothing(
    clip: Path, caching: Tools, tmp_path: Path
) -> None:
    class Replaced(ProgramIdentity):
        """The identity of a program that is always being replaced."""

        count = 0

        def fingerprint(self) -> str:
            self.count += 1
            return str(self.count)

    program = Replaced(caching.ffprobe)
    tools = replace(caching, ffprobe_identity=program, quality_identity=program)
    kinds.run_attempt(attempt(scenario(clip), clip, tmp_path / "a", tools))
    assert all(_entries(tmp_path, name) == [] for name in ("probe", "complexity", "decode"))
    assert _entries(tmp_path, "quality") == []


@pytest.mark.slow
def test_the_ffmpeg_that_encodes_does_not_matter(
    run: Callable[..., Measurement], caching: Tools
) -> None:
    run()
    build = FfmpegBuild(version="other", sha256="f" * 64)
    assert run(tools=replace(caching, ffmpeg_build=build)).cached_values == ALL


@pytest.mark.slow
def test_the_number_of_threads_does_not_matter(
    run: Callable[..., Measurement], caching: Tools
) -> None:
    run(tools=replace(caching, vmaf_threads=1))
    assert run(tools=replace(caching, vmaf_threads=2)).cached_values == ALL


@pytest.mark.slow
def test_another_model_is_not_mixed_up(
    run: Callable[..., Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    monkeypatch.setattr("ffrtmp_worker.measure.quality_graph._LINES_4K", 100)
    measured = run()
    assert measured.cached_values == ("source", "output")
    assert isinstance(measured.quality, QualityMeasurement)
    assert measured.quality.vmaf_model == "vmaf_4k_v0.6.1"


@pytest.mark.slow
def test_scores_that_the_suite_switches_off(
    run: Callable[..., Measurement], clip: Path, tmp_path: Path
) -> None:
    full = run().quality
    spec = msgspec.structs.replace(
        scenario(clip), quality=QualitySettings(neg=False, psnr=False, ssim=False, xpsnr=False)
    )
    measured = run(spec)
    found = measured.quality
    assert measured.cached_values == ("source", "output")
    assert isinstance(full, QualityMeasurement)
    assert isinstance(found, QualityMeasurement)
    fields = ("vmaf_mean", "vmaf_harmonic_mean", "vmaf_min", "vmaf_p1", "vmaf_std", "pairs")
    assert [getattr(found, name) for name in fields] == [getattr(full, name) for name in fields]
    others = [name for name in found.__struct_fields__ if name.startswith(("psnr", "ssim", "xps"))]
    assert len(others) == 8
    assert {getattr(found, name) for name in ("vmaf_neg_mean", *others)} == {SWITCHED_OFF}
    command = (tmp_path / "a1" / "quality.log").read_text().splitlines()[0]
    assert "neg" not in command
    assert "ssim" not in command
    scores = _scores(tmp_path / "a1")
    assert scores["vmaf"].null_count == 0
    assert scores["vmaf_neg"].null_count == scores["psnr_y"].null_count == 40
    again = run(spec)
    assert again.cached_values == ALL
    assert again.quality == found
    assert _scores(tmp_path / "a2").equals(scores)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["neg", "psnr", "ssim", "xpsnr"])
def test_one_score_that_the_suite_switches_off(
    run: Callable[..., Measurement], clip: Path, field: str
) -> None:
    settings = QualitySettings(**{field: False})
    found = run(msgspec.structs.replace(scenario(clip), quality=settings)).quality
    assert isinstance(found, QualityMeasurement)
    missing = {
        name.split("_")[0] + ("_neg" if "neg" in name else "")
        for name in found.__struct_fields__
        if getattr(found, name) == SWITCHED_OFF
    }
    assert missing == {"vmaf_neg" if field == "neg" else field}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quality", "decode", "probe", "complexity"])
def test_a_damaged_entry_is_measured_again_and_reported(
    run: Callable[..., Measurement], tmp_path: Path, name: str
) -> None:
    first = run()
    entries = _entries(tmp_path, name)
    assert len(entries) == (2 if name == "probe" else 1)
    for entry in entries:
        content = bytearray(entry.read_bytes())
        content[-1] ^= 1
        entry.write_bytes(content)
    second = run()
    lost = {
        "quality": {"quality"},
        "decode": {"output"},
        "probe": {"source", "output"},
        "complexity": {"source"},
    }
    assert set(second.cached_values) == set(ALL) - lost[name]
    fault = f"{name}: the cache entry could not be used: its content does not match its digest"
    assert second.cache_faults == (fault,) * len(entries)
    assert (second.quality, second.output, second.source) == (
        first.quality,
        first.output,
        first.source,
    )
    assert (run().cached_values, run().cache_faults) == (ALL, ())


@pytest.mark.slow
def test_the_values_of_renditions_are_named(
    run: Callable[..., Measurement], clip: Path, tmp_path: Path
) -> None:
    encode = scenario(clip).encode
    assert isinstance(encode, EncodeSettings)
    small = msgspec.structs.replace(encode, width=160, height=90)
    spec = msgspec.structs.replace(
        scenario(clip),
        kind="ladder",
        encode=None,
        ladder=LadderSettings(
            renditions=(Rendition(name="big", encode=encode), Rendition(name="low", encode=small))
        ),
    )
    first, second = run(spec), run(spec)
    assert second.cached_values == (
        "source",
        "renditions.big.output",
        "renditions.big.quality",
        "renditions.low.output",
        "renditions.low.quality",
    )
    assert [r.quality for r in second.renditions] == [r.quality for r in first.renditions]
    log = Path(LOG_NAME)
    for name in ("big", "low"):
        assert (tmp_path / "a1" / f"{log.stem}-{name}{log.suffix}").exists()


@pytest.mark.slow
def test_a_full_cache_does_not_change_the_result(
    run: Callable[..., Measurement], caching: Tools, tmp_path: Path
) -> None:
    tiny = replace(caching, measurements=MeasurementCache(tmp_path / "cache", max_bytes=600))
    first, second = run(tools=tiny), run(tools=tiny)
    assert "quality" not in second.cached_values
    assert second.quality == first.quality
    assert sum(file.stat().st_size for file in (tmp_path / "cache").glob("measured-*")) <= 600


def test_a_damaged_file_is_probed_each_time(
    clip: Path, caching: Tools, ffmpeg: Path, tmp_path: Path
) -> None:
    truncated = tmp_path / "truncated.mkv"
    subprocess.run(
        [str(ffmpeg), "-v", "error", "-i", str(clip), "-c", "copy", str(tmp_path / "whole.mkv")],
        check=True,
    )
    truncated.write_bytes((tmp_path / "whole.mkv").read_bytes()[:-5000])
    assert probe_video(caching.ffprobe, truncated).complaints
    for folder in ("a", "b"):
        tried = attempt(scenario(truncated), truncated, tmp_path / folder, caching)
        with pytest.raises(AttemptFailedError, match="the source is damaged"):
            prepare_source(tried)
    assert _entries(tmp_path, "probe") == []
