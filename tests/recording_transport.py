"""A transport for tests of connections that are not in a network."""

from typing import Any


class Transport:
    """A transport that records the written bytes, and whether it has been closed."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        address = ("127.0.0.1", 4711)
        return {"peername": address, "sockname": address}.get(name, default)
