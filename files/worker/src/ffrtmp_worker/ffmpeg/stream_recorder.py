"""Storage of the stream that the players of a live stream receive, bounded in bytes."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

NAME = "received.flv"
"""Name of the file with the whole stream in the work folder."""

MAX_PLAYERS = 64
"""Maximum number of players whose streams are stored."""

# The header of an FLV file, and the size of the tag before the first one.
_HEADER_BYTES = 13


class StreamRecorder:
    """Recorder of a stream: a file for each player, which are joined at the end.

    The kernel limits the size of each file to what the limit of the stream leaves. A player whose
    file has reached the limit continues without storing the stream.
    """

    def __init__(
        self,
        folder: Path,
        command: Callable[[str], Sequence[str]],
        *,
        offset_s: float,
        max_bytes: int,
        limit_name: str,
    ) -> None:
        """Create a recorder.

        Args:
            folder: The work folder of the attempt, in which the player writes the files.
            command: A function that returns the command of a player that stores the stream in a
                file with the given name.
            offset_s: The time stamp of the first frame of the stream, in seconds.
            max_bytes: The maximum size of the stored stream.
            limit_name: The limit, as named in messages.
        """
        self._folder, self._command = folder, command
        self.offset_s = offset_s
        self._max_bytes, self._limit_name = max_bytes, limit_name
        self._files: list[tuple[Path, int]] = []
        self._is_incomplete = ""

    def command(self, number: int = 0) -> Sequence[str]:
        """Return the command of the player with this number, from 0."""
        return self._command(_file_name(number))

    def next_player(self) -> tuple[Sequence[str], int] | None:
        """Return the command of the next player, and the maximum size of its file in bytes.

        The result is None if the rest of the stream is not stored.
        """
        left_bytes = self._max_bytes - sum(_size_bytes(file) for file, _ in self._files)
        if left_bytes <= _HEADER_BYTES:
            self._is_incomplete = self._over_limit()
        elif len(self._files) >= MAX_PLAYERS:
            self._is_incomplete = f"the player was restarted more than {MAX_PLAYERS} times"
        if self._is_incomplete:
            return None
        number = len(self._files)
        self._files.append((self._folder / _file_name(number), left_bytes))
        return self.command(number), left_bytes

    def join(self) -> str:
        """Join the files to one with the name `NAME`; call this after all players have ended.

        Returns why the stored stream is incomplete, or "".
        """
        if not self._is_incomplete and any(
            _size_bytes(file) >= limit for file, limit in self._files
        ):
            self._is_incomplete = self._over_limit()
        stored = [file for file, _ in self._files if _size_bytes(file) > _HEADER_BYTES]
        if self._is_incomplete or not stored:
            return self._is_incomplete or "the player stored nothing"
        whole = stored[0].rename(self._folder / NAME)
        for file in stored[1:]:
            with whole.open("ab") as target, file.open("rb") as part:
                part.seek(_HEADER_BYTES)
                shutil.copyfileobj(part, target)
            file.unlink()
        return ""

    def remove(self) -> None:
        """Remove all files of the stream."""
        for file in (*(file for file, _ in self._files), self._folder / NAME):
            file.unlink(missing_ok=True)

    def _over_limit(self) -> str:
        return (
            f"the received stream is larger than {self._max_bytes} bytes ({self._limit_name}); "
            "shorten duration_s, lower the bit rate or raise the limit"
        )


def _file_name(number: int) -> str:
    return f"received-{number}.flv"


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
