"""FFmpegs that suites give: fetched, looked at and proved before anything is timed with them."""

import errno
from dataclasses import replace
from pathlib import Path

from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.measurement import FfmpegBuild
from ffrtmp_shared.models import Progress

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import elf
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError, identify_build
from ffrtmp_worker.ffmpeg.encoder_check import check_encoder
from ffrtmp_worker.inputs.fetcher import SourceFetcher
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.preparation import check_scenario, check_space

PLACE = Path("under-test", "ffmpeg")
"""Where it lies in an attempt's folder, and so the first word of the commands that are timed."""

_SWITCH = "worker_allow_ffmpeg_under_test"

# The kernel would have none of it, whatever node it is: no loader, no format that it knows.
_FAULTS_OF_THE_FILE = (errno.ENOENT, errno.ENOEXEC, errno.ELIBBAD, errno.ENOTDIR)

# What is wrong with a file that came is wrong with the job, not with its clip.
_FAULTS_OF_THE_CONTENT = (FailureClass.SOURCE_CHECKSUM, FailureClass.SOURCE_UNREADABLE)


class BuildCache:
    """Equips attempts with the FFmpegs that their scenarios give.

    What was found out of a build is remembered by its digest: it is started once to say its
    version, and once to prove each encoder.
    """

    def __init__(
        self, fetcher: SourceFetcher, *, is_allowed: bool, patience_s: float = 30.0
    ) -> None:
        """Refuse all of them unless `is_allowed`; wait `patience_s` seconds for a version."""
        self._fetcher = fetcher
        self._is_allowed = is_allowed
        self._patience_s = patience_s
        self._known: dict[str, FfmpegBuild] = {}
        self._proved: set[tuple[str, str]] = set()

    def tools_for(self, attempt: Attempt, client: MasterClient) -> Attempt:
        """Return the attempt with the FFmpeg of its scenario, or as it is if that is the farm's.

        Quality, probes and checks stay with the farm's own. Raises AttemptFailedError with the
        verdict, and OSError when the disk does not take the file.
        """
        given = attempt.scenario.ffmpeg
        if given is None or not given.is_given:
            return attempt
        if not self._is_allowed:
            raise AttemptFailedError(
                FailureClass.INVALID_SETTINGS,
                f"this node runs no FFmpeg but its own: {_SWITCH} is false here",
            )
        check_scenario(attempt)
        check_space(attempt)
        attempt.report(Progress(stage="fetch"))
        binary = attempt.folder / PLACE
        binary.parent.mkdir()
        digest = self._fetch(attempt, client, given, binary)
        build = self._identified(attempt, given, digest, binary)
        encoders = self._proved_for(attempt, given, build, binary)
        tools = replace(attempt.tools, ffmpeg=PLACE, ffmpeg_build=build, encoders=encoders)
        return replace(attempt, tools=tools)

    def _fetch(
        self, attempt: Attempt, client: MasterClient, given: FfmpegUnderTest, binary: Path
    ) -> str:
        try:
            digest = self._fetcher.fetch_ffmpeg(client, given, binary, attempt.check_stop)
        except AttemptFailedError as error:
            kind = error.failure_class
            if kind is FailureClass.STOPPED:
                raise
            if kind in _FAULTS_OF_THE_CONTENT:
                kind = FailureClass.FFMPEG_UNUSABLE
            raise AttemptFailedError(kind, f"FFmpeg {given.name}: {error}") from error
        unfit = elf.unsupported_reason(binary)
        if unfit:
            raise _unusable(given, unfit)
        # For all to run and nobody to change; the cache's own copy is the same file.
        binary.chmod(0o555)
        return digest

    def _identified(
        self, attempt: Attempt, given: FfmpegUnderTest, digest: str, binary: Path
    ) -> FfmpegBuild:
        known = self._known.get(digest)
        if known is not None:
            return known
        try:
            build = identify_build(binary, timeout_s=self._patience_s, stop=attempt.is_stopped)
        except UnusableFfmpegError as error:
            attempt.check_stop()
            raise _not_identified(given, error) from error
        attempt.check_stop()
        if build.sha256 != digest:
            raise _unusable(given, "it changed its own file when it was run")
        self._known[digest] = build
        return build

    def _proved_for(
        self, attempt: Attempt, given: FfmpegUnderTest, build: FfmpegBuild, binary: Path
    ) -> frozenset[str]:
        """Return the scenario's encoder, proved with this build; nothing if it encodes nothing."""
        encoder = attempt.scenario.encoder
        if encoder is None:
            return frozenset()
        if (build.sha256, encoder) not in self._proved:
            proof = check_encoder(encoder, binary, attempt.is_stopped)
            attempt.check_stop()
            if not proof.works:
                raise AttemptFailedError(
                    FailureClass.ENCODER_UNAVAILABLE,
                    f"{encoder} does not work on this node with FFmpeg {given.name} "
                    f"({build.version})",
                    proof.log_tail,
                )
            self._proved.add((build.sha256, encoder))
        return frozenset((encoder,))


def _unusable(given: FfmpegUnderTest, why: str, log_tail: str = "") -> AttemptFailedError:
    return AttemptFailedError(
        FailureClass.FFMPEG_UNUSABLE, f"FFmpeg {given.name} cannot be used: {why}", log_tail
    )


def _not_identified(given: FfmpegUnderTest, error: UnusableFfmpegError) -> AttemptFailedError:
    """Say whose fault it is that the build did not say its version."""
    if error.errno is None:
        return _unusable(given, str(error), error.log_tail)
    if error.errno == errno.ENOENT:
        return _unusable(given, "the loader that it names is not on this node")
    if error.errno in _FAULTS_OF_THE_FILE:
        return _unusable(given, str(error))
    return AttemptFailedError(
        FailureClass.NODE,
        f"FFmpeg {given.name} was not started: {error}; the folder of the agent's files must not "
        "be mounted noexec",
    )
