"""Where sources and FFmpegs come from: the master, a URL, or this node's own FFmpeg."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.scenario import Source, SyntheticSource

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import process, synthetic_source
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.timed_run import killed
from ffrtmp_worker.measure.cgroup import MemoryLimit

_NOT_FOUND = 404
_URL_TIMEOUT_S = 30.0
_SLOWEST_MAKING = 0.01


class SourceFetcher:
    """Puts sources where attempts want them, from the node's cache where it has them."""

    def __init__(self, cache: SourceCache, tools: Tools, max_bytes: int) -> None:
        """Keep in `cache` what was fetched; no single source is larger than `max_bytes`."""
        self._cache = cache
        self._tools = tools
        self._max_bytes = max_bytes

    def fetch(
        self, client: MasterClient, source: Source, target: Path, check_stop: Callable[[], None]
    ) -> str:
        """Put `source` at `target`; return the SHA-256 of its content.

        `check_stop` is called now and then and may raise. Raises AttemptFailedError with whose
        fault it was, and OSError when the disk does not take it.
        """
        if source.synthetic is not None:
            made = source.synthetic
            return self._cache.get_or_create(
                self._key(made),
                target,
                lambda path: self._make(made, path, check_stop),
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
        """Put the FFmpeg that a suite gives at `target`, as `fetch` does with a source.

        Nothing but its digest was looked at: it may be anything.
        """
        if ffmpeg.sha256 is None:
            raise AttemptFailedError(FailureClass.INVALID_SETTINGS, "the FFmpeg has no digest")
        self._fetch(client, ffmpeg, ffmpeg.sha256, target, check_stop)
        return ffmpeg.sha256

    def _fetch(
        self,
        client: MasterClient,
        wanted: Source | FfmpegUnderTest,
        digest: str,
        target: Path,
        check_stop: Callable[[], None],
    ) -> None:
        if wanted.url is not None:
            chunks, place = _from_url(wanted.url), wanted.url
        else:
            chunks, place = _from_master(client, digest, wanted.name), wanted.name
        self._cache.fetch(digest, target, _at_most(self._max_bytes, chunks, place), check_stop)

    def _key(self, made: SyntheticSource) -> str:
        """Name a clip by all that decides on its bytes: what it shows, and which FFmpeg made it."""
        description = msgspec.json.encode(made, order="deterministic")
        argv = " ".join(synthetic_source.synthetic_source(made, Path("ffmpeg"), "clip"))
        build = self._tools.quality_ffmpeg_build.sha256
        return hashlib.sha256(description + argv.encode() + build.encode()).hexdigest()

    def _make(self, made: SyntheticSource, path: Path, check_stop: Callable[[], None]) -> None:
        def is_stopped() -> bool:
            try:
                check_stop()
            except AttemptFailedError:
                return True
            return False

        memory = MemoryLimit()
        outcome = process.run_process(
            synthetic_source.synthetic_source(made, self._tools.quality_ffmpeg, path.name),
            cwd=path.parent,
            log=path.with_suffix(".log"),
            deadline_s=made.duration_s / _SLOWEST_MAKING,
            stop=is_stopped,
        )
        path.with_suffix(".log").unlink()
        check_stop()
        if outcome.stopped_by is None and outcome.exit_code < 0:
            raise killed(outcome.exit_code, outcome.log_tail, memory)
        if outcome.stopped_by is not None or outcome.exit_code:
            raise AttemptFailedError(
                FailureClass.NODE, "a synthetic source could not be made", outcome.log_tail
            )


def _at_most(max_bytes: int, chunks: Iterator[bytes], place: str) -> Iterator[bytes]:
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        if taken > max_bytes:
            raise AttemptFailedError(
                FailureClass.SOURCE_UNREADABLE,
                f"{place} is larger than the {max_bytes} bytes of the cache",
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
            f"the master did not give {name}: {error}",
        ) from error


def _from_url(url: str) -> Iterator[bytes]:
    """Give the content at `url`; redirects are not followed, since the suite names the place."""
    try:
        # As it is stored: a content that is packed on the way would have another digest.
        headers = {"Accept-Encoding": "identity"}
        with httpx.stream("GET", url, headers=headers, timeout=_URL_TIMEOUT_S) as answer:
            if answer.status_code == _NOT_FOUND:
                raise AttemptFailedError(
                    FailureClass.SOURCE_UNREADABLE, f"there is nothing at {url}"
                )
            if not answer.is_success:
                raise AttemptFailedError(
                    FailureClass.NETWORK, f"{url} was answered with {answer.status_code}"
                )
            yield from answer.iter_raw()
    except httpx.HTTPError as error:
        raise AttemptFailedError(FailureClass.NETWORK, f"{url} was not read: {error}") from error
