"""Upload of FFmpeg's log to the master while FFmpeg writes it."""

import codecs
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.models import Claim

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
# Maximum time for uploading the rest of the log at the end of an attempt.
_FINAL_UPLOAD_TIMEOUT_S = 3.0


class _LogChunk(NamedTuple):
    """Text of the next request, and the number of bytes of the file that it was decoded from."""

    text: bytes
    file_bytes: int


class LogUploader:
    """Context manager that follows a log file and uploads the data appended to it.

    The upload lets users watch the log of a running job. It runs in a separate thread, and its
    errors never end the attempt. If the master does not answer, the same chunk is sent again
    later. If the master permanently refuses a chunk, the upload ends.
    """

    def __init__(self, claim: Claim, file: Path, connect: Callable[[], MasterClient]) -> None:
        """Prepare the upload.

        Args:
            claim: the claim whose attempt the log belongs to.
            file: the log, which need not exist yet.
            connect: a function that creates the thread's own client.
        """
        self._claim = claim
        self._file = file
        self._connect = connect
        self._over = threading.Event()
        self._read_bytes = 0
        self._sent_bytes = 0
        self._next: _LogChunk | None = None
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> Self:
        """Start uploading new lines, at the same interval as the heartbeats."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Upload the rest of the log; stop waiting after a few seconds."""
        self._over.set()
        self._thread.join(_FINAL_UPLOAD_TIMEOUT_S)

    def _run(self) -> None:
        try:
            with self._connect() as client:
                is_last = False
                while not is_last:
                    is_last = self._over.wait(self._claim.heartbeat_s)
                    self._send_new(client, is_last=is_last)
        except MasterUnreachableError as error:
            _log.warning("the end of the log was not sent: %s", error, extra=self._log_context)
        except MasterRefusedError as error:
            _log.warning("the upload of the log ended: %s", error, extra=self._log_context)
        except OSError as error:
            _log.warning("the log cannot be read or sent: %s", error, extra=self._log_context)

    @property
    def _log_context(self) -> dict[str, object]:
        return {"job": self._claim.job.id, "attempt": self._claim.attempt}

    def _send_new(self, client: MasterClient, *, is_last: bool) -> None:
        """Send new lines. If `is_last`, also send an incomplete line at the end.

        Only errors that end the upload are raised.
        """
        try:
            while chunk := self._next or self._read(is_last=is_last):
                # Keep the chunk until the master answers: if it was stored but the answer was lost,
                # the same chunk has to be sent again.
                self._next = chunk
                client.append_log(
                    self._claim.job.id, self._claim.attempt, self._sent_bytes, chunk.text
                )
                self._next = None
                self._read_bytes += chunk.file_bytes
                self._sent_bytes += len(chunk.text)
        except MasterUnreachableError:
            if is_last:
                raise
        except MasterRefusedError as error:
            if is_last or not error.is_temporary:
                raise

    def _read(self, *, is_last: bool) -> _LogChunk | None:
        try:
            with self._file.open("rb") as file:
                file.seek(self._read_bytes)
                data = file.read(_CHUNK_BYTES)
        except FileNotFoundError:
            return None
        is_end = len(data) < _CHUNK_BYTES
        if is_end and not is_last:
            data = data[: data.rfind(b"\n") + 1]
        if not data:
            return None
        # Databases reject invalid UTF-8 and NUL. A character that is cut off at the end of the data
        # is read again next time.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final=is_end).replace("\0", "\N{REPLACEMENT CHARACTER}")
        return _LogChunk(text.encode(), len(data) - len(decoder.getstate()[0]))
