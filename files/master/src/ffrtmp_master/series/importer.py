"""The command `ffrtmp-series-importer`: follows the results and brings their series over.

VictoriaMetrics listens on its own host alone, and nobody can send it anything from outside: this
runs beside it, reads the master's API and writes there.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal

import httpx
import msgspec
from ffrtmp_shared import config, credentials, logs
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.models import Artifact, Result
from msgspec import Meta

from ffrtmp_master.series import checkpoint as places
from ffrtmp_master.series.checkpoint import Checkpoint
from ffrtmp_master.series.import_format import UnreadableSeriesError, import_lines, labels_of

_log = logging.getLogger(__name__)

NAME = "series.parquet"
"""The artifact that an agent hands in with each result that has a series."""

_MOST_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 60.0
_FAILED = 1
_BAD_CONFIG = 2


class ImporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the master is and with which token (role viewer) to ask it, and where samples go.

    `import_url` is the whole address of VictoriaMetrics' import. Both are checked against the CA
    and shown the certificate. How far things are is kept in `state_file`.
    """

    master_url: str
    token_file: Path
    ca_file: Path
    certificate_file: Path
    key_file: Path
    import_url: str
    state_file: Path
    pause_s: Annotated[float, Meta(gt=0)] = 15.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class PushError(Exception):
    """Samples were not taken now, and may be later."""


class Importer:
    """Brings over the series of every result once, in the order in which they were stored.

    A result is done when VictoriaMetrics has answered. One that was brought over but not noted,
    because everything died in between, is brought over again: the same samples, at the same times.
    """

    def __init__(
        self, client: MasterClient, push: Callable[[bytes], None], state_file: Path
    ) -> None:
        """Go on from `state_file`; `push` takes lines and raises NotTakenError."""
        self._client = client
        self._push = push
        self._state_file = state_file
        self._place = places.load_checkpoint(state_file)

    def import_new(self) -> int:
        """Bring over all that is new and return how many series that were.

        Raises MasterUnreachableError, MasterRefusedError or NotTakenError; it can be called again.
        """
        brought = 0
        while True:
            page = self._client.result_page(self._place.cursor)
            for result in page.items:
                # One without a series is nothing to write down: looking at it again is cheap.
                if result.id not in self._place.done and self._import_series(result):
                    brought += 1
                    done = (*self._place.done, result.id)
                    self._note(Checkpoint(cursor=self._place.cursor, done=done))
            if page.next_cursor is None:
                return brought
            self._note(Checkpoint(cursor=page.next_cursor))

    def _note(self, place: Checkpoint) -> None:
        places.save_checkpoint(self._state_file, place)
        self._place = place

    def _import_series(self, result: Result) -> bool:
        listed = next((one for one in result.artifacts if one.name == NAME), None)
        if listed is None:
            return False
        content = self._content(result, listed)
        if content is None:
            return False
        try:
            made = b"".join(import_lines(content, labels_of(result)))
        except UnreadableSeriesError as error:
            _log.warning("the series of result %s cannot be read: %s", result.id, error)
            return False
        if made:
            self._push(made)
        return bool(made)

    def _content(self, result: Result, listed: Artifact) -> bytes | None:
        if listed.size_bytes > _MOST_BYTES:
            _log.warning("the series of result %s is too large", result.id)
            return None
        try:
            return self._client.download_artifact(result.job_id, result.attempt, NAME)
        except MasterRefusedError as error:
            if error.problem.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                raise
            # The farm keeps artifacts for a time, and that is over.
            _log.info("the series of result %s is gone", result.id)
            return None


def pusher(http: httpx.Client, url: str) -> Callable[[bytes], None]:
    """Return what sends lines to VictoriaMetrics at `url`."""

    def push(content: bytes) -> None:
        try:
            answer = http.post(url, content=content)
        except httpx.TransportError as error:
            raise PushError(f"VictoriaMetrics does not answer: {error}") from error
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            # It would be no better the next time, and all that follows would wait for it.
            _log.error("VictoriaMetrics refused a series: %s", answer.text)
        elif answer.is_error:
            raise PushError(f"VictoriaMetrics answered {answer.status_code}: {answer.text}")

    return push


def import_forever(importer: Importer, pause_s: float, stopped: threading.Event) -> None:
    """Bring over what is new every `pause_s` seconds until `stopped`."""
    while True:
        try:
            brought = importer.import_new()
            if brought:
                _log.info("%d series were brought over", brought)
        except (
            MasterUnreachableError,
            MasterRefusedError,
            PushError,
            msgspec.DecodeError,
        ) as error:
            _log.warning("trying again in %g s: %s", pause_s, error)
        if stopped.wait(pause_s):
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="ffrtmp-series-importer")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="only check the settings")
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
    shown = credentials.ClientCertificate(settings.certificate_file, settings.key_file)
    context = credentials.client_context(settings.ca_file, shown)
    with (
        MasterClient(settings.master_url, token, settings.ca_file, shown) as client,
        httpx.Client(verify=context, timeout=_TIMEOUT_S, trust_env=False) as http,
    ):
        importer = Importer(client, pusher(http, settings.import_url), settings.state_file)
        import_forever(importer, settings.pause_s, stopped)
