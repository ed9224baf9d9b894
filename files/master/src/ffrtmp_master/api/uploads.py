"""What sending and fetching whole files has in common."""

from pathlib import Path

from litestar.response import File

from ffrtmp_master.access import Call
from ffrtmp_master.store.refusals import TooLargeError

_PIECE_BYTES = 256 * 1024


def check_announced(request: Call, max_bytes: int) -> None:
    """Raise TooLargeError at once when the client says that it will send too much."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise TooLargeError(f"{announced} bytes are more than the {max_bytes} that are allowed")


def stored_file(path: Path, name: str) -> File:
    """Answer with a file's bytes as they are, to be saved as `name`."""
    return File(path, filename=name, media_type="application/octet-stream", chunk_size=_PIECE_BYTES)
