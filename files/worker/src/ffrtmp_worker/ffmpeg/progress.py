"""Parser of FFmpeg's `-progress` output.

The keys `fps` and `speed` are not used, because they are averages since the start. `out_time_ms` is
not used, because it is in fact in microseconds. In any block, a key may be missing or have the
value `N/A`.
"""

import time
from collections.abc import Callable

import msgspec
from ffrtmp_shared.failure_classes import FailureClass

from ffrtmp_worker.errors import AttemptFailedError

_KEYS = ("frame", "out_time_us", "total_size", "dup_frames", "drop_frames")
_MAX_DIGITS = 18

MAX_REPORTS = 500_000
"""Maximum number of reports of a process. FFmpeg writes two or four in a second, so this is enough
for a day. A build under test may write more, and every report takes memory."""


class ProgressBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block of keys. `frames` is the number of encoded frames; unknown values are None."""

    frames: int | None
    out_time_us: int | None
    total_bytes: int | None
    duplicated: int | None
    dropped: int | None
    is_last: bool


class ProgressParser:
    """Parser that collects lines until a block is complete."""

    def __init__(self) -> None:
        self._pairs: dict[str, str] = {}

    def feed(self, line: str) -> ProgressBlock | None:
        """Add a line; return the block that it completes, or None."""
        key, sign, value = line.strip().partition("=")
        if not sign:
            return None
        if key in _KEYS:
            self._pairs[key] = value.strip()
        if key != "progress":
            return None
        pairs, self._pairs = self._pairs, {}
        return ProgressBlock(
            frames=_number(pairs.get("frame")),
            out_time_us=_number(pairs.get("out_time_us")),
            total_bytes=_number(pairs.get("total_size")),
            duplicated=_number(pairs.get("dup_frames")),
            dropped=_number(pairs.get("drop_frames")),
            is_last=value.strip() == "end",
        )


class ProgressReport(msgspec.Struct, frozen=True):
    """Progress of a process `elapsed_s` seconds after its start.

    `frames` is the number of encoded frames. The output has `written_bytes` bytes and contains
    `written_s` seconds of video. `duplicated` and `dropped` count frames. Unknown values are None.
    `is_last` marks the report that FFmpeg writes when it ends.
    """

    elapsed_s: float
    frames: int
    written_bytes: int | None = None
    written_s: float | None = None
    duplicated: int | None = None
    dropped: int | None = None
    is_last: bool = False


class ProgressReports:
    """The reports of a process, parsed from its output."""

    def __init__(self, on_report: Callable[[ProgressReport], None]) -> None:
        """Start the clock, at the start of the process. `on_report` will receive each report."""
        self._on_report = on_report
        self._parser = ProgressParser()
        self._started = time.monotonic()
        self.all: list[ProgressReport] = []

    def add_line(self, line: str, elapsed_s: float | None = None) -> None:
        """Add a line. If it completes a block with frames, create a report.

        `elapsed_s` is the time of the line since the start of the process. By default, the current
        time is used. Raises AttemptFailedError if there are more than `MAX_REPORTS` reports.
        """
        block = self._parser.feed(line)
        if block is not None and block.frames:
            if len(self.all) >= MAX_REPORTS:
                raise AttemptFailedError(
                    FailureClass.ENCODE_FAILED,
                    f"FFmpeg wrote more than {MAX_REPORTS} progress reports; they are bounded, "
                    "because a build that ignores -stats_period would fill the memory",
                )
            report = ProgressReport(
                time.monotonic() - self._started if elapsed_s is None else elapsed_s,
                block.frames,
                written_bytes=block.total_bytes,
                written_s=None if block.out_time_us is None else block.out_time_us / 1e6,
                duplicated=block.duplicated,
                dropped=block.dropped,
                is_last=block.is_last,
            )
            self.all.append(report)
            self._on_report(report)


def _number(text: str | None) -> int | None:
    """Return a count, or None if it is missing, `N/A` or, as is possible at the start, negative."""
    if text is None or not text.isdecimal() or len(text) > _MAX_DIGITS:
        return None
    return int(text)
