"""Cache of values that depend only on known bytes, so that equal bytes are measured only once.

All slots of a node share its folder. An entry is one file that begins with the digest of its
content, so that damage is detected.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

_log = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 268_435_456
"""Default of the maximum size of all entries: the scores of about nine million frames."""

MAX_ENTRIES = 10_000
"""Maximum number of entries. A repeat of a transcode uses about four."""

_PREFIX = "measured-"
_PART_SUFFIX = ".part"
_DIGEST_BYTES = hashlib.sha256().digest_size

T = TypeVar("T")


@dataclass(frozen=True)
class CacheRecord:
    """The values of an attempt that came from caches, and the entries that could not be used."""

    values: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add_value(self, name: str) -> None:
        """Add a value of the measurement, by its name."""
        self.values.append(name)

    def add_fault(self, description: str) -> None:
        """Add the description of an entry that was damaged or unreadable."""
        self.faults.append(description)


class Producer(NamedTuple):
    """The agent and the program that measure a value.

    Attributes:
        agent_version: The version of the agent.
        program: The fingerprint of the program, or None if it cannot be identified.
    """

    agent_version: str
    program: str | None


class CachedValue(NamedTuple, Generic[T]):
    """A value from the cache, and the file content that was stored with it."""

    value: T
    attachment: bytes


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of an entry; `value` is the JSON of the value."""

    key: str
    value: bytes
    attachment: bytes


class MeasurementCache:
    """Cache of measured values in a folder, bounded in bytes and in entries.

    The cache only saves time. If an entry cannot be written, this is logged, and the job continues.
    """

    def __init__(
        self,
        folder: Path | None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        """Create the cache.

        Args:
            folder: The folder, which may contain other files. If it is None, nothing is cached.
            max_bytes: The maximum size of all entries. If it is 0, nothing is cached.
            max_entries: The maximum number of entries.
        """
        self._folder = folder if max_bytes else None
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._unused_folder = None if max_bytes else folder

    def remove_unused(self) -> None:
        """Remove the entries of earlier jobs if the cache was switched off with a limit of 0."""
        if self._unused_folder is None:
            return
        for file in self._unused_folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # Another slot may remove it.
                file.unlink()

    def remove(self, key: str) -> None:
        """Remove the entry of a key, because its content cannot be used."""
        file = self._file(key)
        if file is not None:
            with contextlib.suppress(OSError):
                file.unlink()

    def load(
        self, key: str | None, kind: type[T], on_fault: Callable[[str], None]
    ) -> CachedValue[T] | None:
        """Return the value of a key, or None if there is none that can be used.

        An entry that is damaged or cannot be read is removed. An undamaged entry whose structure is
        not that of `kind` is ignored: another build of the agent wrote it.

        Args:
            key: The key, from `measurement_key`. If it is None, nothing is cached.
            kind: The type of the value.
            on_fault: A function that receives a description of such an entry.
        """
        file = self._file(key)
        if file is None or key is None:
            return None
        try:
            if file.stat().st_size > self._max_bytes:
                return None  # The limit was lowered; the next entry removes this one.
            found = self._read(file, key, kind)
        except FileNotFoundError:
            return None
        except msgspec.ValidationError:
            # Its digest is correct. The new measurement replaces it.
            return None
        except (OSError, ValueError, msgspec.DecodeError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            _log.warning(
                "a cached measurement cannot be used and is removed",
                extra={"file": file.name, "why": reason},
            )
            on_fault(f"{key.partition('-')[0]}: the cache entry could not be used: {reason}")
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        with contextlib.suppress(OSError):
            # The entries that have not been used for the longest time are removed first.
            os.utime(file)
        return found

    def store(self, key: str | None, value: object, attachment: bytes = b"") -> None:
        """Store a value, and remove the oldest entries until the others are within the bounds.

        If the key is None, nothing is stored.
        """
        file = self._file(key)
        if file is None or key is None or self._folder is None:
            return
        entry = _Entry(
            key=key,
            value=msgspec.json.encode(value, enc_hook=_encode_fraction),
            attachment=attachment,
        )
        content = msgspec.msgpack.encode(entry)
        if len(content) + _DIGEST_BYTES > self._max_bytes:
            return
        try:
            self._write(self._folder, file, hashlib.sha256(content).digest() + content)
            self._prune(self._folder)
        except OSError as error:
            _log.warning(
                "a measurement cannot be cached", extra={"file": file.name, "why": error.strerror}
            )

    def _read(self, file: Path, key: str, kind: type[T]) -> CachedValue[T]:
        """Return the value in a file; raise ValueError if it is damaged."""
        with file.open("rb") as opened:
            content = opened.read(self._max_bytes + 1)
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("its content does not match its digest")
        entry = msgspec.msgpack.decode(content, type=_Entry)
        if entry.key != key:
            raise ValueError("it belongs to another key")
        value = msgspec.json.decode(entry.value, type=kind, dec_hook=_decode_fraction)
        return CachedValue(value, entry.attachment)

    @staticmethod
    def _write(folder: Path, file: Path, content: bytes) -> None:
        # The slots of a node share the folder, so the file is created atomically. The suffix is
        # that of files that the cache of sources removes if they are abandoned.
        handle, name = tempfile.mkstemp(dir=folder, suffix=_PART_SUFFIX)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(content)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    def _prune(self, folder: Path) -> None:
        found = []
        for file in folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):  # Another slot removed it.
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
        entries, total_bytes = len(found), sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if entries <= self._max_entries and total_bytes <= self._max_bytes:
                break
            file.unlink(missing_ok=True)
            entries, total_bytes = entries - 1, total_bytes - size

    def _file(self, key: str | None) -> Path | None:
        return None if self._folder is None or key is None else self._folder / f"{_PREFIX}{key}"


def measurement_key(name: str, version: int, producer: Producer, *inputs: object) -> str | None:
    """Return the key of a value, or None if the program that measures it is not identified.

    Args:
        name: The name of the value, without hyphens.
        version: The version of the computation. It is increased when equal inputs lead to another
            value.
        producer: The agent and the program that measure the value.
        *inputs: Everything else that determines the value: digests, numbers and texts.
    """
    if producer.program is None:
        return None
    description = msgspec.json.encode([version, *producer, *inputs], order="deterministic")
    return f"{name}-{hashlib.sha256(description).hexdigest()}"


# msgspec requires that its hooks raise NotImplementedError for types that they do not support.
def _encode_fraction(value: object) -> str:
    if isinstance(value, Fraction):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be cached")


def _decode_fraction(kind: type, value: Any) -> Any:
    if kind is Fraction:
        return Fraction(value)
    raise NotImplementedError(f"{kind.__name__} cannot be cached")
