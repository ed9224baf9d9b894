"""Export of a series to a Parquet file, in a separate process."""

import math
import sys
from pathlib import Path

import msgspec

from ffrtmp_worker.agent.parquet_program import run_parquet_program
from ffrtmp_worker.measure.series import Series

NAME = "series.parquet"
"""Name of the file in the attempt's folder and among the result's artifacts."""

_INTEGER_COLUMNS = frozenset({"frames", "output_bytes"})
_TIME_COLUMN = "time_unix_s"


def write_series_file(series: Series, folder: Path) -> None:
    """Write `series` into `folder`; if that fails, log the reason and leave no file.

    A measurement without a series is still valid.
    """
    if not len(series):
        return
    target = folder / NAME
    columns = {
        name: [None if math.isnan(value) else value for value in values]
        for name, values in series.columns.items()
    }
    run_parquet_program(__spec__.name, target, content=msgspec.json.encode(columns))


def main() -> int:
    """Read columns as JSON from standard input and write them to the file in the first argument."""
    import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    columns = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, list[float | None]])
    arrays = {}
    for name, values in columns.items():
        if name == _TIME_COLUMN:
            times_us = [None if time_s is None else round(time_s * 1e6) for time_s in values]
            arrays["time"] = pyarrow.array(times_us, pyarrow.timestamp("us", tz="UTC"))
        elif name in _INTEGER_COLUMNS:
            integers = [None if value is None else round(value) for value in values]
            arrays[name] = pyarrow.array(integers, pyarrow.int64())
        else:
            arrays[name] = pyarrow.array(values, pyarrow.float64())
    parquet.write_table(pyarrow.table(arrays), sys.argv[1], compression="zstd")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
