"""Assembly of lines from the data of a pipe."""

MAX_LINE_BYTES = 65_536
"""Maximum size of a line of FFmpeg's output; of a longer line, only the end is kept."""


class LineBuffer:
    """A buffer that splits data into lines.

    FFmpeg does not write lines longer than the buffer. If a line is longer, only its end is kept.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Add data and return the lines that it completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-MAX_LINE_BYTES:]
        return [line.decode(errors="replace") for line in lines]
