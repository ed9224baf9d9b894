"""Instructions for running a stored encode by hand."""

import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from ffrtmp_shared.models import Result
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.ffmpeg.synthetic_source import synthetic_source

from ffrtmp_cli.ffmpeg_origin import FfmpegOrigin

_UNKNOWN_CONFIGURATION = Unavailable(
    reason="the result does not contain it; name the same build with --ffmpeg"
)


class BuildInstructions(msgspec.Struct, frozen=True, kw_only=True):
    """The FFmpeg of an encode.

    Attributes:
        version: The version that it reports.
        sha256: The SHA-256 of the program.
        configuration: The configure line of the build.
        url: The URL of a build that the suite lists; otherwise null.
    """

    version: str
    sha256: str
    configuration: str | Unavailable
    url: str | None


class SourceInstructions(msgspec.Struct, frozen=True, kw_only=True):
    """The source of an encode.

    Attributes:
        name: The name of the source.
        file_name: The name of its file.
        sha256: The SHA-256 of the file.
        place: The name under which the commands read it.
        url: Its URL; null if the suite names a file.
        command: The command that generates a synthetic source with the quality FFmpeg; empty for
            other sources.
    """

    name: str
    file_name: str
    sha256: str
    place: str
    url: str | None
    command: tuple[str, ...]


class Instructions(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to run an encode by hand.

    Attributes:
        result_id: The id of the result.
        job_id: The id of the job.
        scenario: The name of the scenario.
        kind: The kind of the scenario, such as `transcode`.
        node: The node that measured it.
        repeat: The number of the repeat, from 1.
        commands: The commands, which have to be run in their order, in one working directory that
            contains the source.
        ffmpeg: The FFmpeg of the encode.
        quality_ffmpeg: The FFmpeg of the quality measurement.
        source: The source.
    """

    result_id: str
    job_id: str
    scenario: str
    kind: str
    node: str
    repeat: int
    commands: tuple[tuple[str, ...], ...]
    ffmpeg: BuildInstructions
    quality_ffmpeg: BuildInstructions
    source: SourceInstructions


def instructions_of(result: Result, local: FfmpegOrigin | None, program: str) -> Instructions:
    """Return the instructions for a result.

    Args:
        result: The result.
        local: The FFmpeg of this host, whose configure line is used if it is the same build.
        program: The path of FFmpeg in the commands.
    """
    scenario, provenance = result.scenario, result.measurement.provenance
    under_test = scenario.ffmpeg
    synthetic = scenario.source.synthetic
    place = _input(provenance.argv)
    return Instructions(
        result_id=str(result.id),
        job_id=str(result.job_id),
        scenario=scenario.name,
        kind=scenario.kind,
        node=result.node,
        repeat=result.repeat,
        commands=tuple(
            (program, *argv[1:]) for argv in (provenance.argv, *provenance.more_argv) if argv
        ),
        ffmpeg=BuildInstructions(
            version=provenance.ffmpeg.version,
            sha256=provenance.ffmpeg.sha256,
            configuration=_configuration(provenance.ffmpeg.sha256, local),
            url=None if under_test is None else under_test.url,
        ),
        quality_ffmpeg=BuildInstructions(
            version=provenance.quality_ffmpeg.version,
            sha256=provenance.quality_ffmpeg.sha256,
            configuration=_configuration(provenance.quality_ffmpeg.sha256, local),
            url=None,
        ),
        source=SourceInstructions(
            name=scenario.source.name,
            file_name=scenario.source.file_name,
            sha256=provenance.source_sha256,
            place=place,
            url=scenario.source.url,
            command=(
                ()
                if synthetic is None
                else tuple(synthetic_source(synthetic, Path(program), place))
            ),
        ),
    )


def instruction_lines(instructions: Instructions) -> list[str]:
    """Return the instructions as lines of text, whose commands can be copied into a shell."""
    source, build = instructions.source, instructions.ffmpeg
    lines = [
        f"Result   {instructions.result_id} of {instructions.scenario}",
        f"         repeat {instructions.repeat}, node {instructions.node}",
        f"Job      {instructions.job_id}",
        f"Source   {source.name}: {source.file_name}, SHA-256 {source.sha256}",
        f"FFmpeg   {build.version}, SHA-256 {build.sha256}",
        f"         configuration: {_shown(build.configuration)}",
    ]
    if build.url is not None:
        lines.append(f"         {build.url}")
    if instructions.quality_ffmpeg.sha256 != build.sha256:
        other = instructions.quality_ffmpeg
        lines.append(f"Quality  FFmpeg {other.version}, SHA-256 {other.sha256}")
    lines += ["", "Run these commands in an empty directory:", ""]
    if source.command:
        lines.append(f"    {shlex.join(source.command)}")
    elif source.url is not None:
        lines.append(
            f"    curl --fail --output {shlex.quote(source.place)} {shlex.quote(source.url)}"
        )
    else:
        lines.append(f"    cp {shlex.quote(source.file_name)} {shlex.quote(source.place)}")
    digest = shlex.quote(f"{source.sha256}  {source.place}")
    lines.append(f"    echo {digest} | sha256sum --check")
    return lines + [f"    {shlex.join(command)}" for command in instructions.commands]


def _shown(configuration: str | Unavailable) -> str:
    if isinstance(configuration, Unavailable):
        return f"unavailable ({configuration.reason})"
    return configuration


def _configuration(sha256: str, local: FfmpegOrigin | None) -> str | Unavailable:
    return local.configuration if local and local.sha256 == sha256 else _UNKNOWN_CONFIGURATION


def _input(argv: Sequence[str]) -> str:
    """Return the file that a command reads: the argument that follows its last option -i."""
    places = [following for option, following in pairwise(argv) if option == "-i"]
    return places[-1] if places else "source"
