"""A series as a Parquet file, written by a process of its own.

The library that writes it takes more memory than the agent, which never loads it.
"""

import logging
import math
import subprocess
import sys
from pathlib import Path

import msgspec

from ffrtmp_worker.measure.series import Series

NAME = "series.parquet"
"""The file's name in the attempt's folder and among the result's artifacts."""

_log = logging.getLogger(__name__)

_DEADLINE_S = 60
_WHOLE = frozenset({"frames", "output_bytes"})
_TIME = "time_unix_s"


def write_series_file(series: Series, folder: Path) -> None:
    """Write `series` into `folder`; where that fails, say so and leave no file.

    A measurement is worth as much without.
    """
    if not len(series):
        return
    target = folder / NAME
    columns = {
        name: [None if math.isnan(value) else value for value in values]
        for name, values in series.columns.items()
    }
    try:
        subprocess.run(
            [sys.executable, "-m", __spec__.name, str(target)],
            input=msgspec.json.encode(columns),
            capture_output=True,
            timeout=_DEADLINE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        tail = said.decode(errors="replace")[-500:]
        _log.warning("there is no %s: %s %s", NAME, error, tail)
        target.unlink(missing_ok=True)


def main() -> int:
    """Write the columns on standard input, as JSON, to the file that the first argument names."""
    import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    columns = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, list[float | None]])
    arrays = {}
    for name, values in columns.items():
        if name == _TIME:
            moments = [None if one is None else round(one * 1e6) for one in values]
            arrays["time"] = pyarrow.array(moments, pyarrow.timestamp("us", tz="UTC"))
        elif name in _WHOLE:
            whole = [None if one is None else round(one) for one in values]
            arrays[name] = pyarrow.array(whole, pyarrow.int64())
        else:
            arrays[name] = pyarrow.array(values, pyarrow.float64())
    parquet.write_table(pyarrow.table(arrays), sys.argv[1], compression="zstd")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
