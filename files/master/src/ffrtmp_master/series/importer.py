"""The command `ffrtmp-series-importer`, which imports the series of results.

VictoriaMetrics accepts data only from its own host. The importer therefore runs on that host, reads
results from the API of the master, and writes their series to VictoriaMetrics.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal

import httpx
import msgspec
from ffrtmp_shared import config, credentials, logs
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.constrained_types import MasterUrl
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing, ThreadLoop
from ffrtmp_shared.models import Result
from ffrtmp_shared.result_pages import readable_page
from msgspec import Meta

from ffrtmp_master.series import checkpoint as checkpoints
from ffrtmp_master.series.checkpoint import Checkpoint
from ffrtmp_master.series.import_format import (
    UnreadableSeriesError,
    import_lines,
    labels_of,
    loop_lines,
)

_log = logging.getLogger(__name__)

NAME = "series.parquet"
"""The name of the artifact that contains the series of a result."""

_SERIES_MAX_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 60.0
_LOOP = "import"
# A pass may import the series of thousands of results; each of them counts as progress.
_STALE_AFTER_S = 600.0
# Refusals that concern all requests to the master at this time, and not the requested artifact.
_UNAVAILABLE = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_FAILED = 1
_BAD_CONFIG = 2


class ImporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings file of the importer.

    Attributes:
        master_url: The URL of the master.
        token_file: The file that contains the token, which has the role viewer.
        ca_file: The CA certificate that the certificates of both servers are verified with.
        certificate_file: The client certificate for both servers.
        key_file: The private key of the certificate.
        import_url: The complete URL of the import endpoint of VictoriaMetrics.
        state_file: The file in which the importer stores its progress.
        pause_s: The pause between two passes, in seconds.
        log_level: The minimum level of the messages that are logged.
    """

    master_url: MasterUrl
    token_file: Path
    ca_file: Path
    certificate_file: Path
    key_file: Path
    import_url: MasterUrl
    state_file: Path
    pause_s: Annotated[float, Meta(gt=0, le=86_400)] = 15.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class PushError(Exception):
    """VictoriaMetrics did not accept samples; a later attempt may succeed."""


class Importer:
    """Imports the series of each result once, in the order in which results were stored.

    A result is recorded as imported after VictoriaMetrics has responded. If the importer stops
    before the result is recorded, the series is imported again with the same samples and
    timestamps.
    """

    def __init__(
        self,
        client: MasterClient,
        push: Callable[[bytes], None],
        state_file: Path,
        loops: LoopRegistry,
    ) -> None:
        """Create an importer that continues from a checkpoint.

        Args:
            client: The client of the master.
            push: Sends import lines to VictoriaMetrics; raises PushError.
            state_file: The file that contains the checkpoint.
            loops: The registry of the importer's loop.
        """
        self._client = client
        self._push = push
        self._state_file = state_file
        self._checkpoint = checkpoints.load_checkpoint(state_file)
        self._loops = loops
        self._status = loops.add(_LOOP, stale_after_s=_STALE_AFTER_S)
        self._results = ItemGuard(self._status, passed_on=(MasterUnreachableError, PushError))

    def import_new(self) -> int:
        """Import the series of all new results and return the number of imported series.

        A result that cannot be imported is tried again by the next calls, and finally left out.

        Raises MasterUnreachableError, MasterRefusedError or PushError. The caller should then call
        this method again later.
        """
        imported = 0
        has_more = True
        while has_more:
            raw_page = self._client.raw_result_page(self._checkpoint.cursor)
            page = readable_page(raw_page, self._results)
            for result in page.items:
                if result.id not in self._checkpoint.done:
                    self._results.run(result.id, partial(self._import_one, result))
                    imported += result.id in self._checkpoint.done
                    self._status.succeed()
            is_complete = not any(self._results.will_retry(result.id) for result in page.items)
            # A page that refers to itself would otherwise be read without end.
            has_more = is_complete and page.next_cursor not in (None, self._checkpoint.cursor)
            if page.next_cursor is not None and has_more:
                self._save(Checkpoint(cursor=page.next_cursor))
        return imported

    def run_pass(self) -> None:
        """Import all new series, and send the state of this loop to VictoriaMetrics."""
        try:
            imported = self.import_new()
            if imported:
                _log.info("imported %d series", imported)
        finally:
            self._push_loop_metrics()

    def _push_loop_metrics(self) -> None:
        # A failure here must not hide the error of the pass.
        try:
            self._push(b"".join(loop_lines(self._loops.read())))
        except PushError as error:
            _log.warning("the metrics of the importer were not stored: %s", error)

    def _import_one(self, result: Result) -> None:
        # Results without a series are not recorded, because checking them again is cheap.
        if self._import_series(result):
            done = (*self._checkpoint.done, result.id)
            self._save(Checkpoint(cursor=self._checkpoint.cursor, done=done))

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoints.save_checkpoint(self._state_file, checkpoint)
        self._checkpoint = checkpoint

    def _import_series(self, result: Result) -> bool:
        artifact = next((item for item in result.artifacts if item.name == NAME), None)
        if artifact is None:
            return False
        content = self._download(result, artifact)
        if content is None:
            return False
        try:
            lines = b"".join(import_lines(content, labels_of(result)))
        except UnreadableSeriesError as error:
            _log.warning("the series of result %s cannot be read: %s", result.id, error)
            return False
        if lines:
            self._push(lines)
        return bool(lines)

    def _download(self, result: Result, artifact: Artifact) -> bytes | None:
        if artifact.size_bytes > _SERIES_MAX_BYTES:
            _log.warning("the series of result %s is too large; it is skipped", result.id)
            return None
        try:
            return self._client.download_artifact(result.job_id, result.attempt, NAME)
        except MasterRefusedError as error:
            if error.problem.status in _UNAVAILABLE:
                raise MasterUnreachableError(str(error)) from error
            if error.problem.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise
            # The retention of the master has removed the artifact.
            _log.info("the series of result %s has been removed", result.id)
            return None


