"""Directories with the results of runs, from which reports are made."""

import io
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
from ffrtmp_client.medians import median_rows
from ffrtmp_client.results import artifact_path
from ffrtmp_shared.density_measurement import DensityMeasurement, DensityStep, StreamCost
from ffrtmp_shared.unavailable import Unavailable
from measurement_factory import measurement
from pyarrow import parquet
from result_collectors import LIVE

Json = dict[str, Any]

RUN_ID = "019a0000-0000-7000-8000-0000000000de"
NO_ENERGY = "this node has no energy reader"

_RATES = (
    ("libx264", "medium", ((22, 2150, 93.5), (26, 1298, 89.5), (30, 775, 82.8), (34, 484, 73.1))),
    ("libsvtav1", "8", ((32, 1461, 91.5), (40, 984, 88.7), (48, 636, 85.1), (56, 351, 79.3))),
)
_REPEATS = 6


def transcodes(*, has_energy: bool = True, node: str = "worker1") -> list[Json]:
    """Return results of two encoders with four rate points and six repeats each."""
    noise = random.Random(7)  # noqa: S311
    found = []
    for encoder, preset, points in _RATES:
        for crf, kbps, vmaf in points:
            for repeat in range(1, _REPEATS + 1):
                speed = (2.0 if encoder == "libx264" else 3.0) * noise.gauss(1, 0.01)
                document = _result(node, f"clip/{encoder}/crf{crf}", repeat)
                document["scenario"]["encode"] = _encode(encoder, preset, {"crf": crf})
                measured = document["measurement"]
                measured["encode"] |= {"speed": speed, "wall_s": 4 / speed, "user_s": 7 / speed}
                measured["output"] |= {"video_bitrate_kbps": kbps, "sha256": f"{crf:064d}"}
                measured["quality"] |= {"vmaf_mean": vmaf + 1, "vmaf_neg_mean": vmaf}
                if has_energy:
                    measured["energy"]["gross_j"] = 100 / speed
                else:
                    measured["energy"] = {"status": "unavailable", "reason": NO_ENERGY}
                found.append(document)
    found[0]["measurement"]["verdict"] = {
        "state": "degraded",
        "reasons": [{"code": "throttled", "detail": "the processor was throttled 2 times"}],
    }
    return found


def density_and_live() -> list[Json]:
    """Return the results of two densities and of a live stream."""
    found = []
    for encoder, streams in (("libx264", 5), ("libsvtav1", 7)):
        document = _result("worker1", f"clip/{encoder}/2000k", 1, "density")
        document["scenario"]["encode"] = _encode(encoder, "8", {"bitrate_kbps": 2000})
        document["measurement"] |= {
            "density": msgspec.to_builtins(
                DensityMeasurement(
                    streams=streams,
                    limit="cpu",
                    steps=(
                        DensityStep(
                            streams=streams,
                            window_s=10.0,
                            held=True,
                            slowest_speed=1.0,
                            lag_max_s=0.1,
                            cpu_busy_ratio=0.9,
                            power_w=50.0,
                            limit="",
                        ),
                    ),
                    power_w=50.0,
                    watts_per_stream=50.0 / streams,
                    cost=StreamCost(
                        currency="EUR",
                        host_per_hour=1.0,
                        energy_per_kwh=Unavailable(reason="no price"),
                        energy_per_stream_hour=Unavailable(reason="no price"),
                        per_stream_hour=1.0 / streams,
                    ),
                )
            ),
            "output": None,
            "quality": {"status": "unavailable", "reason": "a density has no output"},
        }
        found.append(document)
    document = _result("worker1", "clip/live-x264/3000k", 1, "live")
    document["scenario"]["encode"] = _encode("libx264", "fast", {"bitrate_kbps": 3000})
    document["measurement"] |= {
        "live": msgspec.to_builtins(LIVE),
        "output": None,
        "quality": {"status": "unavailable", "reason": "a stream has no file"},
    }
    return [*found, document]


def failures(text: str = "unknown encoder") -> list[Json]:
    """Return the entries of failures.json for two failed jobs."""
    return [
        {
            "job_id": f"019a0000-0000-7000-8000-00000000000{repeat}",
            "state": "failed",
            "node": "worker1",
            "scenario": "clip/libx264/crf22",
            "repeat": repeat,
            "attempt": 1,
            "failure_class": "job",
            "message": text,
            "log_tail": f"[libx264] {text}\nConversion failed!",
        }
        for repeat in (1, 2)
    ]


