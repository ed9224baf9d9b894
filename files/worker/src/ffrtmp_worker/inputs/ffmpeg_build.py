"""Preparation of FFmpeg builds that suites provide: they are fetched, identified and tested."""

import errno
from dataclasses import replace
from pathlib import Path

from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.provenance import FfmpegBuild
from ffrtmp_shared.stages import Stage

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import elf
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError, identify_build
from ffrtmp_worker.ffmpeg.encoder_check import check_encoder
from ffrtmp_worker.inputs.fetcher import SourceFetcher
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.preparation import check_scenario, check_space

PLACE = Path("under-test", "ffmpeg")
"""Path of the build in an attempt's folder; it is the first word of the commands that are timed."""

_SWITCH = "worker_allow_ffmpeg_under_test"

# Error numbers that are due to the file: its loader is missing or its format is unknown.
_FAULTS_OF_THE_FILE = (errno.ENOENT, errno.ENOEXEC, errno.ELIBBAD, errno.ENOTDIR)

# Classes for damaged or unreadable sources. For an FFmpeg build, FFMPEG_UNUSABLE replaces them.
_FAULTS_OF_THE_CONTENT = (FailureClass.SOURCE_CHECKSUM, FailureClass.SOURCE_UNREADABLE)


class BuildCache:
    """Provides attempts with the FFmpeg builds of their scenarios.

    The properties of a build are cached by its digest, so that it is started only once to print
    its version, and once for each encoder to test.
    """

    def __init__(
        self, fetcher: SourceFetcher, *, is_allowed: bool, timeout_s: float = 30.0
    ) -> None:
        """Create the cache.

        Args:
            fetcher: the fetcher that retrieves the builds.
            is_allowed: whether this node runs builds that suites provide, or refuses them.
            timeout_s: the maximum time for printing the version, in seconds.
        """
        self._fetcher = fetcher
        self._is_allowed = is_allowed
        self._timeout_s = timeout_s
        self._known: dict[str, FfmpegBuild] = {}
        self._tested: set[tuple[str, str]] = set()

    def tools_for(self, attempt: Attempt, client: MasterClient) -> Attempt:
        """Return the attempt with the FFmpeg of its scenario in its tools.

        An attempt that uses the farm's FFmpeg is returned unchanged. The quality pass, probes and
        checks always use the farm's FFmpeg. Raises AttemptFailedError if the build cannot be used
        on this node, and OSError if the file cannot be written.
        """
        given = attempt.scenario.ffmpeg
        if given is None or not given.is_given:
            return attempt
        if not self._is_allowed:
            raise AttemptFailedError(
                FailureClass.INVALID_SETTINGS,
                f"this node runs only its own FFmpeg: {_SWITCH} is false here",
            )
        check_scenario(attempt)
        check_space(attempt)
        attempt.enter(Stage.FETCH)
        binary = attempt.folder / PLACE
        binary.parent.mkdir()
        digest = self._fetch(attempt, client, given, binary)
        attempt.enter(Stage.FFMPEG_CHECK)
        build = self._identify(attempt, given, digest, binary)
        encoders = self._tested_encoders(attempt, given, build, binary)
        tools = replace(attempt.tools, ffmpeg=PLACE, ffmpeg_build=build, encoders=encoders)
        return replace(attempt, tools=tools)

    def _fetch(
        self, attempt: Attempt, client: MasterClient, given: FfmpegUnderTest, binary: Path
    ) -> str:
        try:
            digest = self._fetcher.fetch_ffmpeg(client, given, binary, attempt.check_stop)
        except AttemptFailedError as error:
            failure_class = error.failure_class
            if failure_class is FailureClass.STOPPED:
                raise
            if failure_class in _FAULTS_OF_THE_CONTENT:
                failure_class = FailureClass.FFMPEG_UNUSABLE
            raise AttemptFailedError(failure_class, f"FFmpeg {given.name}: {error}") from error
        reason = elf.unsupported_reason(binary)
        if reason:
            raise _unusable(given, reason)
        # Executable but read-only, because it is usually a hard link to the file in the cache.
        binary.chmod(0o555)
        return digest

    def _identify(
        self, attempt: Attempt, given: FfmpegUnderTest, digest: str, binary: Path
    ) -> FfmpegBuild:
        known = self._known.get(digest)
        if known is not None:
            return known
        try:
            build = identify_build(binary, timeout_s=self._timeout_s, stop=attempt.is_stopped)
        except UnusableFfmpegError as error:
            attempt.check_stop()
            raise _not_identified(given, error) from error
        attempt.check_stop()
        if build.sha256 != digest:
            raise _unusable(given, "it changed its own file while it ran")
        self._known[digest] = build
        return build

    def _tested_encoders(
        self, attempt: Attempt, given: FfmpegUnderTest, build: FfmpegBuild, binary: Path
    ) -> frozenset[str]:
        """Test and return the scenario's encoder; the result is empty if nothing is encoded."""
        encoder = attempt.scenario.encoder
        if encoder is None:
            return frozenset()
        if (build.sha256, encoder) not in self._tested:
            proof = check_encoder(encoder, binary, attempt.is_stopped)
            attempt.check_stop()
            if not proof.works:
                raise AttemptFailedError(
                    FailureClass.ENCODER_UNAVAILABLE,
                    f"{encoder} does not work on this node with FFmpeg {given.name} "
                    f"({build.version})",
                    proof.log_tail,
                )
            self._tested.add((build.sha256, encoder))
        return frozenset((encoder,))


def _unusable(given: FfmpegUnderTest, reason: str, log_tail: str = "") -> AttemptFailedError:
    return AttemptFailedError(
        FailureClass.FFMPEG_UNUSABLE, f"FFmpeg {given.name} cannot be used: {reason}", log_tail
    )


def _not_identified(given: FfmpegUnderTest, error: UnusableFfmpegError) -> AttemptFailedError:
    """Return the error for a build that could not be identified; its class depends on the cause."""
    if error.errno is None:
        return _unusable(given, str(error), error.log_tail)
    if error.errno == errno.ENOENT:
        return _unusable(given, "the loader that it requires does not exist on this node")
    if error.errno in _FAULTS_OF_THE_FILE:
        return _unusable(given, str(error))
    return AttemptFailedError(
        FailureClass.NODE,
        f"FFmpeg {given.name} could not be started: {error}; "
        "the folder of the agent's files must not be mounted noexec",
    )
