"""Export formats: flat tables as CSV or Parquet, and complete results as JSON lines."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Protocol

import msgspec
from ffrtmp_shared.value_rules import csv_cell

from ffrtmp_master.exports.columns import COLUMNS, Kind, Value
from ffrtmp_master.exports.exported_result import ExportedResult


class TableFormat(Protocol):
    """A file format. A file consists of a head, any number of parts, and a tail.

    Attributes:
        media_type: The media type of the file.
        has_context: Whether the file contains the run and the cost of each result.
    """

    media_type: ClassVar[str]
    has_context: ClassVar[bool] = True

    def head(self) -> bytes:
        """Return the bytes before all results."""

    def part(self, results: Sequence[ExportedResult]) -> bytes:
        """Return the encoded results."""

    def tail(self) -> bytes:
        """Return the bytes after all results."""


class JsonLines(TableFormat):
    """Writes each complete result as one line of JSON."""

    media_type = "application/x-ndjson"
    has_context = False

    def head(self) -> bytes:
        """Return no bytes."""
        return b""

    def part(self, results: Sequence[ExportedResult]) -> bytes:
        """Return the encoded results."""
        return b"".join(msgspec.json.encode(exported.result) + b"\n" for exported in results)

    def tail(self) -> bytes:
        """Return no bytes."""
        return b""


class Csv(TableFormat):
    """Writes a table as specified in RFC 4180, except that lines end with a line feed only."""

    media_type = "text/csv"

    def head(self) -> bytes:
        """Return a line with the column names."""
        return _as_csv([[column.name for column in COLUMNS]])

    def part(self, results: Sequence[ExportedResult]) -> bytes:
        """Return one line for each result."""
        return _as_csv([_in_csv(column.of(result)) for column in COLUMNS] for result in results)

    def tail(self) -> bytes:
        """Return no bytes."""
        return b""


class Parquet(TableFormat):
    """Writes a table in row groups. Only the positions of written groups are kept in memory."""

    media_type = "application/vnd.apache.parquet"

    def __init__(self) -> None:
        """Start a file."""
        # Imported here, because the library is large and only exports need it.
        import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        self._arrow = pyarrow
        types = {
            Kind.TEXT: pyarrow.string(),
            Kind.WHOLE: pyarrow.int64(),
            Kind.NUMBER: pyarrow.float64(),
            Kind.FLAG: pyarrow.bool_(),
            Kind.MOMENT: pyarrow.timestamp("us", tz="UTC"),
        }
        self._schema = pyarrow.schema([(column.name, types[column.kind]) for column in COLUMNS])
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(
            pyarrow.PythonFile(self._sink, mode="w"), self._schema, compression="zstd"
        )

    def head(self) -> bytes:
        """Return the magic number of the format."""
        return self._sink.drain()

    def part(self, results: Sequence[ExportedResult]) -> bytes:
        """Return one row group with the results."""
        columns = [
            self._arrow.array([column.of(result) for result in results], type=field.type)
            for column, field in zip(COLUMNS, self._schema, strict=True)
        ]
        if results:
            self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))
        return self._sink.drain()

    def tail(self) -> bytes:
        """Return the footer, which contains the schema and the positions of the row groups."""
        self._writer.close()
        return self._sink.drain()


class _Sink:
    """A file object for writing. Method `drain` returns the data written since its last call."""

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
        """Do nothing, because writes are not buffered elsewhere."""

    def close(self) -> None:
        self.closed = True

    def drain(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


def _as_csv(rows: Iterable[Sequence[Value]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _in_csv(value: Value) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"
    cell: Value = csv_cell(value)
    return cell.isoformat() if isinstance(cell, datetime) else cell


FORMATS: dict[str, type[TableFormat]] = {"jsonl": JsonLines, "csv": Csv, "parquet": Parquet}
"""The export formats, by file name suffix."""
