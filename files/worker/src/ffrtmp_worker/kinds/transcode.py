"""Encode a source as fast as the machine can, then measure what came out."""

import errno
import os
import shutil
import signal
from pathlib import Path, PurePath

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.measurement import (
    EncodeMeasurement,
    Measurement,
    Provenance,
    QualityMeasurement,
    Unavailable,
)
from ffrtmp_shared.models import Progress

from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.probe import UnreadableFileError, VideoProbe, probe
from ffrtmp_worker.ffmpeg.process import Outcome, StoppedBy
from ffrtmp_worker.ffmpeg.progress import ProgressParser
from ffrtmp_worker.kinds.attempt import ENCODE_LOG_NAME, Attempt
from ffrtmp_worker.measure import output as outputs
from ffrtmp_worker.measure import quality
from ffrtmp_worker.measure.environment import EnvironmentWatch
from ffrtmp_worker.verdict import AttemptFailedError

_NO_SPACE = os.strerror(errno.ENOSPC)
_SAFE_SUFFIX_LENGTH = 8


def run(attempt: Attempt) -> Measurement:
    """Fetch, encode, check and compare; raises AttemptFailedError with the verdict."""
    return _Transcode(attempt).run()


class _Transcode:
    """One attempt on its way through the stages."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._tools = attempt.tools
        self._settings = attempt.scenario.encode
        self._source_name = f"source{_suffix(attempt.scenario.source.file_name)}"

    def run(self) -> Measurement:
        self._check_scenario()
        self._check_space()
        self._attempt.report(Progress(stage="fetch"))
        self._attempt.fetch(self._attempt.scenario.source, self._path(self._source_name))
        self._attempt.check_stop()
        source = self._probe_source()
        argv = command.encode(
            self._settings, self._tools.ffmpeg, self._source_name, command.OUTPUT_NAME
        )
        watch = EnvironmentWatch()
        encode = self._encode(argv, source)
        environment = watch.finish()
        output = self._probe_output(source)
        measured = outputs.measure(self._path(command.OUTPUT_NAME), output)
        compared = self._compare(source, output)
        self._attempt.check_stop()
        return Measurement(
            encode=encode,
            output=measured,
            quality=compared,
            environment=environment,
            provenance=Provenance(
                argv=tuple(argv),
                ffmpeg=self._tools.ffmpeg_build,
                quality_ffmpeg=self._tools.quality_ffmpeg_build,
                source_sha256=self._attempt.scenario.source.sha256,
                agent_version=self._tools.agent_version,
            ),
        )

    def _path(self, name: str) -> Path:
        return self._attempt.folder / name

    def _check_scenario(self) -> None:
        problems = self._settings.problems()
        if self._attempt.scenario.slowest_speed <= 0:
            problems.append(
                f"slowest_speed must be above 0, not {self._attempt.scenario.slowest_speed:g}"
            )
        if problems:
            raise AttemptFailedError(FailureClass.INVALID_SETTINGS, "; ".join(problems))
        if self._settings.encoder not in self._tools.encoders:
            proved = ", ".join(sorted(self._tools.encoders)) or "none"
            raise AttemptFailedError(
                FailureClass.ENCODER_UNAVAILABLE,
                f"{self._settings.encoder} does not work on this node; those that do: {proved}",
            )

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._attempt.folder).free
        if free < self._tools.min_free_bytes:
            raise AttemptFailedError(
                FailureClass.NODE,
                f"{free} bytes are free in the work folder, fewer than the "
                f"{self._tools.min_free_bytes} of the setting min_free_bytes",
            )

    def _probe_source(self) -> VideoProbe:
        try:
            source = probe(self._tools.ffprobe, self._path(self._source_name))
        except UnreadableFileError as error:
            raise AttemptFailedError(
                FailureClass.SOURCE_UNREADABLE, str(error), error.log_tail
            ) from error
        problems = outputs.source_problems(source)
        if problems:
            raise AttemptFailedError(FailureClass.SOURCE_UNREADABLE, "; ".join(problems))
        return source

    def _encode(self, argv: list[str], source: VideoProbe) -> EncodeMeasurement:
        listener = _ProgressListener(self._attempt, source)
        outcome = process.run(
            argv,
            cwd=self._attempt.folder,
            log=self._path(ENCODE_LOG_NAME),
            deadline_s=self._deadline_s(source),
            stop=self._attempt.is_stopped,
            on_line=listener.hear,
        )
        if outcome.stopped_by is not None or outcome.exit_code:
            raise self._verdict(outcome, source)
        return EncodeMeasurement(
            wall_s=outcome.wall_s,
            user_s=outcome.user_s,
            system_s=outcome.system_s,
            max_rss_kib=outcome.max_rss_kib,
            frames=listener.frames,
            fps=listener.frames / outcome.wall_s,
            speed=_duration_s(source) / outcome.wall_s,
            first_frame_s=listener.first_frame_s,
        )

    def _verdict(self, outcome: Outcome, source: VideoProbe) -> AttemptFailedError:
        """Say whose fault it is that the encode did not end as it should."""
        tail = outcome.log_tail
        if outcome.stopped_by is StoppedBy.CALLER:
            return AttemptFailedError(
                FailureClass.STOPPED, self._attempt.stop_reason() or "stopped", tail
            )
        if outcome.stopped_by is StoppedBy.DEADLINE:
            return AttemptFailedError(
                FailureClass.DEADLINE_EXCEEDED,
                f"the encode was not done after {self._deadline_s(source):.1f} s: it is slower "
                f"than {self._attempt.scenario.slowest_speed:g} times real time",
                tail,
            )
        if outcome.exit_code < 0:
            name = signal.Signals(-outcome.exit_code).name
            return AttemptFailedError(
                FailureClass.KILLED,
                f"FFmpeg was ended by {name}, which the agent did not send",
                tail,
            )
        if _NO_SPACE in tail:
            return AttemptFailedError(FailureClass.NODE, "the work folder's disk is full", tail)
        decoded = process.run(
            command.decode(self._tools.ffmpeg, self._source_name),
            cwd=self._attempt.folder,
            log=self._path("decode.log"),
            deadline_s=self._deadline_s(source),
            stop=self._attempt.is_stopped,
        )
        if decoded.stopped_by is None and decoded.exit_code > 0:
            return AttemptFailedError(
                FailureClass.SOURCE_UNREADABLE, "the source cannot be decoded", decoded.log_tail
            )
        return AttemptFailedError(
            FailureClass.ENCODE_FAILED, f"FFmpeg failed with code {outcome.exit_code}", tail
        )

    def _probe_output(self, source: VideoProbe) -> VideoProbe:
        try:
            output = probe(self._tools.ffprobe, self._path(command.OUTPUT_NAME))
        except UnreadableFileError as error:
            raise AttemptFailedError(
                FailureClass.OUTPUT_MISMATCH, str(error), error.log_tail
            ) from error
        wrong = outputs.mismatches(self._settings, source, output)
        if wrong:
            raise AttemptFailedError(FailureClass.OUTPUT_MISMATCH, "; ".join(wrong))
        return output

    def _compare(self, source: VideoProbe, output: VideoProbe) -> QualityMeasurement | Unavailable:
        self._attempt.report(Progress(stage="quality", frames=output.frames, ratio=1.0))
        how = quality.QualityPass(
            ffmpeg=self._tools.quality_ffmpeg,
            folder=self._attempt.folder,
            threads=self._tools.vmaf_threads,
            deadline_s=self._deadline_s(source),
        )
        return quality.measure(
            how,
            distorted=quality.Clip(name=command.OUTPUT_NAME, probe=output),
            reference=quality.Clip(name=self._source_name, probe=source),
            stop=self._attempt.is_stopped,
        )

    def _deadline_s(self, source: VideoProbe) -> float:
        return _duration_s(source) / self._attempt.scenario.slowest_speed


class _ProgressListener:
    """Turns FFmpeg's reports into ours, with speeds of the last interval instead of averages."""

    def __init__(self, attempt: Attempt, source: VideoProbe) -> None:
        self._attempt = attempt
        self._source = source
        self._parser = ProgressParser()
        self._last_s = 0.0
        self.frames = 0
        self.first_frame_s: float | Unavailable = Unavailable(
            reason="FFmpeg never reported a frame"
        )

    def hear(self, line: str, elapsed_s: float) -> None:
        block = self._parser.feed(line)
        if block is None or block.frames is None:
            return
        if block.frames and isinstance(self.first_frame_s, Unavailable):
            self.first_frame_s = elapsed_s
        fps = (block.frames - self.frames) / max(elapsed_s - self._last_s, 0.001)
        self.frames, self._last_s = block.frames, elapsed_s
        self._attempt.report(
            Progress(
                stage="encode",
                frames=self.frames,
                fps=fps,
                speed=fps / float(self._source.frame_rate),
                ratio=min(self.frames / self._source.frames, 1.0),
            )
        )


def _duration_s(source: VideoProbe) -> float:
    return source.frames / float(source.frame_rate)


def _suffix(file_name: str) -> str:
    """Return the suffix of a name from the network if it is harmless, else nothing."""
    suffix = PurePath(file_name).suffix
    harmless = suffix[1:].isascii() and suffix[1:].isalnum()
    return suffix if harmless and len(suffix) <= _SAFE_SUFFIX_LENGTH else ""