def save_run(
    folder: Path,
    results: Sequence[Json],
    failed: Sequence[Json] = (),
    change: Callable[[Json], None] | None = None,
) -> Path:
    """Write the results of a run to a directory, with the time series of each result.

    Args:
        folder: The directory, which is created.
        results: The results.
        failed: The entries of failures.json.
        change: A function that changes the document of results.json.
    """
    folder.mkdir()
    counts = {"succeeded": len(results), "failed": len(failed), "canceled": 0}
    document = {
        "farm": "test",
        "run": {
            "id": RUN_ID,
            "suite_name": "codecs",
            "state": "failed" if failed else "succeeded",
            "seed": 1,
            "counts": {**counts, "queued": 0, "leased": 0, "running": 0},
            "nodes": ["worker1"],
            "created_at": "2026-01-02T03:04:05Z",
            "created_by": "operator",
            "finished_at": "2026-01-02T04:04:05Z",
            "key": None,
            "omitted_nodes": [],
        },
        "results": list(results),
        "precision": {"medians": _medians(results), "drifts": []},
    }
    if change is not None:
        change(document)
    (folder / "results.json").write_text(json.dumps(document))
    if failed:
        (folder / "failures.json").write_text(json.dumps(failed))
    for result in results:
        for artifact in result["artifacts"]:
            file = folder / artifact_path(result, artifact["name"])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_series() if artifact["name"].startswith("series") else _scores())
    return folder


def _result(node: str, scenario: str, repeat: int, kind: str = "transcode") -> Json:
    found: Json = msgspec.to_builtins(measurement())
    found["verdict"] = {"state": "valid", "reasons": []}
    return {
        "id": f"{node}-{scenario}-{kind}-{repeat}".replace("/", "-"),
        "run_id": RUN_ID,
        "job_id": "019a0000-0000-7000-8000-000000000001",
        "attempt": 1,
        "node": node,
        "repeat": repeat,
        "scenario": {
            "name": scenario,
            "kind": kind,
            "source": {"name": "clip", "sha256": "a" * 64, "file_name": "clip.mp4"},
        },
        "measurement": found,
        "artifacts": [
            {"name": name, "sha256": "b" * 64, "size_bytes": 1}
            for name in ("series.parquet", "scores.parquet")
        ],
        "stored_at": "2026-01-02T03:14:05Z",
    }


def _encode(encoder: str, preset: str, rate: Json) -> Json:
    return {
        "encoder": encoder,
        "preset": preset,
        "rate": rate,
        "threads": 2,
        "pixel_format": "yuv420p",
        "gop_frames": 250,
        "width": None,
        "height": None,
        "frame_rate": None,
        "options": {},
    }


def _medians(results: Iterable[Json]) -> list[Json]:
    """Return the intervals of the medians of all repeats, as the master returns them."""
    transcoded = [each for each in results if each["scenario"]["kind"] == "transcode"]
    speeds: dict[tuple[str, str], list[float]] = {}
    for result in transcoded:
        key = (result["node"], result["scenario"]["name"])
        speeds.setdefault(key, []).append(result["measurement"]["encode"]["speed"])
    return [
        {
            "node": row["node"],
            "scenario": f"{row['source']}/{row['encode']}/{row['rate_point']}",
            "n": row["n"],
            "low": min(speeds[row["node"], f"{row['source']}/{row['encode']}/{row['rate_point']}"]),
            "high": max(
                speeds[row["node"], f"{row['source']}/{row['encode']}/{row['rate_point']}"]
            ),
            "state": "precise",
        }
        for row in median_rows(transcoded)
    ]


def _series() -> bytes:
    seconds = 12
    columns = {
        "time": pyarrow.array(
            [1_700_000_000_000_000 + 1_000_000 * second for second in range(seconds)],
            pyarrow.timestamp("us", tz="UTC"),
        ),
        "elapsed_s": [float(second) for second in range(seconds)],
        "fps": [None, *(50.0 + second for second in range(1, seconds))],
        "host_cpu_ratio": [0.5 + second / 100 for second in range(seconds)],
        "power_w": [None] * seconds,
    }
    return _parquet(columns)


def _scores() -> bytes:
    return _parquet({"vmaf": [80.0 + frame % 10 for frame in range(100)]})


def _parquet(columns: Json) -> bytes:
    content = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), content)
    return content.getvalue()
