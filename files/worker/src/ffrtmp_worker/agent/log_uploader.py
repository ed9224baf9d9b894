"""Upload of FFmpeg's log to the master while FFmpeg writes it."""

import codecs
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from ffrtmp_shared.agent_models import Claim
from ffrtmp_shared.client import MasterClient, MasterRefusedError, MasterUnreachableError
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
# Maximum time for uploading the rest of the log at the end of an attempt.
_FINAL_UPLOAD_TIMEOUT_S = 3.0
_STALE_AFTER_BEATS = 6


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

    def __init__(
        self, claim: Claim, file: Path, connect: Callable[[], MasterClient], loops: LoopRegistry
    ) -> None:
        """Prepare the upload.

        Args:
            claim: the claim whose attempt the log belongs to.
            file: the log, which need not exist yet.
            connect: a function that creates the thread's own client.
            loops: the registry of the agent's loops.
        """
        self._claim = claim
        self._file = file
        self._connect = connect
        self._client: MasterClient | None = None
        self._read_bytes = 0
        self._sent_bytes = 0
        self._next: _LogChunk | None = None
        beat_s = claim.heartbeat_s
        self._status = loops.add("log_upload", stale_after_s=_STALE_AFTER_BEATS * beat_s)
        self._loop = ThreadLoop(
            self._status,
            partial(self._send_new, is_last=False),
            Pacing(interval_s=beat_s, is_first_delayed=True, retry_pause_max_s=beat_s),
            expected=(MasterUnreachableError, MasterRefusedError, OSError),
            last_step=self._send_rest,
            context={"job": claim.job.id, "attempt": claim.attempt},
        )

    def __enter__(self) -> Self:
        """Start uploading new lines, at the same interval as the heartbeats."""
        self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Upload the rest of the log; stop waiting after a few seconds."""
        self._loop.stop(_FINAL_UPLOAD_TIMEOUT_S)

    def _send_rest(self) -> None:
        """Send the end of the log, which may be an incomplete line, and close the connection."""
        try:
            self._send_new(is_last=True)
        finally:
            if self._client is not None:
                self._client.close()

    def _send_new(self, *, is_last: bool) -> AfterPass:
        """Send new lines. If `is_last`, also send an incomplete line at the end.

        Errors after which the same chunk may be sent again are raised.
        """
        if self._client is None:
            self._client = self._connect()
        try:
            while chunk := self._next or self._read(is_last=is_last):
                # Keep the chunk until the master answers: if it was stored but the answer was lost,
                # the same chunk has to be sent again.
                self._next = chunk
                self._client.append_log(
                    self._claim.job.id, self._claim.attempt, self._sent_bytes, chunk.text
                )
                self._next = None
                self._read_bytes += chunk.file_bytes
                self._sent_bytes += len(chunk.text)
                # The log may grow faster than it is sent, so that this loop goes on for long.
                self._status.succeed()
        except MasterRefusedError as error:
            if error.is_temporary:
                raise
            context = {"job": self._claim.job.id, "attempt": self._claim.attempt}
            _log.warning("the upload of the log ended: %s", error, extra=context)
            self._client.close()
            return AfterPass.END
        return AfterPass.PAUSE

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
