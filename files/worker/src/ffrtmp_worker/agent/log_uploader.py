"""Sending FFmpeg's log to the master while it is written."""

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

_PIECE_BYTES = 64 * 1024
# So long the end of an attempt waits for its log, at most.
_LAST_S = 3.0


class _LogChunk(NamedTuple):
    """What is sent next, and how many bytes of the file it stands for."""

    text: bytes
    file_bytes: int


class LogUploader:
    """Reads along in a file and sends what is new, from entering to leaving the `with`.

    It is a service to who looks on, in a thread of its own: whatever it meets, the attempt goes
    on. A master that does not answer gets the same piece later; one that refuses gets no more.
    """

    def __init__(self, claim: Claim, file: Path, connect: Callable[[], MasterClient]) -> None:
        """Prepare to read `file`, which may come later; `connect` makes the thread's own client."""
        self._claim = claim
        self._file = file
        self._connect = connect
        self._over = threading.Event()
        self._read_bytes = 0
        self._sent_bytes = 0
        self._next: _LogChunk | None = None
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> Self:
        """Start looking for what is new at each heartbeat."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send the rest, if that is soon done."""
        self._over.set()
        self._thread.join(_LAST_S)

    def _run(self) -> None:
        try:
            with self._connect() as client:
                is_last = False
                while not is_last:
                    is_last = self._over.wait(self._claim.heartbeat_s)
                    self._send_new(client, is_last=is_last)
        except MasterUnreachableError as error:
            _log.warning("the end of the log was not sent: %s", error, extra=self._resume_offset)
        except MasterRefusedError as error:
            _log.warning("no more of the log is sent: %s", error, extra=self._resume_offset)
        except OSError as error:
            _log.warning("the log cannot be sent: %s", error, extra=self._resume_offset)

    @property
    def _resume_offset(self) -> dict[str, object]:
        return {"job": self._claim.job.id, "attempt": self._claim.attempt}

    def _send_new(self, client: MasterClient, *, is_last: bool) -> None:
        """Send what is new, whole lines until the last time; raises only what ends it all."""
        try:
            while piece := self._next or self._read(is_last=is_last):
                # Until it is answered it stays this very piece: it may have been stored.
                self._next = piece
                client.append_log(
                    self._claim.job.id, self._claim.attempt, self._sent_bytes, piece.text
                )
                self._next = None
                self._read_bytes += piece.file_bytes
                self._sent_bytes += len(piece.text)
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
                data = file.read(_PIECE_BYTES)
        except FileNotFoundError:
            return None
        is_end = len(data) < _PIECE_BYTES
        if is_end and not is_last:
            data = data[: data.rfind(b"\n") + 1]
        if not data:
            return None
        # What is no text, or a NUL, no database takes. A character that is cut comes next time.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final=is_end).replace("\0", "\N{REPLACEMENT CHARACTER}")
        return _LogChunk(text.encode(), len(data) - len(decoder.getstate()[0]))
