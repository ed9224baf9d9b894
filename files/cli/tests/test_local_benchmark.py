"""Tests of requests that `ffrtmp local` refuses before it starts a farm."""

import os
from pathlib import Path

import pytest
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.local.benchmark import Request, _submit, resuming_arguments, run_benchmark
from ffrtmp_cli.local.paths import LocalPaths
from ffrtmp_cli.local.session_file import Session
from ffrtmp_client.api import Json, Master
from rich.console import Console

from .local_clips import FFMPEG


def _run(path: Path, folder: Path, output: Path | None = None) -> None:
    request = Request(
        path=path, output=output, ffmpeg=FFMPEG, ffprobe=None, allow_builds=False, is_new=False
    )
    with Path(os.devnull).open("w") as file:
        run_benchmark(request, LocalPaths(folder / "state", folder / "cache"), Console(file=file))


def test_the_errors_of_a_suite_have_their_positions(tmp_path: Path) -> None:
    suite = tmp_path / "bad.yml"
    suite.write_text(
        "name: bad\n"
        "sources: [{name: clip, file: clip.mp4, sha256: 1}]\n"
        "encodes: [{name: x, encoder: libx266, rate_points: [{crf: 23}]}]\n"
    )
    with pytest.raises(CommandError, match=r"bad\.yml:3:\d+: .*libx266") as raised:
        _run(suite, tmp_path)
    assert raised.value.code is ExitCode.USAGE


def test_results_of_another_run_are_not_overwritten(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"content")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/results.json").write_text("{}")
    with pytest.raises(CommandError, match="results of another run: choose another --output"):
        _run(clip, tmp_path, tmp_path / "results")


def test_a_file_as_the_directory_for_results_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"content")
    with pytest.raises(CommandError, match="cannot be written: choose a directory of yours"):
        _run(clip, tmp_path, clip / "results")


def test_the_command_that_resumes_does_not_discard_the_results() -> None:
    arguments = ["local", "s.yml", "--new", "--output", "results"]
    assert resuming_arguments(arguments) == ["local", "s.yml", "--output", "results"]
    # After `--`, it is the name of a file.
    assert resuming_arguments(["local", "--new", "--", "--new"]) == ["local", "--", "--new"]


def test_an_interrupt_before_the_farm_runs_says_that_results_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ffrtmp_cli.local.benchmark.check_space", interrupt)
    monkeypatch.setattr("sys.argv", ["ffrtmp", "local", "--new", "s.yml"])
    suite = tmp_path / "s.yml"
    suite.write_text("name: s\n")
    with pytest.raises(CommandError, match=r"results so far are kept.*local s\.yml$") as raised:
        _run(suite, tmp_path)
    assert raised.value.code is ExitCode.INTERRUPTED


class _FarmReachedError(Exception):
    """The farm would be started now."""


@pytest.mark.slow
def test_the_results_of_an_interrupted_run_can_be_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results that belong to the run of the session are checked after the start of the farm."""

    def reach(*_arguments: object, **_options: object) -> None:
        raise _FarmReachedError

    monkeypatch.setattr("ffrtmp_cli.local.benchmark.running_farm", reach)
    suite = tmp_path / "s.yml"
    suite.write_text(
        f"name: s\nsources: [{{name: clip, file: clip.mp4, sha256: {'a' * 64}}}]\n"
        "encodes: [{name: x, encoder: libx264}]\nrate_points: [{crf: 23}]\n"
    )
    with pytest.raises(_FarmReachedError):
        _run(suite, tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/results.json").write_text('{"run": {"id": "1"}}')
    with pytest.raises(_FarmReachedError):
        _run(suite, tmp_path, tmp_path / "results")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("bad.yml", b"name: bad\n", ExitCode.USAGE),
        ("bad.yml", b"\xff\xfe", ExitCode.USAGE),
        ("bad.mp4", b"not a clip", ExitCode.USAGE),
        ("absent.yml", None, ExitCode.NOT_FOUND),
    ],
)
def test_a_rejected_clip_or_suite_leaves_no_session(
    tmp_path: Path, name: str, content: bytes | None, code: ExitCode
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CommandError) as raised:
        _run(tmp_path / name, tmp_path)
    assert raised.value.code is code
    assert list((tmp_path / "state").glob("sessions/*")) == []


class _MasterWithoutEncoder(Master):
    """A master that plans as the real one does if no node has the encoder."""

    def __init__(self) -> None:
        pass

    def send(self, _method: str, path: str, body: Json, _headers: object) -> Json:  # type: ignore[override]
        assert path == "/v1/runs/plan"
        assert body["when_unmet"] == "wait", "the plan would be refused without the remedy"
        return {"waiting": [{"scenarios": ["clip/nvenc"], "reason": "no h264_nvenc"}]}


def test_an_encoder_that_this_computer_lacks_is_reported_with_the_remedy() -> None:
    session = Session(suite="name: s\n", suite_path="s.yml", expected_s=None, remarks=(), clip=None)
    with pytest.raises(CommandError, match="use another FFmpeg: --ffmpeg PATH") as raised:
        _submit(_MasterWithoutEncoder(), session, lambda _text: None)
    assert raised.value.details == ("clip/nvenc: no h264_nvenc",)