def pusher(http: httpx.Client, url: str) -> Callable[[bytes], None]:
    """Return a function that sends import lines to VictoriaMetrics at `url`."""

    def push(content: bytes) -> None:
        try:
            response = http.post(url, content=content)
        except httpx.TransportError as error:
            raise PushError(f"VictoriaMetrics is unreachable: {error}") from error
        if response.status_code == HTTPStatus.BAD_REQUEST:
            # A retry would fail too, and would block all further series.
            _log.error("VictoriaMetrics rejected a series; it is skipped: %s", response.text)
        elif response.is_error:
            raise PushError(f"VictoriaMetrics returned {response.status_code}: {response.text}")

    return push


def import_until_stopped(
    importer: Importer, pause_s: float, stopped: threading.Event, loops: LoopRegistry
) -> None:
    """Import new series periodically.

    Args:
        importer: The importer.
        pause_s: The pause between two passes, in seconds.
        stopped: An event that ends the loop when it is set.
        loops: The registry of the importer's loop.
    """
    ThreadLoop(
        loops.add(_LOOP, stale_after_s=_STALE_AFTER_S),
        importer.run_pass,
        Pacing(interval_s=pause_s),
        stopped=stopped,
        expected=(MasterUnreachableError, MasterRefusedError, PushError),
    ).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="ffrtmp-series-importer")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="check the settings and exit")
    parsed = parser.parse_args(arguments)
    try:
        settings = config.load(parsed.config, ImporterSettings)
        if parsed.check:
            return 0
        logs.configure(settings.log_level)
        _run(settings)
    except config.ConfigError as error:
        sys.stderr.write(f"ffrtmp-series-importer: {error}\n")
        return _BAD_CONFIG
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ffrtmp-series-importer: {error}\n")
        return _FAILED
    return 0


def _run(settings: ImporterSettings) -> None:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    token = credentials.read_token(settings.token_file)
    certificate = credentials.ClientCertificate(settings.certificate_file, settings.key_file)
    context = credentials.client_context(settings.ca_file, certificate)
    with (
        MasterClient(settings.master_url, token, settings.ca_file, certificate) as client,
        httpx.Client(verify=context, timeout=_TIMEOUT_S, trust_env=False) as http,
    ):
        loops = LoopRegistry()
        push = pusher(http, settings.import_url)
        importer = Importer(client, push, settings.state_file, loops)
        import_until_stopped(importer, settings.pause_s, stopped, loops)
