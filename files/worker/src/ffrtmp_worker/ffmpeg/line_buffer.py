"""Lines out of the pieces that a pipe gives."""

_MAX_LINE_BYTES = 65_536


class LineBuffer:
    """Puts pieces together to lines.

    What never ends its line is no line of FFmpeg's: only the end of that is kept.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Take a piece; return the lines that it completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_MAX_LINE_BYTES:]
        return [line.decode(errors="replace") for line in lines]
