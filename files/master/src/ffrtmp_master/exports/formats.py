"""Writing results as a flat table, as CSV or Parquet, or each whole as a line of JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Protocol

import msgspec
from ffrtmp_shared.models import Result

from ffrtmp_master.exports.columns import COLUMNS, Kind, Value


class TableFormat(Protocol):
    """A way to write results; the parts, one after the other, make a file."""

    media_type: ClassVar[str]

    def head(self) -> bytes:
        """Return what stands before all results."""

    def part(self, results: Sequence[Result]) -> bytes:
        """Return some results as they are written."""

    def tail(self) -> bytes:
        """Return what stands after all results."""


class JsonLines(TableFormat):
    """Writes each result whole, as JSON in a line of its own."""

    media_type = "application/x-ndjson"

    def head(self) -> bytes:
        """Return nothing: every line stands for itself."""
        return b""

    def part(self, results: Sequence[Result]) -> bytes:
        """Return some results as they are written."""
        return b"".join(msgspec.json.encode(result) + b"\n" for result in results)

    def tail(self) -> bytes:
        """Return nothing, as before."""
        return b""


class Csv(TableFormat):
    """Writes a table as RFC 4180 describes it but for a bare line feed at the end of each line."""

    media_type = "text/csv"

    def head(self) -> bytes:
        """Return the line of names."""
        return _as_csv([[column.name for column in COLUMNS]])

    def part(self, results: Sequence[Result]) -> bytes:
        """Return a line for each result."""
        return _as_csv([_in_csv(column.of(result)) for column in COLUMNS] for result in results)

    def tail(self) -> bytes:
        """Return nothing: the last line ends the table."""
        return b""


class Parquet(TableFormat):
    """Writes a table in row groups, each as it comes; only the places of them are remembered."""

    media_type = "application/vnd.apache.parquet"

    def __init__(self) -> None:
        """Begin a file."""
        # Large, and wanted by nobody who only runs a queue.
        import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        self._arrow = pyarrow
        types = {
            Kind.TEXT: pyarrow.string(),
            Kind.WHOLE: pyarrow.int64(),
            Kind.NUMBER: pyarrow.float64(),
            Kind.MOMENT: pyarrow.timestamp("us", tz="UTC"),
        }
        self._schema = pyarrow.schema([(column.name, types[column.kind]) for column in COLUMNS])
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(
            pyarrow.PythonFile(self._sink, mode="w"), self._schema, compression="zstd"
        )

    def head(self) -> bytes:
        """Return the mark by which such a file is known."""
        return self._sink.drained()

    def part(self, results: Sequence[Result]) -> bytes:
        """Return a row group."""
        columns = [
            self._arrow.array([column.of(result) for result in results], type=field.type)
            for column, field in zip(COLUMNS, self._schema, strict=True)
        ]
        if results:
            self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))
        return self._sink.drained()

    def tail(self) -> bytes:
        """Return the file's end, which says where everything is."""
        self._writer.close()
        return self._sink.drained()


class _Sink:
    """A file that is only written, and emptied in between."""

    closed = False

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._written_bytes = 0

    def write(self, data: bytes) -> int:
        self._buffer += data
        self._written_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written_bytes

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def drained(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


def _as_csv(rows: Iterable[Sequence[Value]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _in_csv(value: Value) -> Value:
    return value.isoformat() if isinstance(value, datetime) else value


FORMATS: dict[str, type[TableFormat]] = {"jsonl": JsonLines, "csv": Csv, "parquet": Parquet}
"""How results can be written, by the suffix of a file's name."""
