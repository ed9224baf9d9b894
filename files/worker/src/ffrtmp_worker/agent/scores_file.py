"""Export of the scores of every frame to a Parquet file, in a separate process.

A frame needs at most 24 bytes, usually about 15, so that the file of ten hours at 60 frames per
second has at most 52 MB. The number of a frame of a stream needs up to 4 more. libvmaf's log has
300 bytes per frame.
"""

import sys
from pathlib import Path

from ffrtmp_worker.agent.parquet_program import run_parquet_program
from ffrtmp_worker.measure.frame_scores import FRAMES_NAME, METRICS
from ffrtmp_worker.measure.quality import LOG_NAME

PREFIX = "scores"
"""The beginning of the names of the files in the attempt's folder and of the artifacts."""

_SUFFIX = ".parquet"
_ROWS_PER_GROUP = 262_144


def write_score_files(folder: Path) -> None:
    """Write `scores.parquet` for each log of scores in `folder`; there is one for each output.

    The file of a rendition is `scores-NAME.parquet`. The scores of a received stream have an
    additional column, `frame`, with the number of the frame. If a file cannot be written, the
    reason is logged. A measurement without it is still valid.
    """
    frames = folder / FRAMES_NAME
    more = [str(frames)] if frames.exists() else []
    stem, suffix = Path(LOG_NAME).stem, Path(LOG_NAME).suffix
    for log in sorted(folder.glob(f"{stem}*{suffix}")):
        target = folder / f"{PREFIX}{log.stem.removeprefix(stem)}{_SUFFIX}"
        run_parquet_program(__spec__.name, target, [str(log), *more])


def list_score_files(folder: Path) -> list[Path]:
    """Return the files that `write_score_files` has written into `folder`."""
    return sorted(folder.glob(f"{PREFIX}*{_SUFFIX}"))


def main() -> int:
    """Read libvmaf's log in the second argument and write the file in the first argument.

    The third argument, if given, is the file with the numbers of the compared frames.
    """
    import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415
    from pyarrow import csv, parquet  # noqa: PLC0415

    # The scores have six decimals, of which single precision stores at least four exactly.
    types = dict.fromkeys(METRICS, pyarrow.float32())
    schema = pyarrow.schema(list(types.items()))
    numbers = None
    if sys.argv[3:]:
        whole = csv.ConvertOptions(column_types={"frame": pyarrow.int32()})
        numbers = csv.read_csv(sys.argv[3], convert_options=whole)["frame"]
        schema = schema.insert(0, pyarrow.field("frame", pyarrow.int32()))
    # The scores that the suite does not request are null.
    convert = csv.ConvertOptions(
        include_columns=list(METRICS), include_missing_columns=True, column_types=types
    )
    with (
        csv.open_csv(sys.argv[2], convert_options=convert) as rows,
        parquet.ParquetWriter(
            sys.argv[1],
            schema,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=True,
            write_statistics=False,
        ) as file,
    ):
        batches = []
        pending = done = 0
        for scores in rows:
            batch = scores
            if numbers is not None:
                # The log may also have scores of frames that were received after the end.
                chosen = numbers[done : done + scores.num_rows].combine_chunks()
                done += scores.num_rows
                columns = [chosen, *scores.slice(0, len(chosen)).columns]
                batch = pyarrow.RecordBatch.from_arrays(columns, schema=schema)
            batches.append(batch)
            pending += batch.num_rows
            if pending >= _ROWS_PER_GROUP:
                file.write_table(pyarrow.Table.from_batches(batches, schema))
                batches, pending = [], 0
        if batches:
            file.write_table(pyarrow.Table.from_batches(batches, schema))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
