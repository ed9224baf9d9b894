"""The file with the price book, which the master serves."""

import json
import logging
import threading
from pathlib import Path

from ffrtmp_shared.config import ConfigError
from ffrtmp_shared.file_watch import FileWatch
from ffrtmp_shared.prices import PriceBook, PriceBookError, parse_book

_log = logging.getLogger(__name__)

_FILE_BYTES_MAX = 16 * 1024 * 1024


class PriceFile:
    """The price book in a file. It is loaded again after the file has changed. Thread-safe."""

    def __init__(self, path: Path | None) -> None:
        """Load the book; without a file, it is empty.

        Args:
            path: The file, which contains the fields of `PriceBook` in JSON.

        Raises:
            ConfigError: The file cannot be read, or the book in it is not valid.
        """
        self._path = path
        self._lock = threading.Lock()
        self._watch = FileWatch([] if path is None else [path], subject="the price book")
        self._book = PriceBook() if path is None else _load(path)

    def book(self) -> PriceBook:
        """Return the present book; if the file has become invalid, that of before."""
        path = self._path
        if path is None:
            return self._book
        with self._lock:
            loaded = self._watch.load_changed(lambda: _load(path))
            if loaded is not None:
                self._book = loaded
            return self._book


def check_price_file(path: Path) -> None:
    """Raise ConfigError if the file does not contain a valid price book."""
    _read(path)


def _load(path: Path) -> PriceBook:
    book = _read(path)
    undated = book.entries[0] if book.entries and book.entries[0].valid_from is None else None
    _log.info(
        "loaded a price book with %d entries",
        len(book.entries),
        extra={"undated": undated is not None},
    )
    if book.superseded_nodes:
        _log.warning(
            "the price book takes precedence over the deprecated variables "
            "worker_host_price_per_hour and worker_energy_price_per_kwh of %s; remove them, or "
            "move these prices into an entry of master_price_book",
            ", ".join(book.superseded_nodes),
        )
    return book


def _read(path: Path) -> PriceBook:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
        if len(content) > _FILE_BYTES_MAX:
            raise ConfigError(f"{path}: is larger than {_FILE_BYTES_MAX} bytes")
        return parse_book(json.loads(content))
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
    except PriceBookError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
