"""Retrieval of sources and FFmpeg builds, and generation of synthetic sources."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.scenario import Source, SyntheticSource

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import process, synthetic_source
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.inputs.download import UrlAccess, download_url, shown_url
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.encode_failures import killed
from ffrtmp_worker.measure.cgroup import MemoryLimit

_NOT_FOUND = 404
# Minimum speed of the generation of a synthetic source, as a multiple of real time.
_MIN_GENERATION_SPEED = 0.01


class SourceFetcher:
    """Places sources in the folders of attempts, from the node's cache if possible."""

    def __init__(
        self,
        cache: SourceCache,
        tools: Tools,
        max_bytes: int,
        urls: UrlAccess | None = None,
    ) -> None:
        """Create the fetcher.

        Args:
            cache: the cache for fetched files.
            tools: the node's programs; the quality FFmpeg generates synthetic sources.
            max_bytes: size limit of a single source.
            urls: the addresses and limits of downloads from the URLs of suites.
        """
        self._cache = cache
        self._tools = tools
        self._max_bytes = max_bytes
        self._urls = UrlAccess() if urls is None else urls

    def fetch(
        self, client: MasterClient, source: Source, target: Path, check_stop: Callable[[], None]
    ) -> str:
        """Place a source at `target`.

        Args:
            client: the connection to the master.
            source: the source of the scenario.
            target: where to place the file.
            check_stop: a function, called repeatedly, that may raise an error to end the transfer.

        Returns:
            The SHA-256 of the source's content, in hexadecimal.

        Raises:
            AttemptFailedError: the source is unavailable or invalid; the failure class depends on
                the cause.
            OSError: the file cannot be written.
        """
        if source.synthetic is not None:
            synthetic = source.synthetic
            return self._cache.get_or_create(
                self._key(synthetic),
                target,
                lambda path: self._make(synthetic, path, check_stop),
                check_stop,
            )
        digest = source.sha256
        if digest is None:
            raise AttemptFailedError(FailureClass.INVALID_SETTINGS, "the source has no digest")
        self._fetch(client, source, digest, target, check_stop)
        return digest

    def fetch_ffmpeg(
        self,
        client: MasterClient,
        ffmpeg: FfmpegUnderTest,
        target: Path,
        check_stop: Callable[[], None],
    ) -> str:
        """Place an FFmpeg binary that a suite provides at `target`.

        Only the digest is verified; the file may not even be a program.

        Args:
            client: the connection to the master.
            ffmpeg: the FFmpeg that the scenario specifies.
            target: where to place the file.
            check_stop: a function, called repeatedly, that may raise an error to end the transfer.

        Returns:
            The SHA-256 of the file's content, in hexadecimal.

        Raises:
            AttemptFailedError: the file is unavailable; the failure class depends on the cause.
            OSError: the file cannot be written.
        """
        if ffmpeg.sha256 is None:
            raise AttemptFailedError(FailureClass.INVALID_SETTINGS, "the FFmpeg has no digest")
        self._fetch(client, ffmpeg, ffmpeg.sha256, target, check_stop)
        return ffmpeg.sha256

    def _fetch(
        self,
        client: MasterClient,
        item: Source | FfmpegUnderTest,
        digest: str,
        target: Path,
        check_stop: Callable[[], None],
    ) -> None:
        if item.url is not None:
            chunks = download_url(item.url, self._urls)
            origin = shown_url(item.url)
        else:
            chunks, origin = _from_master(client, digest, item.name), item.name
        self._cache.fetch(digest, target, _limited(self._max_bytes, chunks, origin), check_stop)

    def _key(self, synthetic: SyntheticSource) -> str:
        """Return a key derived from all that determines the clip's bytes: settings and FFmpeg."""
        description = msgspec.json.encode(synthetic, order="deterministic")
        argv = " ".join(synthetic_source.synthetic_source(synthetic, Path("ffmpeg"), "clip"))
        build = self._tools.quality_ffmpeg_build.sha256
        return hashlib.sha256(description + argv.encode() + build.encode()).hexdigest()

    def _make(self, synthetic: SyntheticSource, path: Path, check_stop: Callable[[], None]) -> None:
        def is_stopped() -> bool:
            try:
                check_stop()
            except AttemptFailedError:
                return True
            return False

        memory = MemoryLimit()
        outcome = process.run_process(
            synthetic_source.synthetic_source(synthetic, self._tools.quality_ffmpeg, path.name),
            cwd=path.parent,
            log=path.with_suffix(".log"),
            deadline_s=synthetic.duration_s / _MIN_GENERATION_SPEED,
            stop=is_stopped,
        )
        path.with_suffix(".log").unlink()
        check_stop()
        if outcome.stopped_by is None and outcome.exit_code < 0:
            raise killed(outcome.exit_code, outcome.log_tail, memory)
        if outcome.stopped_by is not None or outcome.exit_code:
            raise AttemptFailedError(
                FailureClass.NODE, "the synthetic source could not be generated", outcome.log_tail
            )


def _limited(max_bytes: int, chunks: Iterator[bytes], origin: str) -> Iterator[bytes]:
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > max_bytes:
            raise AttemptFailedError(
                FailureClass.SOURCE_UNREADABLE,
                f"{origin} is larger than the cache of the node ({max_bytes} bytes); "
                "raise worker_cache_max_bytes",
            )
        yield chunk


def _from_master(client: MasterClient, digest: str, name: str) -> Iterator[bytes]:
    try:
        yield from client.download_source(digest)
    except MasterUnreachableError as error:
        raise AttemptFailedError(FailureClass.NETWORK, str(error)) from error
    except MasterRefusedError as error:
        is_missing = error.problem.status == _NOT_FOUND
        raise AttemptFailedError(
            FailureClass.SOURCE_UNREADABLE if is_missing else FailureClass.NETWORK,
            f"the master refused to send {name}: {error}",
        ) from error
