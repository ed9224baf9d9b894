"""Reading what FFmpeg writes to `-progress`.

FFmpeg's own `fps` and `speed` are averages since the start and its `out_time_ms` are
microseconds; nothing is taken from these. A key may be missing or say `N/A` in any block.
"""

import time
from collections.abc import Callable

import msgspec

_KEYS = ("frame", "out_time_us", "total_size", "dup_frames", "drop_frames")
_MAX_DIGITS = 18


class ProgressBlock(msgspec.Struct, frozen=True, kw_only=True):
    """One report. `frames` were encoded so far; None means that FFmpeg did not say."""

    frames: int | None
    out_time_us: int | None
    total_bytes: int | None
    duplicated: int | None
    dropped: int | None
    is_last: bool


class ProgressParser:
    """Collects lines until a block is whole."""

    def __init__(self) -> None:
        self._pairs: dict[str, str] = {}

    def feed(self, line: str) -> ProgressBlock | None:
        """Take one line; return the block that it completes, if it does."""
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
    """At `elapsed_s` seconds after the start of a process it had encoded so many frames.

    `written_bytes` are in its output, which is `written_s` seconds of video long; `duplicated` and
    `dropped` count frames. None is what is not known. `is_last` tells a report that came because
    the process ended.
    """

    elapsed_s: float
    frames: int
    written_bytes: int | None = None
    written_s: float | None = None
    duplicated: int | None = None
    dropped: int | None = None
    is_last: bool = False


class ProgressReports:
    """The reports of one process, from the lines that it writes."""

    def __init__(self, heard: Callable[[ProgressReport], None]) -> None:
        """Begin at the start of the process; `heard` gets each report."""
        self._heard = heard
        self._parser = ProgressParser()
        self._started = time.monotonic()
        self.all: list[ProgressReport] = []

    def add_line(self, line: str, elapsed_s: float | None = None) -> None:
        """Take a line; one that completes a report with frames in it makes one.

        It came `elapsed_s` after the start of the process, or now.
        """
        block = self._parser.feed(line)
        if block is not None and block.frames:
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
            self._heard(report)


def _number(text: str | None) -> int | None:
    """Return a count, or None for what is missing, `N/A` or, at the very start, negative."""
    if text is None or not text.isdecimal() or len(text) > _MAX_DIGITS:
        return None
    return int(text)
